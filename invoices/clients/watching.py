"""Connections that are watched during one exchange: they know whether anything was sent, and are cut at a deadline.

``requests`` limits each read, so a server that drips one byte at a time, in the headers or in the body, holds a call
for ever. A watch cuts the socket when the exchange has taken its time. It also knows the one thing that decides what a
broken call means: whether the request left this machine.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_here = threading.local()


class Watch:
    """Guards one exchange of this thread for ``seconds``; use it in a ``with`` statement.

    ``may_speak_with`` decides by the address that the name has led to; nothing is sent to any other.
    """

    def __init__(self, seconds: float, may_speak_with: Callable[[str], bool] | None = None) -> None:
        self.was_sent = False
        self.has_expired = False
        self.refused: str | None = None
        self._may_speak_with = may_speak_with
        self._line: socket.socket | None = None
        self._lock = threading.Lock()
        self._seconds = seconds

    def __enter__(self) -> Watch:
        """Start the clock."""
        _here.watch = self
        _clock.start(self, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock."""
        _here.watch = None
        _clock.stop(self)
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None

    def sending(self, line: socket.socket) -> None:
        """Take note that bytes are about to leave through ``line``.

        Raises TimeoutError if time is already up, PermissionError where the line leads to a forbidden address.
        """
        if self._may_speak_with is not None and not self._may_speak_with(place := str(line.getpeername()[0])):
            self.refused = place
            raise PermissionError("this address must not be asked")
        with self._lock:
            if self.has_expired:
                raise TimeoutError("the time for this call is up")
            if self._line is None:
                self._line = socket.socket(fileno=os.dup(line.fileno()))  # ours: its number cannot be reused meanwhile
            self.was_sent = True

    def cut(self) -> None:
        """End the exchange, because its time is up."""
        with self._lock:
            self.has_expired = True
            if self._line is not None:
                try:
                    self._line.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # the other side has already hung up


class _Clock:
    """Cuts watches whose time is up, all in one thread: a timer for each costs a fifth of an exchange."""

    def __init__(self) -> None:
        self._due: dict[Watch, float] = {}
        self._wakes_at = math.inf
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self, watch: Watch, seconds: float) -> None:
        due = time.monotonic() + seconds
        with self._changed:
            self._due[watch] = due
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="watches", daemon=True)
                self._thread.start()
            elif due < self._wakes_at:
                self._changed.notify()

    def stop(self, watch: Watch) -> None:
        with self._changed:
            self._due.pop(watch, None)

    def _run(self) -> None:
        while True:
            for watch in self._expired():
                watch.cut()

    def _expired(self) -> list[Watch]:
        """Wait until the first deadline, or for an earlier one, and return the watches whose time is up then."""
        with self._changed:
            self._wakes_at = min(self._due.values(), default=math.inf)
            self._changed.wait(min(max(self._wakes_at - time.monotonic(), 0.0), threading.TIMEOUT_MAX))
            now = time.monotonic()
            expired = [watch for watch, due in self._due.items() if due <= now]
            for watch in expired:
                del self._due[watch]
            return expired


_clock = _Clock()
os.register_at_fork(after_in_child=_clock.__init__)  # type: ignore[misc]  # a child has neither the thread nor the calls


class WatchedAdapter(HTTPAdapter):
    """Makes watched connections, and never repeats a request."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Let the pools make watched connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Connection(HTTPConnection):
    def send(self, data: Any) -> None:
        _announce(self)
        super().send(data)


class _SecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        _announce(self)
        super().send(data)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _announce(connection: HTTPConnection) -> None:
    if connection.sock is None:
        connection.connect()
    watch: Watch | None = getattr(_here, "watch", None)
    if watch is not None and connection.sock is not None:
        watch.sending(connection.sock)
