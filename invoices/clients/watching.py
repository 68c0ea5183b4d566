"""Connections that are watched during one exchange: they know whether anything was sent, and are cut at a deadline.

``requests`` limits each read, so a server that drips one byte at a time, in the headers or in the body, holds a call
for ever. A watch cuts the socket when the exchange has taken its time. It also knows the one thing that decides what a
broken call means: whether the request left this machine.
"""

from __future__ import annotations

import os
import socket
import threading
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
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Watch:
        """Start the clock."""
        _here.watch = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock."""
        _here.watch = None
        self._timer.cancel()
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

    def _cut(self) -> None:
        with self._lock:
            self.has_expired = True
            if self._line is not None:
                try:
                    self._line.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # the other side has already hung up


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
