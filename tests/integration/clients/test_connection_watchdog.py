"""Watches of exchanges: each ends its own line when its own time is up, and they all share one thread."""

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
    ours, theirs = connection
    with ConnectionWatchdog(0.01) as watch:
        watch.check_and_record_send(ours)
        assert theirs.recv(1) == b""
    assert watch.has_expired


def test_a_short_deadline_does_not_wait_for_an_earlier_long_one(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = connection
    with ConnectionWatchdog(LONG_SECONDS) as long, ConnectionWatchdog(0.01) as short:
        short.check_and_record_send(ours)
        assert theirs.recv(1) == b""
    assert short.has_expired
    assert not long.has_expired


def test_a_finished_watchdog_shuts_down_nothing(connection: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = connection
    with ConnectionWatchdog(0.05) as over:
        over.check_and_record_send(ours)
    with ConnectionWatchdog(0.1) as later:  # by the time it is cut, the other would have been
        other, end = socket.socketpair()
        with other, end:
            end.settimeout(20)
            later.check_and_record_send(other)
            assert end.recv(1) == b""
    assert not over.has_expired
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"


def test_all_watchdogs_share_one_thread() -> None:
    with ConnectionWatchdog(LONG_SECONDS):
        before = threading.active_count()
        with ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(ConnectionWatchdog(LONG_SECONDS))
            assert threading.active_count() == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12 and later warn of any such fork
def test_deadlines_work_in_a_forked_child(connection: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = connection
    with ConnectionWatchdog(LONG_SECONDS):
        child = os.fork()
        if child == 0:
            with ConnectionWatchdog(0.01) as watch:
                watch.check_and_record_send(ours)
                os._exit(0 if theirs.recv(1) == b"" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
