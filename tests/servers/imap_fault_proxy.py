"""A proxy for an IMAP server that disconnects at a chosen byte of a chosen command, goes silent, or answers itself."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.servers.scripted_imap_server import LoopbackServer

_COMMAND_PATTERN = re.compile(rb"^(?P<tag>[A-Z]{4}\d+) (?P<name>(?:UID )?[A-Z]+)\b[^\r\n]*\r\n", re.MULTILINE)
_BODY_PATTERN = re.compile(rb"BODY\[\] \{\d+\}\r\n")
CutMoment = Literal["before", "after", "within"]


@dataclass(frozen=True, slots=True)
class ConnectionCut:
    """Where a connection ends: before the server gets a command, or before the client gets the response to it.

    ``occurrence`` counts the commands with the name ``command_name``. With ``within``, it ends ``body_offset`` bytes
    into the first message of the response. Without a name, it ends before the greeting. With ``is_silent`` nothing
    more is forwarded, but the connection stays open.
    """

    command_name: str = ""
    occurrence: int = 1
    moment: CutMoment = "before"
    body_offset: int = 0
    is_silent: bool = False

    def __str__(self) -> str:
        offset = f"-{self.body_offset}" if self.body_offset else ""
        return f"{self.moment}-{self.command_name or 'greeting'}-{self.occurrence}{offset}"

    def count_allowed_bytes(self, sent: bytes, received: bytes) -> tuple[int, int]:
        """Return how many bytes of ``sent`` (by the client) and ``received`` (from the server) may be forwarded."""
        total_bytes = len(sent), len(received)
        if not self.command_name:
            return len(sent), 0
        command = self._find_command(sent)
        if command is None:
            return total_bytes
        if self.moment == "before":
            return command.start(), len(received)
        position = received.find(b"\r\n" + command["tag"] + b" ")
        if self.moment == "within":
            body = _BODY_PATTERN.search(received)
            position = body.end() + self.body_offset if body else -1
        return len(sent), total_bytes[1] if position < 0 else min(position, total_bytes[1])

    def _find_command(self, sent: bytes) -> re.Match[bytes] | None:
        matches = [match for match in _COMMAND_PATTERN.finditer(sent) if match["name"].decode() == self.command_name]
        return matches[self.occurrence - 1] if len(matches) >= self.occurrence else None


class ImapFaultProxy(LoopbackServer):
    """Forwards between clients and a server, up to the cut; ``override`` may answer a command instead of the server."""

    def __init__(
        self, port: int, cut: ConnectionCut | None = None, override: Callable[[bytes], bytes | None] | None = None
    ) -> None:
        super().__init__()
        self._port, self._cut, self._override = port, cut, override
        self._client_streams: list[bytearray] = []

    @property
    def command_names(self) -> list[str]:
        """The names of all commands, of every connection."""
        return [
            match["name"].decode()
            for stream in self._client_streams
            for match in _COMMAND_PATTERN.finditer(bytes(stream))
        ]

    @property
    def connection_count(self) -> int:
        """The number of connections."""
        return len(self._client_streams)

    def handle_connection(self, client: socket.socket) -> None:
        """Forward for one client until either side, or the cut, ends the connection."""
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            server.settimeout(0.05)
            connection = _ProxiedConnection(self, client, server, self._cut, self._override)
            self._client_streams.append(connection.sent)
            server_thread = threading.Thread(target=connection.forward_bytes, args=(server, client))
            server_thread.start()
            connection.forward_bytes(client, server)
            server_thread.join()


class _ProxiedConnection:
    """One connection between a client and the server."""

    def __init__(
        self,
        proxy: ImapFaultProxy,
        client: socket.socket,
        server: socket.socket,
        cut: ConnectionCut | None,
        override: Callable[[bytes], bytes | None] | None,
    ) -> None:
        self._proxy, self._client, self._server, self._cut, self._override = proxy, client, server, cut, override
        self.sent, self.received = bytearray(), bytearray()
        self._lock = threading.Lock()

    def forward_bytes(self, source: socket.socket, target: socket.socket) -> None:
        """Forward what ``source`` sends until the end."""
        with contextlib.suppress(OSError):
            while chunk := self._proxy.receive_bytes(source):
                allowed, is_over = self._take_allowed_bytes(source, chunk)
                override_response = self._override(allowed) if self._override and source is self._client else None
                self._send_bytes(source if override_response else target, override_response or allowed)
                if is_over:
                    if self._cut is not None and self._cut.is_silent:
                        self._proxy.stop_event.wait()
                    break
        for endpoint in (self._client, self._server):
            with contextlib.suppress(OSError):
                endpoint.shutdown(socket.SHUT_RDWR)

    def _take_allowed_bytes(self, source: socket.socket, chunk: bytes) -> tuple[bytes, bool]:
        """Return the part of ``chunk`` that may be forwarded, and whether the connection ends after it."""
        with self._lock:
            stream = self.sent if source is self._client else self.received
            length_before = len(stream)
            stream += chunk
            if self._cut is None:
                return chunk, False
            allowed_length = self._cut.count_allowed_bytes(bytes(self.sent), bytes(self.received))[
                source is self._server
            ]
            return chunk[: max(allowed_length - length_before, 0)], allowed_length < len(stream)

    def _send_bytes(self, target: socket.socket, content: bytes) -> None:
        if content:
            target.settimeout(5)
            target.sendall(content)
            target.settimeout(0.05)
