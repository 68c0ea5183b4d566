"""Watches of exchanges: each ends its own line when its own time is up, and they all share one thread."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from invoices.clients.watching import Watch

LONG = 3600.0


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(20)
        yield ours, theirs


def test_a_watch_whose_time_is_up_ends_the_line(line: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = line
    with Watch(0.01) as watch:
        watch.sending(ours)
        assert theirs.recv(1) == b""
    assert watch.has_expired


def test_a_short_watch_does_not_wait_for_a_long_one_that_began_before(
    line: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = line
    with Watch(LONG) as long, Watch(0.01) as short:
        short.sending(ours)
        assert theirs.recv(1) == b""
    assert short.has_expired
    assert not long.has_expired


def test_a_watch_that_has_ended_cuts_nothing_any_more(line: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = line
    with Watch(0.05) as over:
        over.sending(ours)
    with Watch(0.1) as later:  # by the time it is cut, the other would have been
        other, end = socket.socketpair()
        with other, end:
            end.settimeout(20)
            later.sending(other)
            assert end.recv(1) == b""
    assert not over.has_expired
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"


def test_any_number_of_watches_share_one_thread() -> None:
    with Watch(LONG):
        before = threading.active_count()
        with ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(Watch(LONG))
            assert threading.active_count() == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12 and later warn of any such fork
def test_a_forked_child_has_a_clock_of_its_own(line: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = line
    with Watch(LONG):
        child = os.fork()
        if child == 0:
            with Watch(0.01) as watch:
                watch.sending(ours)
                os._exit(0 if theirs.recv(1) == b"" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
