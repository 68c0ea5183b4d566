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

_thread_local = threading.local()


class ConnectionWatchdog:
    """Guards one exchange of this thread for ``seconds``; use it in a ``with`` statement.

    ``may_speak_with`` decides by the address that the name has led to; nothing is sent to any other.
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
        """Start the clock."""
        _thread_local.watch = self
        _deadline_thread.add_deadline(self, self._timeout_seconds)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the clock."""
        _thread_local.watch = None
        _deadline_thread.remove_deadline(self)
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def check_and_record_send(self, connection_socket: socket.socket) -> None:
        """Take note that bytes are about to leave through ``line``.

        Raises TimeoutError if time is already up, PermissionError where the line leads to a forbidden address.
        """
        if self._is_address_allowed is not None and not self._is_address_allowed(
            address := str(connection_socket.getpeername()[0])
        ):
            self.refused_address = address
            raise PermissionError("this address must not be asked")
        with self._lock:
            if self.has_expired:
                raise TimeoutError("the time for this call is up")
            if self._socket is None:
                self._socket = socket.socket(
                    fileno=os.dup(connection_socket.fileno())
                )  # ours: its number cannot be reused meanwhile
            self.was_sent = True

    def shut_down_connection(self) -> None:
        """End the exchange, because its time is up."""
        with self._lock:
            self.has_expired = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # the other side has already hung up


class _DeadlineThread:
    """Cuts watches whose time is up, all in one thread: a timer for each costs a fifth of an exchange."""

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
                self._thread = threading.Thread(target=self._run_shutdown_loop, name="watches", daemon=True)
                self._thread.start()
            elif deadline < self._next_wake_at:
                self._condition.notify()

    def remove_deadline(self, watchdog: ConnectionWatchdog) -> None:
        with self._condition:
            self._deadlines.pop(watchdog, None)

    def _run_shutdown_loop(self) -> None:
        while True:
            for watchdog in self._wait_for_expired_watchdogs():
                watchdog.shut_down_connection()

    def _wait_for_expired_watchdogs(self) -> list[ConnectionWatchdog]:
        """Wait until the first deadline, or for an earlier one, and return the watches whose time is up then."""
        with self._condition:
            self._next_wake_at = min(self._deadlines.values(), default=math.inf)
            self._condition.wait(min(max(self._next_wake_at - time.monotonic(), 0.0), threading.TIMEOUT_MAX))
            now = time.monotonic()
            expired = [watchdog for watchdog, deadline in self._deadlines.items() if deadline <= now]
            for watchdog in expired:
                del self._deadlines[watchdog]
            return expired


_deadline_thread = _DeadlineThread()
os.register_at_fork(after_in_child=_deadline_thread.__init__)  # type: ignore[misc]  # a child has neither the thread nor the calls


class WatchdogAdapter(HTTPAdapter):
    """Makes watched connections, and never repeats a request."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Let the pools make watched connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedSecurePool}


class _WatchedConnection(HTTPConnection):
    def send(self, data: Any) -> None:
        _notify_watchdog_of_send(self)
        super().send(data)


class _WatchedSecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        _notify_watchdog_of_send(self)
        super().send(data)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _WatchedSecureConnection


def _notify_watchdog_of_send(connection: HTTPConnection) -> None:
    if connection.sock is None:
        connection.connect()
    watchdog: ConnectionWatchdog | None = getattr(_thread_local, "watch", None)
    if watchdog is not None and connection.sock is not None:
        watchdog.check_and_record_send(connection.sock)
