"""A server on this machine that sends exactly the replies a test sets, also invalid ones, and records all requests."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class ReceivedRequest:
    """One received request."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Response:
    """A response, and how it is sent.

    ``framing`` is ``length``, ``chunked`` or ``close``. ``declared_length`` overrides the Content-Length.
    ``close_after_bytes`` closes the connection after that many bytes of the body. ``seconds_per_byte`` sends the body
    byte by byte, and with ``are_headers_slow`` the headers too.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = "length"
    declared_length: int | None = None
    close_after_bytes: int | None = None
    seconds_per_byte: float = 0.0
    are_headers_slow: bool = False

    @staticmethod
    def from_json(value: Any, status: int = 200, **headers: str) -> Response:
        header_values = {name.replace("_", "-"): text for name, text in headers.items()}
        return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json", **header_values})


@dataclass(frozen=True)
class Disconnect:
    """Read the request and close the connection without a response; ``is_reset`` sends a TCP reset.

    ``delay_seconds`` is the wait before that.
    """

    is_reset: bool = False
    delay_seconds: float = 0.0


Reply = Response | Disconnect
RequestHandler = Callable[[ReceivedRequest], Reply]


class ScriptedServer:
    """Sends the given replies in turn, and the last one for ever; or the reply that a handler chooses."""

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.connection_count = 0
        self._handler: RequestHandler = lambda _: Response()
        self._lock = threading.Lock()
        self._stop_event = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._accept_thread = threading.Thread(target=self._accept_connections)

    def __enter__(self) -> ScriptedServer:
        self._accept_thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self._accept_thread.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def set_replies(self, *replies: Reply) -> None:
        remaining_replies = list(replies)
        self.set_handler(lambda _: remaining_replies.pop(0) if len(remaining_replies) > 1 else remaining_replies[0])

    def set_handler(self, handler: RequestHandler) -> None:
        self._handler = handler

    def _accept_connections(self) -> None:
        while not self._stop_event.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connection_count += 1
            thread = threading.Thread(target=self._serve_connection, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve_connection(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(ConnectionError):
            while (request := self._read_request(connection)) is not None:
                with self._lock:
                    self.requests.append(request)
                    reply = self._handler(request)
                if not self._send_reply(connection, reply):
                    return

    def _read_request(self, connection: socket.socket) -> ReceivedRequest | None:
        received = b""
        while b"\r\n\r\n" not in received:
            if (chunk := self._receive_bytes(connection)) == b"":
                return None
            received += chunk
        header_block, _, body = received.partition(b"\r\n\r\n")
        request_line, *header_lines = header_block.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in header_lines)}
        while len(body) < int(headers.get("content-length", 0)):
            if (chunk := self._receive_bytes(connection)) == b"":
                return None
            body += chunk
        method, target, _ = request_line.split(" ", 2)
        return ReceivedRequest(method, target, headers, body)

    def _receive_bytes(self, connection: socket.socket) -> bytes:
        while not self._stop_event.is_set():
            try:
                return connection.recv(65536)
            except TimeoutError:
                continue
        return b""

    def _send_reply(self, connection: socket.socket, reply: Reply) -> bool:
        """Send the reply; return whether the connection stays open."""
        if isinstance(reply, Disconnect):
            self._stop_event.wait(reply.delay_seconds)
            if reply.is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        headers = dict(reply.headers)
        body = reply.body
        if reply.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif reply.framing == "length":
            headers["Content-Length"] = str(len(body) if reply.declared_length is None else reply.declared_length)
        header_block = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._send_bytes(
            connection,
            f"HTTP/1.1 {reply.status} Reason\r\n{header_block}\r\n".encode("latin-1"),
            reply.seconds_per_byte * reply.are_headers_slow,
        )
        self._send_bytes(connection, body[: reply.close_after_bytes], reply.seconds_per_byte)
        return reply.framing != "close" and reply.close_after_bytes is None

    def _send_bytes(self, connection: socket.socket, content: bytes, seconds_per_byte: float) -> None:
        if not seconds_per_byte:
            connection.settimeout(30)
            connection.sendall(content)
            connection.settimeout(0.1)
            return
        for position in range(len(content)):
            if self._stop_event.is_set():
                return
            connection.sendall(content[position : position + 1])
            time.sleep(seconds_per_byte)
