"""The API of smartbills.io: create, read, list, update and delete receipts, on two routes (contract sheet 05)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sandbox.allow_header import build_allow_header
from sandbox.journal import Journal
from sandbox.limits import TokenBucketRateLimiter
from sandbox.openapi import add_openapi_route
from sandbox.request_context import BodyTooLargeError, RequestContext, get_request_context
from sandbox.settings import SandboxSettings
from sandbox.smartbills_io import handlers
from sandbox.smartbills_io.error_responses import build_error_response, format_retry_after
from sandbox.smartbills_io.openapi import build_document
from sandbox.smartbills_io.receipt_store import ReceiptStore
from sandbox.smartbills_io.receipt_validation import TENANT_ID_PATTERN

SCOPE_BY_METHOD = {
    "GET": "receipts.read",
    "POST": "receipts.write",
    "PUT": "receipts.write",
    "DELETE": "receipts.write",
}


@dataclass(frozen=True)
class RequestRejected(Exception):
    """The call is refused with ``response`` before its handler runs."""

    response: Response


class Vendor:
    """smartbills.io: its receipts, authentication, rate limits and settings."""

    def __init__(self, journal: Journal, settings: SandboxSettings, minute_seconds: float) -> None:
        self.receipt_store = ReceiptStore(journal)
        self._settings, self._rate_limiter = settings, TokenBucketRateLimiter(minute_seconds)
        self._call_counts: dict[str, int] = {}

    def get_setting(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's setting for an API key."""
        return self._settings.get_value(f"smartbills_io.{name}", api_key)

    def build_error_response(self, context: RequestContext, status: int, code: str, message: str) -> Response:
        """Return an error in the envelope that is set for this key."""
        return build_error_response(
            self.get_setting("error_envelope", context.api_key), status, code, message, context.request_id
        )

    def authenticate_and_throttle(self, request: Request, business_id: str | None) -> handlers.AuthorizedCall:
        """Return the authorized call; raises RequestRejected without a key, rate limit tokens, scope or tenant."""
        context = get_request_context(request)
        api_key = context.api_key
        if api_key is None:
            raise RequestRejected(
                self.build_error_response(context, 401, "UNAUTHORIZED", "The API key is missing or wrong.")
            )
        context.clock_shift_seconds = self.get_setting("clock_shift_seconds", api_key)
        self._check_rate_limit(context, api_key)
        if SCOPE_BY_METHOD[request.method] not in self.get_setting("scopes", api_key):
            raise RequestRejected(
                self.build_error_response(context, 403, "INSUFFICIENT_PERMISSIONS", "The key lacks the scope.")
            )
        tenant_id = self._get_tenant_id(request, context, business_id)
        if self.get_setting("ambiguous_route", api_key) and business_id is None:
            raise RequestRejected(self.build_error_response(context, 500, "INTERNAL_ERROR", "AmbiguousMatchException"))
        self._call_counts[api_key] = self._call_counts.get(api_key, 0) + 1
        failure_interval = self.get_setting("http_500_every", api_key)
        if failure_interval and self._call_counts[api_key] % failure_interval == 0:
            raise RequestRejected(self.build_error_response(context, 500, "INTERNAL_ERROR", "Something went wrong."))
        uses_sdk_dialect = business_id is not None and self.get_setting("dialect_by_path", api_key)
        return handlers.AuthorizedCall(
            self.receipt_store, self._settings, context, (api_key, tenant_id), uses_sdk_dialect
        )

    def _check_rate_limit(self, context: RequestContext, api_key: str) -> None:
        wait_seconds = self._rate_limiter.take_token_or_compute_wait(
            api_key, self.get_setting("rate_model", api_key), time.time()
        )
        if wait_seconds is None:
            return
        retry_after_value = format_retry_after(
            self.get_setting("retry_after", api_key), wait_seconds, self._rate_limiter.refill_period
        )
        if retry_after_value is not None:
            context.headers["Retry-After"] = retry_after_value
        raise RequestRejected(self.build_error_response(context, 429, "RATE_LIMIT_EXCEEDED", "Too many requests."))

    def _get_tenant_id(self, request: Request, context: RequestContext, business_id: str | None) -> str:
        header_id = request.headers.get("x-tenant-id", "")
        for claimed_id in filter(None, (header_id, business_id)):
            if not TENANT_ID_PATTERN.fullmatch(claimed_id):
                raise RequestRejected(
                    self.build_error_response(context, 400, "INVALID_PARAMETER", "That is no id of a business.")
                )
        if business_id is not None:
            if header_id and header_id != business_id:
                raise RequestRejected(
                    self.build_error_response(
                        context, 403, "BUSINESS_ACCESS_DENIED", "x-tenant-id is another business."
                    )
                )
            return business_id
        if not header_id and self.get_setting("require_tenant", context.api_key):
            raise RequestRejected(
                self.build_error_response(context, 400, "MISSING_REQUIRED_FIELD", "The header x-tenant-id is required.")
            )
        return header_id


def build_app(journal: Journal, settings: SandboxSettings, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; one of its minutes lasts ``minute_seconds``."""
    app = FastAPI(title="smartbills.io sandbox", openapi_url=None)
    vendor = Vendor(journal, settings, minute_seconds)
    for prefix in ("/v1/receipts", "/v1/businesses/{business}/receipts"):
        _add_route(app, vendor, "POST", prefix, handlers.create_receipt)
        _add_route(app, vendor, "GET", prefix, handlers.list_receipts)
        _add_route(app, vendor, "GET", prefix + "/{number}", handlers.get_receipt)
        _add_route(app, vendor, "PUT", prefix + "/{number}", handlers.update_receipt)
        _add_route(app, vendor, "DELETE", prefix + "/{number}", handlers.delete_receipt)
    add_openapi_route(app, "smartbills_io", build_document)
    _add_error_handlers(app, vendor)
    return app


def _add_route(
    app: FastAPI,
    vendor: Vendor,
    method: str,
    path: str,
    handler: Callable[[handlers.AuthorizedCall, Request, bytes], Response],
) -> None:
    async def handle_call(request: Request) -> Response:
        context = get_request_context(request)
        context.route = path.replace("{number}", "{id}")
        context.headers["x-request-id"] = context.request_id
        try:
            call = vendor.authenticate_and_throttle(request, request.path_params.get("business"))
        except RequestRejected as rejection:
            return rejection.response
        return handler(call, request, await request.body())

    app.add_api_route(path, handle_call, methods=[method], response_model=None)


def _add_error_handlers(app: FastAPI, vendor: Vendor) -> None:
    @app.exception_handler(BodyTooLargeError)
    async def handle_too_large_body(request: Request, _error: Exception) -> Response:
        get_request_context(request).headers["Connection"] = "close"
        return vendor.build_error_response(
            get_request_context(request), 413, "INVALID_PARAMETER", "The body is too large."
        )

    @app.exception_handler(HTTPException)
    async def handle_http_error(request: Request, error: Exception) -> Response:
        context = get_request_context(request)
        if context.api_key is None:
            return vendor.build_error_response(context, 401, "UNAUTHORIZED", "The API key is missing or wrong.")
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status == 405:
            context.headers["Allow"] = build_allow_header(request)
            return vendor.build_error_response(context, status, "METHOD_NOT_ALLOWED", "Not with this method.")
        return vendor.build_error_response(context, status, "NOT_FOUND", "No such route.")
