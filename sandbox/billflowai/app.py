"""The API of this vendor."""

from __future__ import annotations

from fastapi import FastAPI

from sandbox.journal import Journal
from sandbox.knobs import Knobs


def application(journal: Journal, knobs: Knobs, minute_seconds: float) -> FastAPI:  # noqa: ARG001  not served yet
    """Return the vendor as an ASGI application; ``minute_seconds`` is how long its minute lasts."""
    return FastAPI(openapi_url=None)
