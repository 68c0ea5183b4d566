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

from sandbox.journal import Journal
from sandbox.knobs import Knobs
from sandbox.limits import Standing, Windows
from sandbox.methods import allowed
from sandbox.openapi import serve
from sandbox.smartbills_com.jobs import Job, Jobs
from sandbox.smartbills_com.openapi import document
from sandbox.smartbills_com.readings import error_of, extracted_data, media_extension
from sandbox.visits import BodyTooLarge, Json, Lost, visit_of

MULTIPART_OVERHEAD = 100_000
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
Work = Callable[["SmartbillsCom", Request, str], Awaitable[Response]]


class SmartbillsCom:
    """The vendor: its jobs, its patience with callers, and the knobs that try theirs."""

    def __init__(self, journal: Journal, knobs: Knobs, minute_seconds: float) -> None:
        self.jobs = Jobs(journal)
        self._knobs, self._windows = knobs, Windows(journal, minute_seconds)
        self._calls: dict[str, int] = {}

    def knob(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's knob for a key."""
        return self._knobs.get(f"smartbills_com.{name}", api_key)

    def take(self, name: str, api_key: str) -> bool:
        """Return whether a counting knob strikes now."""
        return self._knobs.take(f"smartbills_com.{name}", api_key)

    async def answer(self, request: Request, work: Work) -> Response:
        """Check the key and the plan, then do the work; every answer carries the rate limit's headers."""
        visit = visit_of(request)
        now = time.time()
        plan = self.knob("plan", visit.api_key)
        visit.headers["X-Request-ID"] = visit.request_id
        if visit.api_key is None:
            self._tell(visit.headers, self._windows.untouched(plan, now), None)
            return failure(401, "UNAUTHORIZED", "The API key is missing or wrong.")
        standing = self._windows.count(visit.api_key, plan, now)
        self._tell(visit.headers, standing, visit.api_key)
        if not standing.is_allowed and self.knob("rate_limits", visit.api_key):
            if self.knob("retry_after_on_429", visit.api_key) == "seconds":
                visit.headers["Retry-After"] = str(max(1, math.ceil(standing.resets_at - now)))
            return failure(429, "RATE_LIMIT_EXCEEDED", "Too many requests for this plan.")
        if self._is_nth(visit.api_key):
            return failure(500, "INTERNAL_ERROR", "Something went wrong.")
        return await work(self, request, visit.api_key)

    def _is_nth(self, api_key: str) -> bool:
        self._calls[api_key] = self._calls.get(api_key, 0) + 1
        every = self.knob("http_500_every", api_key)
        return bool(every and self._calls[api_key] % every == 0)

    def _tell(self, headers: dict[str, str], standing: Standing, api_key: str | None) -> None:
        headers["X-RateLimit-Limit"] = str(standing.limit)
        headers["X-RateLimit-Remaining"] = str(standing.remaining)
        headers["X-RateLimit-Reset"] = instant(standing.resets_at, self.knob("reset_encoding", api_key))

    def success(self, body: dict[str, Any], api_key: str) -> Response:
        """Return the body bare, as the quickstart shows it, or wrapped, as the reference says."""
        wrapped = self.knob("envelope", api_key) == "wrapped"
        return Json({"success": True, "data": body, "error": None} if wrapped else body)


def instant(at: float, encoding: str) -> str:
    """Return an instant as X-RateLimit-Reset tells it, never earlier than it is."""
    seconds = math.ceil(at)
    if encoding == "epoch_ms":
        return str(math.ceil(at * 1000))
    if encoding == "iso8601":
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return email.utils.formatdate(seconds, usegmt=True) if encoding == "http_date" else str(seconds)


def failure(status: int, code: str, message: str) -> Response:
    """Return an error as the reference has it: success false, data null."""
    return Json({"success": False, "data": None, "error": {"code": code, "message": message}}, status)


def application(journal: Journal, knobs: Knobs, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; ``minute_seconds`` is how long its minute lasts."""
    app = FastAPI(title="smartbills.com sandbox", openapi_url=None)
    vendor = SmartbillsCom(journal, knobs, minute_seconds)
    _add_routes(app, vendor)
    serve(app, "smartbills_com", document)
    _add_refusals(app, vendor)
    return app


def _add_routes(app: FastAPI, vendor: SmartbillsCom) -> None:
    @app.post("/v1/invoices/extract")
    async def extract(request: Request) -> Response:
        visit_of(request).route = "/v1/invoices/extract"
        return await vendor.answer(request, _extract)

    @app.get("/v1/invoices/{job_id}")
    async def poll(request: Request) -> Response:
        visit_of(request).route = "/v1/invoices/{id}"
        return await vendor.answer(request, _poll)

    @app.get("/v1/invoices")
    async def listing(request: Request) -> Response:
        visit_of(request).route = "/v1/invoices"
        return await vendor.answer(request, _list)

    @app.get("/files/{token}/{name}")
    async def file(request: Request) -> Response:
        visit_of(request).route = "/files/{token}/{name}"
        found = vendor.jobs.file(request.path_params["token"])
        if found is None:
            return failure(404, "NOT_FOUND", "No such file.")
        content, extension = found
        kinds = {"pdf": "application/pdf", "jpg": "image/jpeg", "png": "image/png"}
        return Response(content, media_type=kinds[extension], headers={"X-Content-Type-Options": "nosniff"})


def _add_refusals(app: FastAPI, vendor: SmartbillsCom) -> None:
    @app.exception_handler(BodyTooLarge)
    async def too_large(request: Request, _error: Exception) -> Response:
        return _too_large(request)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "INVALID_PARAMETER")
        if visit_of(request).route is not None:
            return failure(status, code, "The form cannot be read.")
        if status == 405:
            visit_of(request).headers["Allow"] = allowed(request)

        async def work(_vendor: SmartbillsCom, _request: Request, _key: str) -> Response:
            return failure(status, code, "No such route.")

        return await vendor.answer(request, work)


def _too_large(request: Request) -> Response:
    visit_of(request).headers["Connection"] = "close"
    return failure(413, "FILE_TOO_LARGE", "The file is larger than this account may upload.")


async def _extract(vendor: SmartbillsCom, request: Request, api_key: str) -> Response:
    most = vendor.knob("max_file_bytes", api_key)
    if _declared_length(request) > most + MULTIPART_OVERHEAD:
        return _too_large(request)
    async with request.form(max_files=2, max_fields=20, max_part_size=64 * 1024) as form:
        files = form.getlist("file")
        lines = form.get("extract_line_items", "true")
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            return failure(400, "INVALID_PARAMETER", "The form needs one file, named file.")
        if not isinstance(lines, str) or lines.lower() not in BOOLEANS:
            return failure(400, "INVALID_PARAMETER", "extract_line_items is true or false.")
        content = await files[0].read(most + 1)
    if len(content) > most:
        return _too_large(request)
    extension = media_extension(content)
    if extension is None:
        return failure(400, "INVALID_FILE_FORMAT", "Only PDF, JPG and PNG files are read.")
    job = vendor.jobs.accept(api_key, content, extension, with_lines=BOOLEANS[lines.lower()])
    if vendor.take("post_lost_response", api_key):
        return Lost()
    if vendor.take("http_500_after_work", api_key):
        return failure(500, "INTERNAL_ERROR", "Something went wrong.")
    return vendor.success(_body(request, job, "processing"), api_key)


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


async def _poll(vendor: SmartbillsCom, request: Request, api_key: str) -> Response:
    job = vendor.jobs.find(api_key, request.path_params["job_id"])
    if job is None:
        return failure(404, "NOT_FOUND", "No such invoice.")
    body = _state(vendor, request, job, api_key)
    return Lost() if vendor.take("get_lost_response", api_key) else vendor.success(body, api_key)


async def _list(vendor: SmartbillsCom, request: Request, api_key: str) -> Response:
    if not vendor.knob("list_route", api_key):
        return failure(404, "NOT_FOUND", "No such route.")
    rows = [_body(request, job, _status(vendor, job, api_key)) for job in vendor.jobs.newest(api_key, 1_000)]
    wrapped = vendor.knob("envelope", api_key) == "wrapped"
    return Json({"success": True, "data": rows, "error": None} if wrapped else {"data": rows})


def _body(request: Request, job: Job, status: str) -> dict[str, Any]:
    host, port = request.scope["server"]
    address = f"http://{host}:{port}/smartbills_com/files/{job['file_token']}/{job['id']}.{job['extension']}"
    return {"id": job["id"], "status": status, "created_at": job["created_at"], "file_url": address}


def _status(vendor: SmartbillsCom, job: Job, api_key: str) -> str:
    unknown = vendor.knob("unknown_status", api_key)
    polls = max(vendor.knob("processing_polls", api_key), 1 if unknown else 0)
    if job["polls"] < polls or time.time() < job["created"] + vendor.knob("processing_seconds", api_key):
        return str(unknown or "processing")
    return "failed" if _error(vendor, job, api_key) else "completed"


def _error(vendor: SmartbillsCom, job: Job, api_key: str) -> dict[str, str] | None:
    if {job["id"], job["sha256"]} & set(vendor.knob("fail_ids", api_key)):
        return {"code": "EXTRACTION_FAILED", "message": "The document could not be read."}
    return error_of(job["sha256"], reads_strangers=vendor.knob("read_strangers", api_key))


def _state(vendor: SmartbillsCom, request: Request, job: Job, api_key: str) -> dict[str, Any]:
    status = _status(vendor, job, api_key)
    body = _body(request, job, status)
    if status == "failed":
        body["error"] = _error(vendor, job, api_key)
    elif status == "completed":
        body["extracted_data"] = extracted_data(
            job["sha256"],
            with_lines=bool(job["with_lines"]),
            missing=vendor.knob("missing_fields", api_key),
            vendor_info=vendor.knob("vendor_info_shape", api_key),
        )
    else:
        vendor.jobs.poll(job)
    return body
