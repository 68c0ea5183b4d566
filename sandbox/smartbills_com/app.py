"""The API of smartbills.com: upload one file, poll its job, list the jobs (contract sheet 01)."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from sandbox.allow_header import build_allow_header
from sandbox.journal import Journal
from sandbox.limits import FixedWindowRateLimiter, RateLimitStatus
from sandbox.openapi import add_openapi_route
from sandbox.request_context import BodyTooLargeError, ExactJsonResponse, LostResponse, get_request_context
from sandbox.request_parsing import parse_content_length
from sandbox.settings import SandboxSettings
from sandbox.smartbills_com.job_store import Job, JobStore
from sandbox.smartbills_com.openapi import build_document
from sandbox.smartbills_com.sample_answers import build_extracted_data, find_extraction_error, find_file_extension

MULTIPART_OVERHEAD_BYTES = 100_000
BOOLEAN_BY_TEXT = {"true": True, "1": True, "false": False, "0": False}
RouteHandler = Callable[["Vendor", Request, str], Awaitable[Response]]


class Vendor:
    """smartbills.com: its jobs, rate limits and settings."""

    def __init__(self, journal: Journal, settings: SandboxSettings, minute_seconds: float) -> None:
        self.job_store = JobStore(journal)
        self._settings, self._rate_limiter = settings, FixedWindowRateLimiter(journal, minute_seconds)
        self._call_counts: dict[str, int] = {}

    def get_setting(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's setting for an API key."""
        return self._settings.get_value(f"smartbills_com.{name}", api_key)

    def consume_fault(self, name: str, api_key: str) -> bool:
        """Return whether a counting fault setting applies to this call, and count it down."""
        return self._settings.consume_fault(f"smartbills_com.{name}", api_key)

    async def handle_request(self, request: Request, handler: RouteHandler) -> Response:
        """Check the key and the rate limit, then call the handler; every answer has the headers of the rate limit."""
        context = get_request_context(request)
        now = time.time()
        plan = self.get_setting("plan", context.api_key)
        context.headers["X-Request-ID"] = context.request_id
        if context.api_key is None:
            self._set_rate_limit_headers(context.headers, self._rate_limiter.build_unused_status(plan, now), None)
            return build_error_response(401, "UNAUTHORIZED", "The API key is missing or wrong.")
        rate_limit_status = self._rate_limiter.record_call(context.api_key, plan, now)
        self._set_rate_limit_headers(context.headers, rate_limit_status, context.api_key)
        if not rate_limit_status.is_allowed and self.get_setting("rate_limits", context.api_key):
            if self.get_setting("retry_after_on_429", context.api_key) == "seconds":
                context.headers["Retry-After"] = str(max(1, math.ceil(rate_limit_status.resets_at - now)))
            return build_error_response(429, "RATE_LIMIT_EXCEEDED", "Too many requests for this plan.")
        if self._should_fail_nth_call(context.api_key):
            return build_error_response(500, "INTERNAL_ERROR", "Something went wrong.")
        return await handler(self, request, context.api_key)

    def _should_fail_nth_call(self, api_key: str) -> bool:
        self._call_counts[api_key] = self._call_counts.get(api_key, 0) + 1
        failure_interval = self.get_setting("http_500_every", api_key)
        return bool(failure_interval and self._call_counts[api_key] % failure_interval == 0)

    def _set_rate_limit_headers(
        self, headers: dict[str, str], rate_limit_status: RateLimitStatus, api_key: str | None
    ) -> None:
        headers["X-RateLimit-Limit"] = str(rate_limit_status.limit)
        headers["X-RateLimit-Remaining"] = str(rate_limit_status.remaining)
        headers["X-RateLimit-Reset"] = format_reset_time(
            rate_limit_status.resets_at, self.get_setting("reset_encoding", api_key)
        )

    def build_success_response(self, body: dict[str, Any], api_key: str) -> Response:
        """Return the body bare, as in the vendor's quickstart, or in an envelope, as in its reference."""
        is_wrapped = self.get_setting("envelope", api_key) == "wrapped"
        return ExactJsonResponse({"success": True, "data": body, "error": None} if is_wrapped else body)


def format_reset_time(reset_at: float, encoding: str) -> str:
    """Return a value for X-RateLimit-Reset, rounded up so that it is never too early."""
    seconds = math.ceil(reset_at)
    if encoding == "epoch_ms":
        return str(math.ceil(reset_at * 1000))
    if encoding == "iso8601":
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return email.utils.formatdate(seconds, usegmt=True) if encoding == "http_date" else str(seconds)


def build_error_response(status: int, code: str, message: str) -> Response:
    """Return an error in the envelope of the reference: success false, data null."""
    return ExactJsonResponse({"success": False, "data": None, "error": {"code": code, "message": message}}, status)


def build_app(journal: Journal, settings: SandboxSettings, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; one of its minutes lasts ``minute_seconds``."""
    app = FastAPI(title="smartbills.com sandbox", openapi_url=None)
    vendor = Vendor(journal, settings, minute_seconds)
    _add_routes(app, vendor)
    add_openapi_route(app, "smartbills_com", build_document)
    _add_error_handlers(app, vendor)
    return app


def _add_routes(app: FastAPI, vendor: Vendor) -> None:
    @app.post("/v1/invoices/extract")
    async def handle_upload(request: Request) -> Response:
        get_request_context(request).route = "/v1/invoices/extract"
        return await vendor.handle_request(request, _create_job_from_upload)

    @app.get("/v1/invoices/{job_id}")
    async def handle_poll(request: Request) -> Response:
        get_request_context(request).route = "/v1/invoices/{id}"
        return await vendor.handle_request(request, _build_poll_response)

    @app.get("/v1/invoices")
    async def handle_list(request: Request) -> Response:
        get_request_context(request).route = "/v1/invoices"
        return await vendor.handle_request(request, _build_list_response)

    @app.get("/files/{token}/{name}")
    async def handle_file_download(request: Request) -> Response:
        get_request_context(request).route = "/files/{token}/{name}"
        stored_file = vendor.job_store.find_uploaded_file(request.path_params["token"])
        if stored_file is None:
            return build_error_response(404, "NOT_FOUND", "No such file.")
        content, extension = stored_file
        media_types = {"pdf": "application/pdf", "jpg": "image/jpeg", "png": "image/png"}
        return Response(content, media_type=media_types[extension], headers={"X-Content-Type-Options": "nosniff"})


def _add_error_handlers(app: FastAPI, vendor: Vendor) -> None:
    @app.exception_handler(BodyTooLargeError)
    async def handle_too_large_body(request: Request, _error: Exception) -> Response:
        return _build_too_large_response(request)

    @app.exception_handler(HTTPException)
    async def handle_http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "INVALID_PARAMETER")
        if get_request_context(request).route is not None:
            return build_error_response(status, code, "The form cannot be read.")
        if status == 405:
            get_request_context(request).headers["Allow"] = build_allow_header(request)

        async def reject_call(_vendor: Vendor, _request: Request, _key: str) -> Response:
            return build_error_response(status, code, "No such route.")

        return await vendor.handle_request(request, reject_call)


def _build_too_large_response(request: Request) -> Response:
    get_request_context(request).headers["Connection"] = "close"
    return build_error_response(413, "FILE_TOO_LARGE", "The file is larger than this account may upload.")


async def _create_job_from_upload(vendor: Vendor, request: Request, api_key: str) -> Response:
    max_bytes = vendor.get_setting("max_file_bytes", api_key)
    if parse_content_length(request) > max_bytes + MULTIPART_OVERHEAD_BYTES:
        return _build_too_large_response(request)
    async with request.form(max_files=2, max_fields=20, max_part_size=64 * 1024) as form:
        files = form.getlist("file")
        extract_lines_text = form.get("extract_line_items", "true")
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            return build_error_response(400, "INVALID_PARAMETER", "The form needs one file, named file.")
        if not isinstance(extract_lines_text, str) or extract_lines_text.lower() not in BOOLEAN_BY_TEXT:
            return build_error_response(400, "INVALID_PARAMETER", "extract_line_items is true or false.")
        content = await files[0].read(max_bytes + 1)
    if len(content) > max_bytes:
        return _build_too_large_response(request)
    extension = find_file_extension(content)
    if extension is None:
        return build_error_response(400, "INVALID_FILE_FORMAT", "Only PDF, JPG and PNG files are read.")
    job = vendor.job_store.create_job(
        api_key, content, extension, with_lines=BOOLEAN_BY_TEXT[extract_lines_text.lower()]
    )
    if vendor.consume_fault("post_lost_response", api_key):
        return LostResponse()
    if vendor.consume_fault("http_500_after_work", api_key):
        return build_error_response(500, "INTERNAL_ERROR", "Something went wrong.")
    return vendor.build_success_response(_build_job_body(request, job, "processing"), api_key)


async def _build_poll_response(vendor: Vendor, request: Request, api_key: str) -> Response:
    job = vendor.job_store.find_job(api_key, request.path_params["job_id"])
    if job is None:
        return build_error_response(404, "NOT_FOUND", "No such invoice.")
    body = _build_state_and_record_poll(vendor, request, job, api_key)
    if vendor.consume_fault("get_lost_response", api_key):
        return LostResponse()
    return vendor.build_success_response(body, api_key)


async def _build_list_response(vendor: Vendor, request: Request, api_key: str) -> Response:
    if not vendor.get_setting("list_route", api_key):
        return build_error_response(404, "NOT_FOUND", "No such route.")
    rows = [
        _build_job_body(request, job, _compute_job_status(vendor, job, api_key))
        for job in vendor.job_store.iter_newest_jobs(api_key, 1_000)
    ]
    is_wrapped = vendor.get_setting("envelope", api_key) == "wrapped"
    return ExactJsonResponse({"success": True, "data": rows, "error": None} if is_wrapped else {"data": rows})


def _build_job_body(request: Request, job: Job, status: str) -> dict[str, Any]:
    host, port = request.scope["server"]
    file_url = f"http://{host}:{port}/smartbills_com/files/{job['file_token']}/{job['id']}.{job['extension']}"
    return {"id": job["id"], "status": status, "created_at": job["created_at"], "file_url": file_url}


def _compute_job_status(vendor: Vendor, job: Job, api_key: str) -> str:
    unknown_status = vendor.get_setting("unknown_status", api_key)
    required_polls = max(vendor.get_setting("processing_polls", api_key), 1 if unknown_status else 0)
    completes_at = job["created"] + vendor.get_setting("processing_seconds", api_key)
    if job["polls"] < required_polls or time.time() < completes_at:
        return str(unknown_status or "processing")
    return "failed" if _find_job_error(vendor, job, api_key) else "completed"


def _find_job_error(vendor: Vendor, job: Job, api_key: str) -> dict[str, str] | None:
    if {job["id"], job["sha256"]} & set(vendor.get_setting("fail_ids", api_key)):
        return {"code": "EXTRACTION_FAILED", "message": "The document could not be read."}
    return find_extraction_error(job["sha256"], accept_unknown_documents=vendor.get_setting("read_strangers", api_key))


def _build_state_and_record_poll(vendor: Vendor, request: Request, job: Job, api_key: str) -> dict[str, Any]:
    status = _compute_job_status(vendor, job, api_key)
    body = _build_job_body(request, job, status)
    if status == "failed":
        body["error"] = _find_job_error(vendor, job, api_key)
    elif status == "completed":
        body["extracted_data"] = build_extracted_data(
            job["sha256"],
            include_lines=bool(job["with_lines"]),
            omitted_fields=vendor.get_setting("missing_fields", api_key),
            use_vendor_info_shape=vendor.get_setting("vendor_info_shape", api_key),
        )
    else:
        vendor.job_store.record_poll(job)
    return body
