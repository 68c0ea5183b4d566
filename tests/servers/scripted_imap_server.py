"""An IMAP server with scripted responses, also invalid ones; and a proxy that disconnects at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

DEFAULT_RESPONSES: Mapping[str, bytes] = {
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK done\r\n",
    "AUTHENTICATE": b"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS] welcome\r\n",
    "SELECT": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 4] ok\r\n"
    b"* OK [PERMANENTFLAGS (\\Seen \\Deleted)] ok\r\n{tag} OK [READ-WRITE] done\r\n",
    "EXAMINE": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n{tag} OK [READ-ONLY] done\r\n",
    "LOGOUT": b"* BYE bye\r\n{tag} OK done\r\n",
}


class LoopbackServer:
    """A server on the loopback interface that handles each connection in a thread, until the end of the block."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.stop_event = threading.Event()
        self._threads = [threading.Thread(target=self._accept_connections)]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def handle_connection(self, connection: socket.socket) -> None:
        """Serve one client."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_event.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept_connections(self) -> None:
        while not self.stop_event.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._run_connection_thread, args=(connection,)))
                self._threads[-1].start()

    def _run_connection_thread(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection, contextlib.suppress(OSError):
            self.handle_connection(connection)

    def receive_bytes(self, connection: socket.socket) -> bytes:
        """Return the next bytes; empty at the end."""
        while not self.stop_event.is_set():
            with contextlib.suppress(TimeoutError):
                return connection.recv(65536)
        return b""


class ScriptedImapServer(LoopbackServer):
    """Responds by the name of a command; the response to ``slow_command`` comes a byte at a time, without an end.

    ``{tag}`` in a response is the tag of the command, ``{close}`` at its end disconnects. ``received_lines`` are the
    lines of the clients, including those of a login.
    """

    def __init__(self, greeting: bytes = b"* OK ready\r\n", slow_command: str = "", **responses: bytes) -> None:
        super().__init__()
        self.received_lines: list[bytes] = []
        self._greeting, self._slow_command, self._responses = greeting, slow_command, {**DEFAULT_RESPONSES, **responses}

    def handle_connection(self, connection: socket.socket) -> None:
        connection.sendall(self._greeting)
        incomplete_line = b""
        while chunk := self.receive_bytes(connection):
            *lines, incomplete_line = (incomplete_line + chunk).split(b"\r\n")
            for command in lines:
                self.received_lines.append(command)
                self._send_response(connection, command)

    def _send_response(self, connection: socket.socket, command: bytes) -> None:
        tag, _, command_text = command.partition(b" ")
        if not command_text:  # the second line of AUTHENTICATE
            tag, name = self._tag, "AUTHENTICATE"
        else:
            name = command_text.removeprefix(b"UID ").split(b" ")[0].decode()
            self._tag = tag
            if name == "AUTHENTICATE":
                connection.sendall(b"+ \r\n")
                return
        if name == self._slow_command:
            while not self.stop_event.wait(0.02):
                connection.sendall(b"*")
        connection.settimeout(5)
        response = self._responses.get(name, b"{tag} BAD what?\r\n").replace(b"{tag}", tag)
        connection.sendall(response.removesuffix(b"{close}"))
        if response.endswith(b"{close}"):
            connection.shutdown(socket.SHUT_RDWR)
        connection.settimeout(0.05)


class DisconnectingProxy(LoopbackServer):
    """A proxy for an IMAP server that disconnects as soon as ``should_disconnect(sent, received)`` is true.

    The function is called before anything is forwarded, with everything that the client and the server have sent on
    this connection, including what would be forwarded next. With ``is_silent`` the proxy stops forwarding instead.
    """

    def __init__(
        self, port: int, should_disconnect: Callable[[bytes, bytes], bool], *, is_silent: bool = False
    ) -> None:
        super().__init__()
        self._port, self._should_disconnect, self._is_silent = port, should_disconnect, is_silent

    def handle_connection(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            server.settimeout(0.05)
            self._received_bytes = {client: b"", server: b""}
            server_thread = threading.Thread(target=self._forward_bytes, args=(server, client, client, server))
            server_thread.start()
            self._forward_bytes(client, server, client, server)
            server_thread.join()

    def _forward_bytes(
        self, source: socket.socket, target: socket.socket, client: socket.socket, server: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := self.receive_bytes(source):
                self._received_bytes[source] += chunk
                if self._should_disconnect(self._received_bytes[client], self._received_bytes[server]):
                    if self._is_silent:
                        self.stop_event.wait()
                    break
                target.settimeout(5)
                target.sendall(chunk)
                target.settimeout(0.05)
        for endpoint in (client, server):
            with contextlib.suppress(OSError):
                endpoint.shutdown(socket.SHUT_RDWR)
