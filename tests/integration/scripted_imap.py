"""An IMAP server that says exactly what a test tells it, also what no server should; and a line that fails midway."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

USUAL: Mapping[str, bytes] = {
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK done\r\n",
    "AUTHENTICATE": b"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS] welcome\r\n",
    "SELECT": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 4] ok\r\n"
    b"* OK [PERMANENTFLAGS (\\Seen \\Deleted)] ok\r\n{tag} OK [READ-WRITE] done\r\n",
    "EXAMINE": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n{tag} OK [READ-ONLY] done\r\n",
    "LOGOUT": b"* BYE bye\r\n{tag} OK done\r\n",
}


class LoopbackServer:
    """Serves each connection in a thread of its own until the end of the block."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def serve(self, line: socket.socket) -> None:
        """Speak with one client."""
        raise NotImplementedError

    def __enter__(self) -> LoopbackServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                line, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(line,)))
                self._threads[-1].start()

    def _serve(self, line: socket.socket) -> None:
        line.settimeout(0.05)
        with line, contextlib.suppress(OSError):
            self.serve(line)

    def receive(self, line: socket.socket) -> bytes:
        """Return what comes next; nothing at the end."""
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                return line.recv(65536)
        return b""


class ScriptedImap(LoopbackServer):
    """Answers by the command's name; ``drips`` are those whose answer comes a byte at a time, without an end.

    ``{tag}`` in an answer is the command's tag, ``{close}`` at its end hangs up. ``seen`` holds the lines that came,
    those of a login too.
    """

    def __init__(self, greeting: bytes = b"* OK ready\r\n", drips: str = "", **answers: bytes) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self._greeting, self._drips, self._answers = greeting, drips, {**USUAL, **answers}

    def serve(self, line: socket.socket) -> None:
        line.sendall(self._greeting)
        rest = b""
        while more := self.receive(line):
            *lines, rest = (rest + more).split(b"\r\n")
            for each in lines:
                self.seen.append(each)
                self._answer(line, each)

    def _answer(self, line: socket.socket, command: bytes) -> None:
        tag, _, words = command.partition(b" ")
        if not words:  # of a login
            tag, name = self._tag, "AUTHENTICATE"
        else:
            name = words.removeprefix(b"UID ").split(b" ")[0].decode()
            self._tag = tag
            if name == "AUTHENTICATE":
                line.sendall(b"+ \r\n")
                return
        if name == self._drips:
            while not self.stopping.wait(0.02):
                line.sendall(b"*")
        line.settimeout(5)
        answer = self._answers.get(name, b"{tag} BAD what?\r\n").replace(b"{tag}", tag)
        line.sendall(answer.removesuffix(b"{close}"))
        if answer.endswith(b"{close}"):
            line.shutdown(socket.SHUT_RDWR)
        line.settimeout(0.05)


class CuttingProxy(LoopbackServer):
    """Stands before an IMAP server, and cuts each line for which ``cuts`` says so.

    ``cuts(sent, received)`` is asked before anything is passed on: all that the client has sent on this line, and all
    that the server has, including what would be passed on now. ``goes_silent`` stops passing on instead of hanging up.
    """

    def __init__(self, port: int, cuts: Callable[[bytes, bytes], bool], *, goes_silent: bool = False) -> None:
        super().__init__()
        self._port, self._cuts, self._goes_silent = port, cuts, goes_silent

    def serve(self, line: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            server.settimeout(0.05)
            self._flows = {line: b"", server: b""}
            back = threading.Thread(target=self._pass, args=(server, line, line, server))
            back.start()
            self._pass(line, server, line, server)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while more := self.receive(source):
                self._flows[source] += more
                if self._cuts(self._flows[client], self._flows[server]):
                    if self._goes_silent:
                        self.stopping.wait()
                    break
                target.settimeout(5)
                target.sendall(more)
                target.settimeout(0.05)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
