"""The sandbox's own desk, which no vendor has: read the journal, turn the knobs."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from sandbox.exact_json import JsonError, loads
from sandbox.journal import Journal, summary
from sandbox.knobs import KNOBS, KnobError, Knobs
from sandbox.visits import BodyTooLarge, Json


def application(journal: Journal, knobs: Knobs) -> FastAPI:
    """Return the desk as an ASGI application: ``GET /journal?api_key=``, ``GET /knobs``, ``POST /knobs``."""
    app = FastAPI(title="sandbox desk", openapi_url=None)

    @app.get("/journal")
    async def read_journal(api_key: str | None = None) -> Response:
        return Json(summary(journal.connection, api_key))

    @app.get("/knobs")
    async def read_knobs(api_key: str | None = None) -> Response:
        rows = {name: {"value": knobs.get(name, api_key), "says": knob.says} for name, knob in KNOBS.items()}
        return Json(rows)

    @app.post("/knobs")
    async def turn_knobs(request: Request) -> Response:
        try:
            values = loads(await request.body())
            if not isinstance(values, dict):
                raise KnobError("knobs come as a JSON object")
            api_key = values.pop("api_key", None)
            knobs.turn(values, api_key)
        except (JsonError, KnobError) as error:
            return Json({"error": str(error)}, 400)
        return Json({name: knobs.get(name, api_key) for name in values})

    @app.exception_handler(BodyTooLarge)
    async def too_large(_request: Request, _error: Exception) -> Response:
        return Json({"error": "too large"}, 413)

    return app
