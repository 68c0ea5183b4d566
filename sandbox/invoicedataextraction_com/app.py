"""The API of invoicedataextraction.com: sessions, parts, extractions, rows (contract sheet 02)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from sandbox.invoicedataextraction_com import outputs, submitting, uploading, watching
from sandbox.invoicedataextraction_com.checking import word
from sandbox.invoicedataextraction_com.openapi import document
from sandbox.invoicedataextraction_com.refusals import STATUS, Refused, invalid, storage_refusal
from sandbox.invoicedataextraction_com.vendor import Vendor, Work
from sandbox.journal import Journal
from sandbox.knobs import Knobs
from sandbox.visits import BodyTooLarge, Json, visit_of

SESSION, EXTRACTION = "/uploads/sessions/{upload_session_id}", "/extractions/{extraction_id}"
ROUTES: tuple[tuple[str, str, str, str, Work], ...] = (
    ("balance", "GET", "/credits/balance", "balance", watching.balance),
    ("session", "POST", "/uploads/sessions", "upload", uploading.create_session),
    ("parts", "POST", f"{SESSION}/parts", "upload", uploading.part_addresses),
    ("complete", "POST", f"{SESSION}/complete", "upload", uploading.complete_file),
    ("submit", "POST", "/extractions", "submit", submitting.submit),
    ("list", "GET", "/extractions", "list", watching.newest),
    ("status", "GET", EXTRACTION, "poll", watching.status),
    ("delete", "DELETE", EXTRACTION, "delete", watching.delete),
    ("output", "GET", f"{EXTRACTION}/output", "download", outputs.output),
    ("results", "GET", f"{EXTRACTION}/results", "results", outputs.results),
    ("details", "GET", f"{EXTRACTION}/details", "details", watching.details_of),
    ("cancel", "POST", f"{EXTRACTION}/cancel", "cancel", watching.cancel),
    ("answers", "POST", f"{EXTRACTION}/answers", "answers", watching.answer_questions),
)
"""Name, method, path below /v1, bucket and work of each route that wants a key."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")


def application(journal: Journal, knobs: Knobs, minute_seconds: float) -> FastAPI:
    """Return the vendor as an ASGI application; ``minute_seconds`` is how long its minute lasts."""
    app = FastAPI(title="invoicedataextraction.com sandbox", openapi_url=None)
    vendor = Vendor(journal, knobs, minute_seconds)
    for name, method, path, bucket, work in ROUTES:
        app.add_api_route(f"/v1{path}", _endpoint(vendor, name, path, bucket, work), methods=[method])
    _add_storage(app, vendor)
    _add_refusals(app)
    return app


def _endpoint(
    vendor: Vendor, name: str, path: str, bucket: str, work: Work
) -> Callable[[Request], Awaitable[Response]]:
    async def checked(vendor: Vendor, request: Request, api_key: str) -> Response:
        _check_path(request)
        if path.startswith("/extractions") and name != "submit":
            _check_scope(vendor, request, api_key)
        return await work(vendor, request, api_key)

    async def endpoint(request: Request) -> Response:
        visit_of(request).route = f"/v1{path}"
        return await vendor.answer(request, name, bucket, checked)

    return endpoint


def _check_path(request: Request) -> None:
    if not _UUID.fullmatch(request.path_params.get("extraction_id", "00000000-0000-0000-0000-000000000000")):
        raise invalid("is no UUID", "extraction_id")
    if not _ID.fullmatch(request.path_params.get("upload_session_id", "-")):
        raise invalid("is no id", "upload_session_id")


def _check_scope(vendor: Vendor, request: Request, api_key: str) -> None:
    if word(request.query_params, "scope", ("own", "team")) == "team" and not vendor.knob("team_admin", api_key):
        raise Refused("FORBIDDEN", "scope=team is for team admins.")


def _add_storage(app: FastAPI, vendor: Vendor) -> None:
    @app.put("/storage/uploads/{file:int}/{part:int}")
    async def put(request: Request) -> Response:
        visit_of(request).route = "/storage/uploads/{file}/{part}"
        return await uploading.put_part(vendor, request)

    @app.get("/storage/outputs/{extraction_id}/{form}")
    async def get(request: Request) -> Response:
        visit_of(request).route = "/storage/outputs/{extraction_id}/{format}"
        return await outputs.download(vendor, request)

    @app.get("/openapi.json")
    async def contract(request: Request) -> Response:
        visit_of(request).route = "/openapi.json"
        host, port = request.scope["server"]
        return Json(document(f"http://{host}:{port}/invoicedataextraction_com/v1"))


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(BodyTooLarge)
    async def too_large(request: Request, _error: Exception) -> Response:
        visit_of(request).headers["Connection"] = "close"
        if request.url.path.startswith("/storage"):
            return storage_refusal(400, "EntityTooLarge", "The part is too large.")
        return invalid("The body is too large.").answer()

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "INVALID_INPUT")
        if status == 405:
            visit_of(request).headers["Allow"] = ", ".join(_methods(app, request))
        assert code in STATUS  # noqa: S101 - or the answer below would break
        return Refused(code, "No such route.").answer()


def _methods(app: FastAPI, request: Request) -> list[str]:
    routes = [
        route for route in app.routes if isinstance(route, Route) and route.path_regex.match(request.scope["path"])
    ]
    return sorted({method for route in routes for method in route.methods or ()})
