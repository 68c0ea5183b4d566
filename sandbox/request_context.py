"""One call on the sandbox, as every room sees it: whose it is, what to write on its answer, how to lose that."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.exact_json import render_json

API_KEY_PREFIXES = ("sk_test_", "bf_live_sandbox")
"""What begins like this is a key of ours; whatever follows is a world of its own."""


@dataclass
class RequestContext:
    """A call: ``api_key`` is None unless it is one of ours; ``headers`` go on the answer, whatever it is."""

    api_key: str | None
    request_id: str = field(default_factory=lambda: f"req_{secrets.token_hex(8)}")
    headers: dict[str, str] = field(default_factory=dict)
    route: str | None = None


class BodyTooLargeError(Exception):
    """The caller sent more bytes than this room takes."""


class ExactJsonResponse(Response):
    """A JSON answer whose Decimals stay exact."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return render_json(content).encode("utf-8")


class LostResponse(Response):
    """An answer that never arrives: the work is done, the connection breaks."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "sandbox.lost"})


def get_request_context(request: Request) -> RequestContext:
    """Return the visit that the front door noted on this request."""
    context = request.scope["sandbox.visit"]
    assert isinstance(context, RequestContext)  # noqa: S101 - the front door put it there
    return context


def find_bearer_key(authorization: str | None) -> str | None:
    """Return the API key of an Authorization header where it is one of ours, else None; others are kept nowhere."""
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    is_sandbox_key = (
        scheme.lower() == "bearer" and key.startswith(API_KEY_PREFIXES) and len(key) <= 200 and key.isprintable()
    )
    return key if is_sandbox_key else None
