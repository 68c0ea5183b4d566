"""Watchdogs: each shuts down its own connection at its own deadline, and all share one thread."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from invoices.clients.connection_watchdog import ConnectionWatchdog

LONG_SECONDS = 3600.0


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    our_socket, peer_socket = socket.socketpair()
    with our_socket, peer_socket:
        peer_socket.settimeout(20)
        yield our_socket, peer_socket


def test_an_expired_watchdog_shuts_down_the_connection(connection: tuple[socket.socket, socket.socket]) -> None:
    our_socket, peer_socket = connection
    with ConnectionWatchdog(0.01) as watchdog:
        watchdog.check_and_record_send(our_socket)
        assert peer_socket.recv(1) == b""
    assert watchdog.has_expired


def test_a_short_deadline_does_not_wait_for_an_earlier_long_one(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    our_socket, peer_socket = connection
    with ConnectionWatchdog(LONG_SECONDS) as long_watchdog, ConnectionWatchdog(0.01) as short_watchdog:
        short_watchdog.check_and_record_send(our_socket)
        assert peer_socket.recv(1) == b""
    assert short_watchdog.has_expired
    assert not long_watchdog.has_expired


def test_a_finished_watchdog_shuts_down_nothing(connection: tuple[socket.socket, socket.socket]) -> None:
    our_socket, peer_socket = connection
    with ConnectionWatchdog(0.05) as finished_watchdog:
        finished_watchdog.check_and_record_send(our_socket)
    with ConnectionWatchdog(0.1) as later_watchdog:  # expires after the first would have
        other_socket, other_peer_socket = socket.socketpair()
        with other_socket, other_peer_socket:
            other_peer_socket.settimeout(20)
            later_watchdog.check_and_record_send(other_socket)
            assert other_peer_socket.recv(1) == b""
    assert not finished_watchdog.has_expired
    our_socket.sendall(b"x")
    assert peer_socket.recv(1) == b"x"


def test_all_watchdogs_share_one_thread() -> None:
    with ConnectionWatchdog(LONG_SECONDS):
        thread_count = threading.active_count()
        with ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(ConnectionWatchdog(LONG_SECONDS))
            assert threading.active_count() == thread_count


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12 and later warn about it
def test_deadlines_work_in_a_forked_child(connection: tuple[socket.socket, socket.socket]) -> None:
    our_socket, peer_socket = connection
    with ConnectionWatchdog(LONG_SECONDS):
        child = os.fork()
        if child == 0:
            with ConnectionWatchdog(0.01) as watchdog:
                watchdog.check_and_record_send(our_socket)
                os._exit(0 if peer_socket.recv(1) == b"" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
