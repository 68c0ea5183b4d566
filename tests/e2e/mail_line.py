"""A line to an IMAP server that breaks at a chosen byte of a chosen command, falls silent, or answers by itself."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.integration.scripted_imap import LoopbackServer

_COMMAND = re.compile(rb"^(?P<tag>[A-Z]{4}\d+) (?P<name>(?:UID )?[A-Z]+)\b[^\r\n]*\r\n", re.MULTILINE)
_BODY = re.compile(rb"BODY\[\] \{\d+\}\r\n")
Moment = Literal["before", "after", "within"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a line ends: before the server gets the ``nth`` command of a name, or before the client gets its answer.

    ``within`` is so many bytes into the first message of that answer. Without a name it is before the greeting.
    """

    name: str = ""
    nth: int = 1
    moment: Moment = "before"
    offset: int = 0
    is_silent: bool = False

    def __str__(self) -> str:
        return f"{self.moment}-{self.name or 'greeting'}-{self.nth}{f'-{self.offset}' if self.offset else ''}"

    def allowed(self, sent: bytes, received: bytes) -> tuple[int, int]:
        """Return how much may pass of all that the client and the server have sent."""
        everything = len(sent), len(received)
        if not self.name:
            return len(sent), 0
        command = self._command(sent)
        if command is None:
            return everything
        if self.moment == "before":
            return command.start(), len(received)
        place = received.find(b"\r\n" + command["tag"] + b" ")
        if self.moment == "within":
            body = _BODY.search(received)
            place = body.end() + self.offset if body else -1
        return len(sent), everything[1] if place < 0 else min(place, everything[1])

    def _command(self, sent: bytes) -> re.Match[bytes] | None:
        found = [one for one in _COMMAND.finditer(sent) if one["name"].decode() == self.name]
        return found[self.nth - 1] if len(found) >= self.nth else None


class MailLine(LoopbackServer):
    """Passes on what client and server say, up to the cut; ``instead`` may answer a command in the server's place.

    ``commands`` are the names of all that came, of every connection.
    """

    def __init__(
        self, port: int, cut: Cut | None = None, instead: Callable[[bytes], bytes | None] | None = None
    ) -> None:
        super().__init__()
        self._port, self._cut, self._instead = port, cut, instead
        self._sent: list[bytearray] = []

    @property
    def commands(self) -> list[str]:
        """What the clients asked for."""
        return [one["name"].decode() for sent in self._sent for one in _COMMAND.finditer(bytes(sent))]

    @property
    def connections(self) -> int:
        """How often somebody came."""
        return len(self._sent)

    def serve(self, line: socket.socket) -> None:
        """Speak with one client until either side, or the cut, ends it."""
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            server.settimeout(0.05)
            talk = _Talk(self, line, server, self._cut, self._instead)
            self._sent.append(talk.sent)
            back = threading.Thread(target=talk.pass_on, args=(server, line))
            back.start()
            talk.pass_on(line, server)
            back.join()


class _Talk:
    """One client and the server."""

    def __init__(
        self,
        house: MailLine,
        client: socket.socket,
        server: socket.socket,
        cut: Cut | None,
        instead: Callable[[bytes], bytes | None] | None,
    ) -> None:
        self._house, self._client, self._server, self._cut, self._instead = house, client, server, cut, instead
        self.sent, self.received = bytearray(), bytearray()
        self._lock = threading.Lock()

    def pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what a side says until the end."""
        with contextlib.suppress(OSError):
            while more := self._house.receive(source):
                said, is_over = self._said(source, more)
                answer = self._instead(said) if self._instead and source is self._client else None
                self._write(source if answer else target, answer or said)
                if is_over:
                    if self._cut is not None and self._cut.is_silent:
                        self._house.stopping.wait()
                    break
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _said(self, source: socket.socket, more: bytes) -> tuple[bytes, bool]:
        """Return what of it may pass, and whether that is the end."""
        with self._lock:
            flow = self.sent if source is self._client else self.received
            before = len(flow)
            flow += more
            if self._cut is None:
                return more, False
            allowed = self._cut.allowed(bytes(self.sent), bytes(self.received))[source is self._server]
            return more[: max(allowed - before, 0)], allowed < len(flow)

    def _write(self, target: socket.socket, content: bytes) -> None:
        if content:
            target.settimeout(5)
            target.sendall(content)
            target.settimeout(0.05)
