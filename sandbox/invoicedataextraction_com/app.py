"""The API of invoicedataextraction.com: upload sessions, parts, extractions, rows (contract sheet 02)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sandbox.allow_header import build_allow_header
from sandbox.invoicedataextraction_com import extraction_handlers, output_handlers, submission_handlers, upload_handlers
from sandbox.invoicedataextraction_com.errors import (
    API_ERRORS,
    ApiError,
    build_invalid_input_error,
    build_storage_error_response,
)
from sandbox.invoicedataextraction_com.openapi import build_document
from sandbox.invoicedataextraction_com.request_validation import parse_query_choice
from sandbox.invoicedataextraction_com.vendor import RouteHandler, Vendor
from sandbox.journal import Journal
from sandbox.request_context import BodyTooLargeError, ExactJsonResponse, get_request_context
from sandbox.settings import SandboxSettings

SESSION_PATH, EXTRACTION_PATH = "/uploads/sessions/{upload_session_id}", "/extractions/{extraction_id}"
ROUTES: tuple[tuple[str, str, str, str, RouteHandler], ...] = (
    ("balance", "GET", "/credits/balance", "balance", extraction_handlers.get_credit_balance),
    ("session", "POST", "/uploads/sessions", "upload", upload_handlers.create_upload_session),
    ("parts", "POST", f"{SESSION_PATH}/parts", "upload", upload_handlers.list_part_urls),
    ("complete", "POST", f"{SESSION_PATH}/complete", "upload", upload_handlers.finish_file_upload),
    ("submit", "POST", "/extractions", "submit", submission_handlers.submit_extraction),
    ("list", "GET", "/extractions", "list", extraction_handlers.list_extractions),
    ("status", "GET", EXTRACTION_PATH, "poll", extraction_handlers.get_extraction_status),
    ("delete", "DELETE", EXTRACTION_PATH, "delete", extraction_handlers.delete_extraction),
    ("output", "GET", f"{EXTRACTION_PATH}/output", "download", output_handlers.get_output_url),
    ("results", "GET", f"{EXTRACTION_PATH}/results", "results", output_handlers.list_result_rows),
    ("details", "GET", f"{EXTRACTION_PATH}/details", "details", extraction_handlers.get_extraction_details),
    ("cancel", "POST", f"{EXTRACTION_PATH}/cancel", "cancel", extraction_handlers.cancel_extraction),
    ("answers", "POST", f"{EXTRACTION_PATH}/answers", "answers", extraction_handlers.answer_questions),
)
"""Name, method, path below /v1, rate limit bucket and handler of each route that needs a key."""
_UUID_PATTERN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,200}")


def build_app(journal: Journal, settings: SandboxSettings, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; one of its minutes lasts ``minute_seconds``."""
    app = FastAPI(title="invoicedataextraction.com sandbox", openapi_url=None)
    vendor = Vendor(journal, settings, minute_seconds)
    for name, method, path, bucket, handler in ROUTES:
        app.add_api_route(f"/v1{path}", _build_endpoint(vendor, name, path, bucket, handler), methods=[method])
    _add_storage_routes(app, vendor)
    _add_error_handlers(app)
    return app


def _build_endpoint(
    vendor: Vendor, name: str, path: str, bucket: str, handler: RouteHandler
) -> Callable[[Request], Awaitable[Response]]:
    async def validate_and_handle(vendor: Vendor, request: Request, api_key: str) -> Response:
        _validate_path_ids(request)
        if path.startswith("/extractions") and name != "submit":
            scope = parse_query_choice(request.query_params, "scope", ("own", "team"))
            if scope == "team" and not vendor.get_setting("team_admin", api_key):
                raise ApiError("FORBIDDEN", "scope=team is for team admins.")
        return await handler(vendor, request, api_key)

    async def handle_call(request: Request) -> Response:
        get_request_context(request).route = f"/v1{path}"
        return await vendor.handle_request(request, name, bucket, validate_and_handle)

    return handle_call


def _validate_path_ids(request: Request) -> None:
    if not _UUID_PATTERN.fullmatch(request.path_params.get("extraction_id", "00000000-0000-0000-0000-000000000000")):
        raise build_invalid_input_error("is no UUID", "extraction_id")
    if not _ID_PATTERN.fullmatch(request.path_params.get("upload_session_id", "-")):
        raise build_invalid_input_error("is no id", "upload_session_id")


def _add_storage_routes(app: FastAPI, vendor: Vendor) -> None:
    @app.put("/storage/uploads/{file:int}/{part:int}")
    async def handle_part_upload(request: Request) -> Response:
        get_request_context(request).route = "/storage/uploads/{file}/{part}"
        return await upload_handlers.store_part(vendor, request)

    @app.get("/storage/outputs/{extraction_id}/{form}")
    async def handle_output_download(request: Request) -> Response:
        get_request_context(request).route = "/storage/outputs/{extraction_id}/{format}"
        return await output_handlers.download_output(vendor, request)

    @app.get("/openapi.json")
    async def get_openapi_document(request: Request) -> Response:
        get_request_context(request).route = "/openapi.json"
        host, port = request.scope["server"]
        return ExactJsonResponse(build_document(f"http://{host}:{port}/invoicedataextraction_com/v1"))


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(BodyTooLargeError)
    async def handle_too_large_body(request: Request, _error: Exception) -> Response:
        get_request_context(request).headers["Connection"] = "close"
        if request.url.path.startswith("/storage"):
            return build_storage_error_response(400, "EntityTooLarge", "The part is too large.")
        return build_invalid_input_error("The body is too large.").build_response()

    @app.exception_handler(HTTPException)
    async def handle_http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "INVALID_INPUT")
        if status == 405:
            get_request_context(request).headers["Allow"] = build_allow_header(request)
        assert code in API_ERRORS  # noqa: S101 - build_response() needs a known code
        return ApiError(code, "No such route.").build_response()
