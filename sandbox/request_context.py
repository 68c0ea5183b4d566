"""The context of one request, and the responses that all vendors use."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.exact_json import render_json

API_KEY_PREFIXES = ("sk_test_", "bf_live_sandbox")
"""Prefixes of the sandbox's API keys; each key that starts with one has its own data."""


@dataclass
class RequestContext:
    """One request: ``api_key`` is None unless it is one of the sandbox; ``headers`` are added to every answer.

    ``clock_shift_seconds`` is how far the vendor's clock, and so the header Date, is ahead of the machine's.
    """

    api_key: str | None
    request_id: str = field(default_factory=lambda: f"req_{secrets.token_hex(8)}")
    headers: dict[str, str] = field(default_factory=dict)
    route: str | None = None
    clock_shift_seconds: float = 0.0


class BodyTooLargeError(Exception):
    """The caller sent more bytes than this application accepts."""


class ExactJsonResponse(Response):
    """A JSON response that writes Decimals exactly."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return render_json(content).encode("utf-8")


class LostResponse(Response):
    """A response that never arrives: the work is done, but the connection is closed without an answer."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "sandbox.lost"})


def get_request_context(request: Request) -> RequestContext:
    """Return the context that the middleware attached to this request."""
    context = request.scope["sandbox.context"]
    assert isinstance(context, RequestContext)  # noqa: S101 - the middleware sets it
    return context


def find_bearer_key(authorization: str | None) -> str | None:
    """Return the API key of an Authorization header if it is one of the sandbox, else None.

    Other keys may be real, so they are not stored anywhere.
    """
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    is_sandbox_key = (
        scheme.lower() == "bearer" and key.startswith(API_KEY_PREFIXES) and len(key) <= 200 and key.isprintable()
    )
    return key if is_sandbox_key else None
