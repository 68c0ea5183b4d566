"""The rate budget: a vendor's limits are never exceeded, whatever the calls and waits look like."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from invoices.errors import ConfigurationError
from invoices.extraction.patience.budget import PATIENCE_SECONDS, TIDY_EVERY, Budget, Window


class Clock:
    """A clock that only moves when told to, in milliseconds."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def seconds(self) -> float:
        return self.now / 1000

    def sleep(self, seconds: float) -> None:
        self.now += max(1, round(seconds * 1000))


class ClockedBucket(InMemoryBucket):
    """A bucket that goes by such a clock."""

    def __init__(self, rates: list[Rate], clock: Clock) -> None:
        super().__init__(rates)
        self._told = clock

    def now(self) -> int:
        return self._told.now


def budget(clock: Clock, *windows: Window, scale: float = 1.0) -> Budget:
    rates = [window.as_rate(scale) for window in windows]
    return Budget(windows, ClockedBucket(rates, clock), scale, clock=clock.seconds)


def take(budget: Budget, clock: Clock) -> int:
    """Take one call, waiting as told; return when, in milliseconds."""
    while (pause := budget.take()) > 0:
        clock.sleep(pause)
    return clock.now


def fullest(calls: list[int], milliseconds: int) -> int:
    """Return the most calls that any stretch of this length holds; the fullest stretch begins with a call."""
    return max((sum(first <= call <= first + milliseconds for call in calls) for first in calls), default=0)


windows = st.one_of(
    st.builds(Window, st.integers(1, 6), st.integers(1, 40)).map(lambda one: (one,)),
    st.sampled_from(
        [(Window(2, 1), Window(6, 10)), (Window(10, 60), Window(100, 3600)), (Window(1, 1), Window(3, 60))]
    ),
)
pauses = st.lists(st.integers(0, 20_000), max_size=40)


@given(windows, pauses, st.sampled_from([1.0, 0.05]))
def test_no_stretch_of_a_windows_length_ever_holds_more_than_its_calls(
    limits: tuple[Window, ...], idle: list[int], scale: float
) -> None:
    clock, calls = Clock(), []
    shared = budget(clock, *limits, scale=scale)
    for pause in idle:
        clock.now += pause
        calls.append(take(shared, clock))
    for limit in limits:
        assert fullest(calls, round(limit.seconds * scale * 1000)) <= limit.calls


@given(windows, pauses)
def test_a_call_waits_only_where_it_would_be_one_too_many(limits: tuple[Window, ...], idle: list[int]) -> None:
    clock, calls = Clock(), []
    shared = budget(clock, *limits)
    for pause in idle:
        clock.now += pause
        if shared.take() == 0:
            calls.append(clock.now)
            continue
        assert any(fullest([*calls, clock.now], one.as_rate(1.0).interval) > one.calls for one in limits)
        calls.append(take(shared, clock))


def test_a_full_window_frees_a_call_when_its_oldest_is_past_and_a_little_longer() -> None:
    clock = Clock()
    shared = budget(clock, Window(2, 60))
    assert shared.take() == 0
    clock.sleep(10)
    assert shared.take() == 0
    assert shared.take() == pytest.approx(50.9, abs=0.01)
    clock.sleep(51)
    assert shared.take() == 0
    assert shared.take() == pytest.approx(9.9, abs=0.01)


def test_both_windows_apply_at_once() -> None:
    clock = Clock()
    shared = budget(clock, Window(2, 1), Window(3, 100))
    for _ in range(3):
        take(shared, clock)
    assert 98 < shared.take() < 101


def test_what_is_refused_is_not_counted() -> None:
    clock = Clock()
    shared = budget(clock, Window(1, 60))
    assert shared.take() == 0
    assert len({shared.take() for _ in range(5)}) == 1
    clock.sleep(61)
    assert shared.take() == 0


def test_a_vendor_that_asks_for_a_pause_gets_it_and_the_longer_of_two_counts() -> None:
    clock = Clock()
    shared = budget(clock, Window(10, 60))
    shared.block(30)
    shared.block(5)
    assert shared.take() == 30
    clock.sleep(31)
    assert shared.take() == 0
    shared.block(-7)  # a reset that is past
    assert shared.take() == 0


def test_a_rehearsal_shortens_the_windows_and_the_patience_alike() -> None:
    clock = Clock()
    shared = budget(clock, Window(1, 60), scale=0.5)
    assert shared.take() == 0
    assert 30 < shared.take() < 31
    assert shared.patience == PATIENCE_SECONDS / 2


def test_a_call_is_worth_its_part_of_the_window_that_allows_the_fewest() -> None:
    assert budget(Clock(), Window(100, 60), Window(600, 3600)).call_seconds == 6
    assert budget(Clock(), Window(10, 60), scale=0.5).call_seconds == 3


def test_a_clock_that_is_set_back_costs_one_window_and_not_the_time_it_was_ahead() -> None:
    clock = Clock()
    shared = budget(clock, Window(2, 60), Window(10, 3600))
    shared.take()
    shared.take()
    clock.now -= 3_600_000
    began = clock.now
    assert 60 < shared.take() < 62
    assert take(shared, clock) - began < 62_000
    assert shared.take() == 0
    assert shared.take() > 0


def test_old_calls_are_forgotten_now_and_then() -> None:
    clock = Clock()
    limits = (Window(1, 1),)
    bucket = ClockedBucket([limits[0].as_rate(1.0)], clock)
    shared = Budget(limits, bucket, clock=clock.seconds)
    for _ in range(TIDY_EVERY):
        clock.sleep(2)
        assert shared.take() == 0
    assert bucket.count() == 1


class BrokenBucket(InMemoryBucket):
    """A bucket whose database fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__([Rate(1, 1000)])
        self._error = error

    def put(self, item: RateItem) -> bool:  # noqa: ARG002  the library's signature
        raise self._error


@pytest.mark.parametrize("error", [sqlite3.DatabaseError("torn"), psycopg.OperationalError("gone"), OSError("full")])
def test_calls_that_cannot_be_counted_are_not_made(error: Exception) -> None:
    with pytest.raises(ConfigurationError, match="cannot be counted"):
        Budget((Window(1, 1),), BrokenBucket(error)).take()
