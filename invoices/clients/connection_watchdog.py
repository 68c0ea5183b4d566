"""A watchdog for one exchange: it records whether anything was sent, and shuts the connection down at a deadline.

``requests`` limits each read, but not the whole call: a server that sends one byte at a time, in the headers or in the
body, can hold a call for ever. The watchdog shuts the socket down when the time is up. It also records whether the
request left this machine, which decides what a broken call means.
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

_thread_local = threading.local()


class ConnectionWatchdog:
    """Limits one exchange of this thread to ``timeout_seconds``; use it in a ``with`` statement.

    ``is_address_allowed`` gets the IP address that the host name resolved to; nothing is sent to a refused one.
    """

    def __init__(self, timeout_seconds: float, is_address_allowed: Callable[[str], bool] | None = None) -> None:
        self.was_sent = False
        self.has_expired = False
        self.refused_address: str | None = None
        self._is_address_allowed = is_address_allowed
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timeout_seconds = timeout_seconds

    def __enter__(self) -> ConnectionWatchdog:
        """Start the timeout."""
        _thread_local.watchdog = self
        _deadline_thread.add_deadline(self, self._timeout_seconds)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the timeout."""
        _thread_local.watchdog = None
        _deadline_thread.remove_deadline(self)
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def check_and_record_send(self, connection_socket: socket.socket) -> None:
        """Record that bytes are about to be sent through ``connection_socket``.

        Raises TimeoutError if the time is already up, PermissionError if the peer's address is not allowed.
        """
        if self._is_address_allowed is not None:
            address = str(connection_socket.getpeername()[0])
            if not self._is_address_allowed(address):
                self.refused_address = address
                raise PermissionError(f"requests to the address {address} are not allowed")
        with self._lock:
            if self.has_expired:
                raise TimeoutError("the time for this call is up")
            if self._socket is None:  # a duplicate, so that its descriptor cannot be reused while we hold it
                self._socket = socket.socket(fileno=os.dup(connection_socket.fileno()))
            self.was_sent = True

    def shut_down_connection(self) -> None:
        """End the exchange, because its time is up."""
        with self._lock:
            self.has_expired = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # the peer has already closed the connection


class _DeadlineThread:
    """Shuts down all expired connections from one thread; a timer per call would add a fifth to its duration."""

    def __init__(self) -> None:
        self._deadlines: dict[ConnectionWatchdog, float] = {}
        self._next_wake_at = math.inf
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def add_deadline(self, watchdog: ConnectionWatchdog, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        with self._condition:
            self._deadlines[watchdog] = deadline
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._shut_down_expired_connections, name="call-deadlines", daemon=True
                )
                self._thread.start()
            elif deadline < self._next_wake_at:
                self._condition.notify()

    def remove_deadline(self, watchdog: ConnectionWatchdog) -> None:
        with self._condition:
            self._deadlines.pop(watchdog, None)

    def _shut_down_expired_connections(self) -> None:
        """Wait for the next deadline, or until an earlier one is added; then shut down what has expired; repeat."""
        while True:
            with self._condition:
                self._next_wake_at = min(self._deadlines.values(), default=math.inf)
                self._condition.wait(min(max(self._next_wake_at - time.monotonic(), 0.0), threading.TIMEOUT_MAX))
                now = time.monotonic()
                expired_watchdogs = [watchdog for watchdog, deadline in self._deadlines.items() if deadline <= now]
                for watchdog in expired_watchdogs:
                    del self._deadlines[watchdog]
            for watchdog in expired_watchdogs:
                watchdog.shut_down_connection()


_deadline_thread = _DeadlineThread()
# A forked child inherits neither the thread nor the calls it watches.
os.register_at_fork(after_in_child=_deadline_thread.__init__)  # type: ignore[misc]


class WatchdogAdapter(HTTPAdapter):
    """Opens connections that report to the thread's watchdog, and never repeats a request."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools open watched connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedSecurePool}


class _WatchedConnection(HTTPConnection):
    def send(self, data: Any) -> None:
        _connect_and_check_before_send(self)
        super().send(data)


class _WatchedSecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        _connect_and_check_before_send(self)
        super().send(data)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _WatchedSecureConnection


def _connect_and_check_before_send(connection: HTTPConnection) -> None:
    if connection.sock is None:
        connection.connect()
    watchdog: ConnectionWatchdog | None = getattr(_thread_local, "watchdog", None)
    if watchdog is not None and connection.sock is not None:
        watchdog.check_and_record_send(connection.sock)
