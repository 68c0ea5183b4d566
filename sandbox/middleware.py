"""The outermost ASGI application: limits bodies, finds the API key, writes the journal, drops answers on demand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.journal import Journal
from sandbox.request_context import BodyTooLargeError, RequestContext, find_bearer_key

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
MOUNT_NAMES = ("smartbills_com", "invoicedataextraction_com", "billflowai", "smartbills_io", "_sandbox")


def is_loopback_authority(authority: str) -> bool:
    """Return whether a Host header names this machine.

    Any other name is of a web page whose DNS entry was pointed here (DNS rebinding).
    """
    name, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        name, port = authority, ""
    return name.lower() in LOOPBACK_NAMES and (not port or (port.isascii() and port.isdigit()))


async def _send_text(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


class JournalingDispatcher:
    """Dispatches each call to the application that its path names, and journals it with the status of its answer."""

    def __init__(self, apps: Mapping[str, ASGIApp], journal: Journal, body_limits: dict[str, int]) -> None:
        self._apps, self._journal, self._body_limits = apps, journal, body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if not is_loopback_authority(headers.get("host", "")):
            await _send_text(send, 421, f"The sandbox answers only to {', '.join(LOOPBACK_NAMES)}.\n")
            return
        _, _, relative_path = scope["path"].partition("/")
        mount_name, _, app_path = relative_path.partition("/")
        app = self._apps.get(mount_name)
        if app is None:
            await _send_text(send, 404, f"There are: {', '.join(MOUNT_NAMES)}\n")
            return
        context = RequestContext(find_bearer_key(headers.get("authorization")))
        app_scope = {**scope, "path": f"/{app_path}", "raw_path": None, "root_path": "", "sandbox.context": context}
        recorder = _ResponseRecorder(
            self._journal, scope, context, send, must_record=mount_name != "_sandbox", route_prefix=f"/{mount_name}"
        )
        try:
            await app(app_scope, _limit_body_size(receive, self._body_limits[mount_name]), recorder.send_message)
        except ClientDisconnect:
            recorder.record_request_once(0)
        if recorder.is_lost:
            await _abort_connection(receive, send)


class _ResponseRecorder:
    """Forwards the messages of one answer, adds its headers and journals the call."""

    def __init__(
        self,
        journal: Journal,
        scope: Scope,
        context: RequestContext,
        send: Send,
        *,
        must_record: bool,
        route_prefix: str,
    ) -> None:
        self._journal, self._scope, self._context, self._send = journal, scope, context, send
        self._must_record, self._route_prefix = must_record, route_prefix
        self.is_lost = False

    async def send_message(self, message: Message) -> None:
        if message["type"] == "sandbox.lost":
            self.is_lost = True
            self.record_request_once(0)
            return
        if message["type"] == "http.response.start":
            self.record_request_once(message["status"])
            extra_headers = [(name.lower().encode(), value.encode()) for name, value in self._context.headers.items()]
            date = formatdate(time.time() + self._context.clock_shift_seconds, usegmt=True).encode()
            message = {**message, "headers": [*message.get("headers", []), *extra_headers, (b"date", date)]}
        await self._send(message)

    def record_request_once(self, status: int) -> None:
        """Journal the call with this status, unless it is journaled already."""
        if self._must_record:
            route = self._route_prefix + (self._context.route or "/?")
            self._journal.record_request(
                self._context.api_key,
                self._scope["method"],
                self._scope["path"],
                route,
                status,
                self._context.request_id,
            )
        self._must_record = False


def _limit_body_size(receive: Receive, max_bytes: int) -> Receive:
    received_bytes = 0

    async def receive_counted() -> Message:
        nonlocal received_bytes
        message = await receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > max_bytes:
            raise BodyTooLargeError
        return message

    return receive_counted


async def _abort_connection(receive: Receive, send: Send) -> None:
    """Close the caller's connection without an answer.

    ASGI has no message for this, so uvicorn's request cycle behind ``send`` aborts its transport.
    """
    request_cycle: Any = getattr(send, "__self__", None)
    request_cycle.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
