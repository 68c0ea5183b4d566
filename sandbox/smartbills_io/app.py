"""The API of smartbills.io: create, read, list, update and delete receipts, on two routes (contract sheet 05)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sandbox.journal import Journal
from sandbox.knobs import Knobs
from sandbox.limits import Buckets
from sandbox.methods import allowed
from sandbox.openapi import serve
from sandbox.smartbills_io import calls
from sandbox.smartbills_io.openapi import document
from sandbox.smartbills_io.receipts import Receipts
from sandbox.smartbills_io.refusals import refusal, retry_after
from sandbox.smartbills_io.shapes import TENANT
from sandbox.visits import BodyTooLarge, Visit, visit_of

SCOPES = {"GET": "receipts.read", "POST": "receipts.write", "PUT": "receipts.write", "DELETE": "receipts.write"}


@dataclass(frozen=True)
class Refused(Exception):
    """The call does not reach the receipts."""

    answer: Response


class SmartbillsIo:
    """The vendor: its receipts, whom it lets in, and the knobs that try its callers."""

    def __init__(self, journal: Journal, knobs: Knobs, minute_seconds: float) -> None:
        self.receipts = Receipts(journal)
        self._knobs, self._buckets = knobs, Buckets(minute_seconds)
        self._counts: dict[str, int] = {}

    def knob(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's knob for a key."""
        return self._knobs.get(f"smartbills_io.{name}", api_key)

    def refuse(self, visit: Visit, status: int, code: str, message: str) -> Response:
        """Return an error answer in the envelope of this key."""
        return refusal(self.knob("error_envelope", visit.api_key), status, code, message, visit.request_id)

    def let_in(self, request: Request, business: str | None) -> calls.Call:
        """Return the call of someone with a key, a tenant, the scope, and tokens left; raises Refused."""
        visit = visit_of(request)
        key = visit.api_key
        if key is None:
            raise Refused(self.refuse(visit, 401, "UNAUTHORIZED", "The API key is missing or wrong."))
        self._throttle(visit, key)
        if SCOPES[request.method] not in self.knob("scopes", key):
            raise Refused(self.refuse(visit, 403, "INSUFFICIENT_PERMISSIONS", "The key lacks the scope."))
        tenant = self._tenant(request, visit, business)
        if self.knob("ambiguous_route", key) and business is None:
            raise Refused(self.refuse(visit, 500, "INTERNAL_ERROR", "AmbiguousMatchException"))
        self._counts[key] = self._counts.get(key, 0) + 1
        every = self.knob("http_500_every", key)
        if every and self._counts[key] % every == 0:
            raise Refused(self.refuse(visit, 500, "INTERNAL_ERROR", "Something went wrong."))
        speaks_sdk = business is not None and self.knob("dialect_by_path", key)
        return calls.Call(self.receipts, self._knobs, visit, (key, tenant), speaks_sdk)

    def _throttle(self, visit: Visit, key: str) -> None:
        wait = self._buckets.wait(key, self.knob("rate_model", key), time.time())
        if wait is None:
            return
        header = retry_after(self.knob("retry_after", key), wait, self._buckets.period)
        if header is not None:
            visit.headers["Retry-After"] = header
        raise Refused(self.refuse(visit, 429, "RATE_LIMIT_EXCEEDED", "Too many requests."))

    def _tenant(self, request: Request, visit: Visit, business: str | None) -> str:
        header = request.headers.get("x-tenant-id", "")
        for named in filter(None, (header, business)):
            if not TENANT.fullmatch(named):
                raise Refused(self.refuse(visit, 400, "INVALID_PARAMETER", "That is no id of a business."))
        if business is not None:
            if header and header != business:
                raise Refused(self.refuse(visit, 403, "BUSINESS_ACCESS_DENIED", "x-tenant-id is another business."))
            return business
        if not header and self.knob("require_tenant", visit.api_key):
            raise Refused(self.refuse(visit, 400, "MISSING_REQUIRED_FIELD", "The header x-tenant-id is required."))
        return header


def application(journal: Journal, knobs: Knobs, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; ``minute_seconds`` is how long its minute lasts."""
    app = FastAPI(title="smartbills.io sandbox", openapi_url=None)
    vendor = SmartbillsIo(journal, knobs, minute_seconds)
    for prefix in ("/v1/receipts", "/v1/businesses/{business}/receipts"):
        _add(app, vendor, "POST", prefix, calls.create)
        _add(app, vendor, "GET", prefix, calls.listing)
        _add(app, vendor, "GET", prefix + "/{number}", calls.retrieve)
        _add(app, vendor, "PUT", prefix + "/{number}", calls.update)
        _add(app, vendor, "DELETE", prefix + "/{number}", calls.delete)
    serve(app, "smartbills_io", document)
    _add_refusals(app, vendor)
    return app


def _add(
    app: FastAPI, vendor: SmartbillsIo, method: str, path: str, work: Callable[[calls.Call, Request, bytes], Response]
) -> None:
    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        visit.route = path.replace("{number}", "{id}")
        visit.headers["x-request-id"] = visit.request_id
        try:
            call = vendor.let_in(request, request.path_params.get("business"))
        except Refused as refused:
            return refused.answer
        return work(call, request, await request.body())

    app.add_api_route(path, endpoint, methods=[method], response_model=None)


def _add_refusals(app: FastAPI, vendor: SmartbillsIo) -> None:
    @app.exception_handler(BodyTooLarge)
    async def too_large(request: Request, _error: Exception) -> Response:
        visit_of(request).headers["Connection"] = "close"
        return vendor.refuse(visit_of(request), 413, "INVALID_PARAMETER", "The body is too large.")

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: Exception) -> Response:
        visit = visit_of(request)
        if visit.api_key is None:
            return vendor.refuse(visit, 401, "UNAUTHORIZED", "The API key is missing or wrong.")
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status == 405:
            visit.headers["Allow"] = allowed(request)
            return vendor.refuse(visit, status, "METHOD_NOT_ALLOWED", "Not with this method.")
        return vendor.refuse(visit, status, "NOT_FOUND", "No such route.")
