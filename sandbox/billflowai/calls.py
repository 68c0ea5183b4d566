"""One function per call on this API: what it demands, and what it answers (sheet 03, section 2)."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import UploadFile

from sandbox.billflowai.fetching import checked, fetch
from sandbox.billflowai.readings import has_known_form
from sandbox.billflowai.refusals import Refused, invalid
from sandbox.billflowai.store import Document
from sandbox.billflowai.vendor import Vendor
from sandbox.exact_json import JsonError, loads
from sandbox.journal import sha256
from sandbox.visits import Json

KINDS = ("expense", "revenue")
MULTIPART_OVERHEAD = 100_000
MOST_JSON_BYTES = 100_000
MOST_PER_PAGE = 100


async def extract_url(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Download the file of a public address and read it."""
    body = await _json(request)
    url, kind = body.get("file_url"), _kind(body.get("invoice_kind", "expense"))
    if not isinstance(url, str):
        raise invalid("file_url", "is required, and a URL")
    checked(url)
    with vendor.desks.one(api_key, vendor.knob("concurrency_limit", api_key)):
        vendor.check_turn(api_key)
        if known := vendor.recalled(api_key, url=url):
            return vendor.tell(api_key, known)
        content = await asyncio.to_thread(
            fetch, url, allows_private=vendor.knob("allow_private_urls", api_key),
            most=vendor.knob("max_file_bytes", api_key),
        )  # fmt: skip
        if not has_known_form(content):
            raise Refused("EXTRACTION_FAILED", "Only PDF, JPG and PNG files are read.")
        return await vendor.read(Document(api_key, sha256(content), kind, url))


async def extract_file(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Read an uploaded file."""
    most = vendor.knob("max_file_bytes", api_key)
    if _declared_length(request) > most + MULTIPART_OVERHEAD:
        raise too_large(request)
    async with request.form(max_files=2, max_fields=20, max_part_size=64 * 1024) as form:
        files, kind = form.getlist("file"), _kind(form.get("invoice_kind", "expense"))
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            raise invalid("file", "the form needs one file, named file")
        content = await files[0].read(most + 1)
    if len(content) > most:
        raise too_large(request)
    if not has_known_form(content):
        raise invalid("file", "only PDF, JPG and PNG files are read")
    with vendor.desks.one(api_key, vendor.knob("concurrency_limit", api_key)):
        vendor.check_turn(api_key)
        return await vendor.read(Document(api_key, sha256(content), kind))


async def listing(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return one page of the stored invoices, newest first."""
    page = _positive(request.query_params.get("page", "1"))
    size = _positive(request.query_params.get("pageSize", str(MOST_PER_PAGE)))
    if page is None or size is None or size > MOST_PER_PAGE:
        raise invalid("pageSize" if page else "page", f"page from 1, pageSize from 1 to {MOST_PER_PAGE}")
    rows, count = vendor.store.page(api_key, limit=size, offset=(page - 1) * size)
    meta = {"page": page, "pageSize": size, "totalPages": math.ceil(count / size), "total": count}
    return Json({"invoices": rows, "pagination": meta})


async def retrieve(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return one stored invoice."""
    return Json(_found(vendor, request, api_key))


async def change(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Correct a stored invoice by hand: its kind, or what was read of it (the fields that are given)."""
    stored = _found(vendor, request, api_key)
    body = await _json(request)
    kind, parsed = _kind(body.get("invoice_kind", stored["invoice_kind"])), body.get("parsed_data", {})
    if not isinstance(parsed, dict):
        raise invalid("parsed_data", "is an object")
    vendor.store.change(stored["id"], kind, {**stored["parsed_data"], **parsed})
    return Json(_found(vendor, request, api_key))


async def delete(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Delete a stored invoice; a second time it is not there."""
    stored = _found(vendor, request, api_key)
    vendor.store.delete(stored["id"])
    return Json({"id": stored["id"], "deleted": True})


def too_large(request: Request) -> Refused:
    """Return the refusal of a body over the limit."""
    return invalid("file", f"is too large, with {_declared_length(request) or 'unknown'} bytes")


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


async def _json(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise invalid("", "the body is JSON, and its Content-Type says so")
    if _declared_length(request) > MOST_JSON_BYTES:
        raise invalid("", "the body is too large")
    try:
        body = loads(await request.body())
    except JsonError as error:
        raise invalid("", str(error)) from None
    if not isinstance(body, dict):
        raise invalid("", "the body is a JSON object")
    return body


def _kind(value: Any) -> str:
    if not isinstance(value, str) or value not in KINDS:
        raise invalid("invoice_kind", "is expense or revenue")
    return value


def _found(vendor: Vendor, request: Request, api_key: str) -> dict[str, Any]:
    found = vendor.store.find(api_key, request.path_params["invoice_id"])
    if found is None:
        raise Refused("NOT_FOUND", "No such invoice.")
    return found


def _positive(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and int(text) > 0 else None
