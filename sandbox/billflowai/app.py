"""The API of BillflowAI: read one document per call, keep what was read (contract sheet 03)."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sandbox.billflowai import calls
from sandbox.billflowai.openapi import document
from sandbox.billflowai.refusals import Refused, invalid
from sandbox.billflowai.vendor import Vendor, Work
from sandbox.journal import Journal
from sandbox.knobs import Knobs
from sandbox.methods import allowed
from sandbox.openapi import serve
from sandbox.visits import BodyTooLarge, visit_of

ROUTES = (
    ("POST", "/api/extract-invoice", calls.extract_url),
    ("POST", "/api/extract-invoice-file", calls.extract_file),
    ("GET", "/api/invoices", calls.listing),
    ("GET", "/api/invoices/{invoice_id}", calls.retrieve),
    ("PATCH", "/api/invoices/{invoice_id}", calls.change),
    ("DELETE", "/api/invoices/{invoice_id}", calls.delete),
)


def application(journal: Journal, knobs: Knobs, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; ``minute_seconds`` is how long its minute lasts."""
    app = FastAPI(title="billflowai sandbox", openapi_url=None)
    vendor = Vendor(journal, knobs, minute_seconds)
    for method, path, work in ROUTES:
        _add(app, vendor, method, path, work)
    serve(app, "billflowai", document)
    _add_refusals(app, vendor)
    return app


def _add(app: FastAPI, vendor: Vendor, method: str, path: str, work: Work) -> None:
    async def endpoint(request: Request) -> Response:
        visit_of(request).route = path.replace("{invoice_id}", "{id}")
        return await vendor.answer(request, work)

    app.add_api_route(path, endpoint, methods=[method], response_model=None)


def _add_refusals(app: FastAPI, vendor: Vendor) -> None:
    @app.exception_handler(BodyTooLarge)
    async def too_large(request: Request, _error: Exception) -> Response:
        visit_of(request).headers["Connection"] = "close"
        return calls.too_large(request).answer()

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        if visit_of(request).route is not None:
            return invalid("", "the form cannot be read").answer()
        status = error.status_code if isinstance(error, HTTPException) else 404

        async def work(_vendor: Vendor, called: Request, _key: str) -> Response:
            if status == 405:
                visit_of(called).headers["Allow"] = allowed(called)
                raise Refused("METHOD_NOT_ALLOWED", "Not with this method.")
            raise Refused("NOT_FOUND", "No such route.")

        return await vendor.answer(request, work)
