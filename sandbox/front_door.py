"""Where every call comes in: it bounds bodies, notes whose call it is, writes the journal, loses answers on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.journal import Journal
from sandbox.visits import BodyTooLarge, Visit, bearer_key

ROOMS = ("smartbills_com", "invoicedataextraction_com", "billflowai", "smartbills_io", "_sandbox")


class FrontDoor:
    """The outermost application: hands a call to the room its path names, and journals what became of it."""

    def __init__(self, rooms: Mapping[str, ASGIApp], journal: Journal, body_limits: dict[str, int]) -> None:
        self._rooms, self._journal, self._body_limits = rooms, journal, body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        _, _, rest = scope["path"].partition("/")
        name, _, path = rest.partition("/")
        room = self._rooms.get(name)
        if room is None:
            await _not_found(send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        visit = Visit(bearer_key(headers.get("authorization")))
        inner = {**scope, "path": f"/{path}", "raw_path": None, "root_path": "", "sandbox.visit": visit}
        leaving = _Exit(self._journal, scope, visit, send, is_journaled=name != "_sandbox", prefix=f"/{name}")
        try:
            await room(inner, _bounded(receive, self._body_limits[name]), leaving.send)
        except ClientDisconnect:
            leaving.note(0)
        if leaving.is_lost:
            await _hang_up(receive, send)


class _Exit:
    """Sees every message of one answer on its way out."""

    def __init__(
        self, journal: Journal, scope: Scope, visit: Visit, send: Send, *, is_journaled: bool, prefix: str
    ) -> None:
        self._journal, self._scope, self._visit, self._send = journal, scope, visit, send
        self._is_journaled, self._prefix = is_journaled, prefix
        self.is_lost = False

    async def send(self, message: Message) -> None:
        if message["type"] == "sandbox.lost":
            self.is_lost = True
            self.note(0)
            return
        if message["type"] == "http.response.start":
            self.note(message["status"])
            extra = [(k.lower().encode(), v.encode()) for k, v in self._visit.headers.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await self._send(message)

    def note(self, status: int) -> None:
        """Journal the call, once."""
        if self._is_journaled:
            route = self._prefix + (self._visit.route or "/?")
            self._journal.record_request(
                self._visit.api_key, self._scope["method"], self._scope["path"], route, status, self._visit.request_id
            )
        self._is_journaled = False


def _bounded(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise BodyTooLarge
        return message

    return counted


async def _not_found(send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"There are: {', '.join(ROOMS)}\n".encode()})


async def _hang_up(receive: Receive, send: Send) -> None:
    """Break the connection under the caller; ASGI has no word for it, so uvicorn's object behind ``send`` is asked."""
    cycle: Any = getattr(send, "__self__", None)
    cycle.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
