"""One handler per route of this API (sheet 03, section 2)."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import UploadFile

from sandbox.billflowai.download import fetch_file, parse_file_url
from sandbox.billflowai.errors import ApiError, build_validation_error
from sandbox.billflowai.invoice_store import SubmittedFile
from sandbox.billflowai.sample_answers import has_supported_file_type
from sandbox.billflowai.vendor import Vendor
from sandbox.exact_json import JsonError, parse_json
from sandbox.journal import compute_sha256
from sandbox.request_context import ExactJsonResponse
from sandbox.request_parsing import parse_content_length, parse_positive_or_none

INVOICE_KINDS = ("expense", "revenue")
MULTIPART_OVERHEAD_BYTES = 100_000
MAX_JSON_BYTES = 100_000
MAX_PAGE_SIZE = 100


async def extract_from_url(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Download the file of a public URL and extract it."""
    body = await _read_json_object(request)
    url, invoice_kind = body.get("file_url"), _parse_invoice_kind(body.get("invoice_kind", "expense"))
    if not isinstance(url, str):
        raise build_validation_error("file_url", "is required, and a URL")
    parse_file_url(url)
    with vendor.concurrency_limiter.hold_slot(api_key, vendor.get_setting("concurrency_limit", api_key)):
        vendor.check_fault_and_quota(api_key)
        if cached_result := vendor.find_cached_result(api_key, url=url):
            return vendor.build_extraction_response(api_key, cached_result)
        content = await asyncio.to_thread(
            fetch_file, url, allow_private_addresses=vendor.get_setting("allow_private_urls", api_key),
            max_bytes=vendor.get_setting("max_file_bytes", api_key),
        )  # fmt: skip
        if not has_supported_file_type(content):
            raise ApiError("EXTRACTION_FAILED", "Only PDF, JPG and PNG files are read.")
        return await vendor.extract_document(SubmittedFile(api_key, compute_sha256(content), invoice_kind, url))


async def extract_uploaded_file(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Extract an uploaded file."""
    max_bytes = vendor.get_setting("max_file_bytes", api_key)
    if parse_content_length(request) > max_bytes + MULTIPART_OVERHEAD_BYTES:
        raise build_too_large_error(request)
    async with request.form(max_files=2, max_fields=20, max_part_size=64 * 1024) as form:
        files, invoice_kind = form.getlist("file"), _parse_invoice_kind(form.get("invoice_kind", "expense"))
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            raise build_validation_error("file", "the form needs one file, named file")
        content = await files[0].read(max_bytes + 1)
    if len(content) > max_bytes:
        raise build_too_large_error(request)
    if not has_supported_file_type(content):
        raise build_validation_error("file", "only PDF, JPG and PNG files are read")
    with vendor.concurrency_limiter.hold_slot(api_key, vendor.get_setting("concurrency_limit", api_key)):
        vendor.check_fault_and_quota(api_key)
        return await vendor.extract_document(SubmittedFile(api_key, compute_sha256(content), invoice_kind))


async def list_invoices(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return one page of the stored invoices, newest first."""
    page_number = parse_positive_or_none(request.query_params.get("page", "1"))
    page_size = parse_positive_or_none(request.query_params.get("pageSize", str(MAX_PAGE_SIZE)))
    if page_number is None or page_size is None or page_size > MAX_PAGE_SIZE:
        raise build_validation_error(
            "pageSize" if page_number else "page", f"page from 1, pageSize from 1 to {MAX_PAGE_SIZE}"
        )
    invoices, total_count = vendor.invoice_store.list_invoices_and_count(
        api_key, limit=page_size, offset=(page_number - 1) * page_size
    )
    pagination = {
        "page": page_number,
        "pageSize": page_size,
        "totalPages": math.ceil(total_count / page_size),
        "total": total_count,
    }
    return ExactJsonResponse({"invoices": invoices, "pagination": pagination})


async def get_invoice(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return one stored invoice."""
    return ExactJsonResponse(_get_stored_invoice(vendor, request, api_key))


async def update_invoice(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Correct a stored invoice: its kind, or those of its extracted fields that the body has."""
    stored_invoice = _get_stored_invoice(vendor, request, api_key)
    body = await _read_json_object(request)
    invoice_kind = _parse_invoice_kind(body.get("invoice_kind", stored_invoice["invoice_kind"]))
    parsed_data = body.get("parsed_data", {})
    if not isinstance(parsed_data, dict):
        raise build_validation_error("parsed_data", "is an object")
    vendor.invoice_store.update_invoice(
        stored_invoice["id"], invoice_kind, {**stored_invoice["parsed_data"], **parsed_data}
    )
    return ExactJsonResponse(_get_stored_invoice(vendor, request, api_key))


async def delete_invoice(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Delete a stored invoice; a second call answers 404."""
    stored_invoice = _get_stored_invoice(vendor, request, api_key)
    vendor.invoice_store.delete_invoice(stored_invoice["id"])
    return ExactJsonResponse({"id": stored_invoice["id"], "deleted": True})


def build_too_large_error(request: Request) -> ApiError:
    """Return the error for a body over the size limit."""
    return build_validation_error("file", f"is too large, with {parse_content_length(request) or 'unknown'} bytes")


async def _read_json_object(request: Request) -> dict[str, Any]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise build_validation_error("", "the body is JSON, and its Content-Type says so")
    if parse_content_length(request) > MAX_JSON_BYTES:
        raise build_validation_error("", "the body is too large")
    try:
        body = parse_json(await request.body())
    except JsonError as error:
        raise build_validation_error("", str(error)) from None
    if not isinstance(body, dict):
        raise build_validation_error("", "the body is a JSON object")
    return body


def _parse_invoice_kind(value: Any) -> str:
    if not isinstance(value, str) or value not in INVOICE_KINDS:
        raise build_validation_error("invoice_kind", "is expense or revenue")
    return value


def _get_stored_invoice(vendor: Vendor, request: Request, api_key: str) -> dict[str, Any]:
    invoice = vendor.invoice_store.find_invoice(api_key, request.path_params["invoice_id"])
    if invoice is None:
        raise ApiError("NOT_FOUND", "No such invoice.")
    return invoice
