"""The admin API of the sandbox, which no vendor has: reads the journal, changes settings; each call needs its token."""

from __future__ import annotations

import secrets

from fastapi import Depends, FastAPI, HTTPException, Request, Response

from sandbox.exact_json import JsonError, parse_json
from sandbox.journal import Journal, summarise_journal
from sandbox.request_context import BodyTooLargeError, ExactJsonResponse
from sandbox.settings import SETTING_DEFINITIONS, SandboxSettings, SettingError


def build_admin_app(journal: Journal, settings: SandboxSettings, admin_token: str) -> FastAPI:
    """Return the admin API as an ASGI application.

    Without ``Authorization: Bearer`` and the token, the answer is 401: a web page that reaches this port does not know
    it. The routes are ``GET /journal?api_key=``, ``GET /settings?api_key=`` and ``POST /settings``.
    """

    def require_admin_token(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(token.strip().encode(), admin_token.encode()):
            raise HTTPException(401, "send Authorization: Bearer and the admin_token of the sandbox's first line")

    app = FastAPI(title="sandbox admin API", openapi_url=None, dependencies=[Depends(require_admin_token)])

    @app.get("/journal")
    async def get_journal(api_key: str | None = None) -> Response:
        return ExactJsonResponse(summarise_journal(journal.connection, api_key))

    @app.get("/settings")
    async def list_settings(api_key: str | None = None) -> Response:
        setting_rows = {
            name: {"value": settings.get_value(name, api_key), "description": definition.description}
            for name, definition in SETTING_DEFINITIONS.items()
        }
        return ExactJsonResponse(setting_rows)

    @app.post("/settings")
    async def update_settings(request: Request) -> Response:
        try:
            values = parse_json(await request.body())
            if not isinstance(values, dict):
                raise SettingError("the body must be a JSON object of settings")
            api_key = values.pop("api_key", None)
            settings.set_values(values, api_key)
        except (JsonError, SettingError) as error:
            return ExactJsonResponse({"error": str(error)}, 400)
        return ExactJsonResponse({name: settings.get_value(name, api_key) for name in values})

    @app.exception_handler(BodyTooLargeError)
    async def handle_too_large_body(_request: Request, _error: Exception) -> Response:
        return ExactJsonResponse({"error": "the body is too large"}, 413)

    return app
