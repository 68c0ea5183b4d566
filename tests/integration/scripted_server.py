"""A loopback server that does exactly what a test tells it, also what no server should, and keeps what it saw."""

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
class Seen:
    """One request as it arrived."""

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
class Answer:
    """What to send back, and how badly.

    ``framing`` is ``length``, ``chunked`` or ``close``; ``claims`` overrides the Content-Length; ``cut_after`` closes
    the line after that many bytes of the body; ``drip`` sends one byte per that many seconds, headers too if told so.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = "length"
    claims: int | None = None
    cut_after: int | None = None
    drip: float = 0.0
    drips_headers: bool = False

    @staticmethod
    def json(value: Any, status: int = 200, **headers: str) -> Answer:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


@dataclass(frozen=True)
class Drop:
    """Take the request, do not answer; ``reset`` hangs up rudely, ``after`` waits first."""

    reset: bool = False
    after: float = 0.0


Step = Answer | Drop
Reaction = Callable[[Seen], Step]


class ScriptedServer:
    """Serves the given steps in turn, the last one for ever; a function may decide by the request instead."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self._reaction: Reaction = lambda _: Answer()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._accepting = threading.Thread(target=self._accept)

    def __enter__(self) -> ScriptedServer:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def play(self, *steps: Step) -> None:
        waiting = list(steps)
        self.react(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0])

    def react(self, reaction: Reaction) -> None:
        self._reaction = reaction

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                line, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, line: socket.socket) -> None:
        line.settimeout(0.1)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with line, contextlib.suppress(ConnectionError):
            while (seen := self._read(line)) is not None:
                with self._lock:
                    self.seen.append(seen)
                    step = self._reaction(seen)
                if not self._perform(line, step):
                    return

    def _read(self, line: socket.socket) -> Seen | None:
        received = b""
        while b"\r\n\r\n" not in received:
            if (more := self._receive(line)) == b"":
                return None
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            if (more := self._receive(line)) == b"":
                return None
            body += more
        method, target, _ = first.split(" ", 2)
        return Seen(method, target, headers, body)

    def _receive(self, line: socket.socket) -> bytes:
        while not self._stopping.is_set():
            try:
                return line.recv(65536)
            except TimeoutError:
                continue
        return b""

    def _perform(self, line: socket.socket, step: Step) -> bool:
        """Answer; return whether the line stays open."""
        if isinstance(step, Drop):
            self._stopping.wait(step.after)
            if step.reset:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        headers = dict(step.headers)
        body = step.body
        if step.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif step.framing == "length":
            headers["Content-Length"] = str(len(body) if step.claims is None else step.claims)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._send(line, f"HTTP/1.1 {step.status} Word\r\n{head}\r\n".encode("latin-1"), step.drip * step.drips_headers)
        self._send(line, body[: step.cut_after], step.drip)
        return step.framing != "close" and step.cut_after is None

    def _send(self, line: socket.socket, content: bytes, drip: float) -> None:
        if not drip:
            line.settimeout(30)
            line.sendall(content)
            line.settimeout(0.1)
            return
        for position in range(len(content)):
            if self._stopping.is_set():
                return
            line.sendall(content[position : position + 1])
            time.sleep(drip)
