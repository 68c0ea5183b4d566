"""The API of BillflowAI: extracts one document per call and stores the invoice (contract sheet 03)."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sandbox.allow_header import build_allow_header
from sandbox.billflowai import handlers
from sandbox.billflowai.errors import ApiError, build_validation_error
from sandbox.billflowai.openapi import build_document
from sandbox.billflowai.vendor import RouteHandler, Vendor
from sandbox.journal import Journal
from sandbox.openapi import add_openapi_route
from sandbox.request_context import BodyTooLargeError, get_request_context
from sandbox.settings import SandboxSettings

ROUTES = (
    ("POST", "/api/extract-invoice", handlers.extract_from_url),
    ("POST", "/api/extract-invoice-file", handlers.extract_uploaded_file),
    ("GET", "/api/invoices", handlers.list_invoices),
    ("GET", "/api/invoices/{invoice_id}", handlers.get_invoice),
    ("PATCH", "/api/invoices/{invoice_id}", handlers.update_invoice),
    ("DELETE", "/api/invoices/{invoice_id}", handlers.delete_invoice),
)


def build_app(journal: Journal, settings: SandboxSettings, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; one of its minutes lasts ``minute_seconds``."""
    app = FastAPI(title="billflowai sandbox", openapi_url=None)
    vendor = Vendor(journal, settings, minute_seconds)
    for method, path, handler in ROUTES:
        _add_route(app, vendor, method, path, handler)
    add_openapi_route(app, "billflowai", build_document)
    _add_error_handlers(app, vendor)
    return app


def _add_route(app: FastAPI, vendor: Vendor, method: str, path: str, handler: RouteHandler) -> None:
    async def handle_call(request: Request) -> Response:
        get_request_context(request).route = path.replace("{invoice_id}", "{id}")
        return await vendor.handle_request(request, handler)

    app.add_api_route(path, handle_call, methods=[method], response_model=None)


def _add_error_handlers(app: FastAPI, vendor: Vendor) -> None:
    @app.exception_handler(BodyTooLargeError)
    async def handle_too_large_body(request: Request, _error: Exception) -> Response:
        get_request_context(request).headers["Connection"] = "close"
        return handlers.build_too_large_error(request).build_response()

    @app.exception_handler(HTTPException)
    async def handle_http_error(request: Request, error: Exception) -> Response:
        if get_request_context(request).route is not None:
            return build_validation_error("", "the form cannot be read").build_response()
        status = error.status_code if isinstance(error, HTTPException) else 404

        async def reject_call(_vendor: Vendor, current_request: Request, _key: str) -> Response:
            if status == 405:
                get_request_context(current_request).headers["Allow"] = build_allow_header(current_request)
                raise ApiError("METHOD_NOT_ALLOWED", "Not with this method.")
            raise ApiError("NOT_FOUND", "No such route.")

        return await vendor.handle_request(request, reject_call)
