"""The rate limiter never exceeds a vendor's limits, whatever the calls and pauses."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from invoices.errors import ConfigurationError
from invoices.extraction.resilience.rate_limit import CALLS_BETWEEN_CLEANUPS, MAX_WAIT_SECONDS, RateLimiter, RateWindow
from tests.unit.extraction.resilience.clock import ClockedBucket, ManualClock


def build_rate_limiter(clock: ManualClock, *windows: RateWindow, scale: float = 1.0) -> RateLimiter:
    rates = [window.to_rate(scale) for window in windows]
    return RateLimiter(windows, ClockedBucket(rates, clock), scale, clock=clock.get_seconds)


def take_call(rate_limiter: RateLimiter, clock: ManualClock) -> int:
    """Wait for a call and make it; return its time in milliseconds."""
    while (pause := rate_limiter.acquire_call_or_wait_seconds()) > 0:
        clock.sleep(pause)
    return clock.get_milliseconds()


def count_fullest_interval(calls: list[int], milliseconds: int) -> int:
    """Return the most calls within any interval of this length; the fullest interval starts with a call."""
    return max((sum(start <= call <= start + milliseconds for call in calls) for start in calls), default=0)


windows = st.one_of(
    st.builds(RateWindow, st.integers(1, 6), st.integers(1, 40)).map(lambda window: (window,)),
    st.sampled_from(
        [
            (RateWindow(2, 1), RateWindow(6, 10)),
            (RateWindow(10, 60), RateWindow(100, 3600)),
            (RateWindow(1, 1), RateWindow(3, 60)),
        ]
    ),
)
pauses = st.lists(st.integers(0, 20_000), max_size=40)


@given(windows, pauses, st.sampled_from([1.0, 0.05]))
def test_no_interval_of_a_windows_length_has_more_than_its_calls(
    rate_windows: tuple[RateWindow, ...], pauses_ms: list[int], scale: float
) -> None:
    clock, calls = ManualClock(), []
    rate_limiter = build_rate_limiter(clock, *rate_windows, scale=scale)
    for pause_ms in pauses_ms:
        clock.now += pause_ms / 1000
        calls.append(take_call(rate_limiter, clock))
    for window in rate_windows:
        assert count_fullest_interval(calls, round(window.seconds * scale * 1000)) <= window.calls


@given(windows, pauses)
def test_a_call_waits_only_if_it_would_exceed_a_window(
    rate_windows: tuple[RateWindow, ...], pauses_ms: list[int]
) -> None:
    clock, calls = ManualClock(), []
    rate_limiter = build_rate_limiter(clock, *rate_windows)
    for pause_ms in pauses_ms:
        clock.now += pause_ms / 1000
        if rate_limiter.acquire_call_or_wait_seconds() == 0:
            calls.append(clock.get_milliseconds())
            continue
        assert any(
            count_fullest_interval([*calls, clock.get_milliseconds()], window.to_rate(1.0).interval) > window.calls
            for window in rate_windows
        )
        calls.append(take_call(rate_limiter, clock))


def test_a_full_window_allows_a_call_shortly_after_its_oldest_call_has_left_it() -> None:
    clock = ManualClock()
    rate_limiter = build_rate_limiter(clock, RateWindow(2, 60))
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    clock.sleep(10)
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    assert rate_limiter.acquire_call_or_wait_seconds() == pytest.approx(50.9, abs=0.01)
    clock.sleep(51)
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    assert rate_limiter.acquire_call_or_wait_seconds() == pytest.approx(9.9, abs=0.01)


def test_both_windows_apply_at_once() -> None:
    clock = ManualClock()
    rate_limiter = build_rate_limiter(clock, RateWindow(2, 1), RateWindow(3, 100))
    for _ in range(3):
        take_call(rate_limiter, clock)
    assert 98 < rate_limiter.acquire_call_or_wait_seconds() < 101


def test_refused_calls_are_not_counted() -> None:
    clock = ManualClock()
    rate_limiter = build_rate_limiter(clock, RateWindow(1, 60))
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    assert len({rate_limiter.acquire_call_or_wait_seconds() for _ in range(5)}) == 1
    clock.sleep(61)
    assert rate_limiter.acquire_call_or_wait_seconds() == 0


def test_the_longest_requested_pause_counts() -> None:
    clock = ManualClock()
    rate_limiter = build_rate_limiter(clock, RateWindow(10, 60))
    rate_limiter.block_for_seconds(30)
    rate_limiter.block_for_seconds(5)
    assert rate_limiter.acquire_call_or_wait_seconds() == 30
    clock.sleep(31)
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    rate_limiter.block_for_seconds(-7)  # a reset that is past
    assert rate_limiter.acquire_call_or_wait_seconds() == 0


def test_a_rehearsal_shortens_the_windows_and_the_maximum_wait() -> None:
    clock = ManualClock()
    rate_limiter = build_rate_limiter(clock, RateWindow(1, 60), scale=0.5)
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    assert 30 < rate_limiter.acquire_call_or_wait_seconds() < 31
    assert rate_limiter.max_wait_seconds == MAX_WAIT_SECONDS / 2


def test_seconds_per_call_come_from_the_slowest_window() -> None:
    assert build_rate_limiter(ManualClock(), RateWindow(100, 60), RateWindow(600, 3600)).seconds_per_call == 6
    assert build_rate_limiter(ManualClock(), RateWindow(10, 60), scale=0.5).seconds_per_call == 3


def test_a_clock_that_is_set_back_costs_one_window_only() -> None:
    clock = ManualClock()
    rate_limiter = build_rate_limiter(clock, RateWindow(2, 60), RateWindow(10, 3600))
    rate_limiter.acquire_call_or_wait_seconds()
    rate_limiter.acquire_call_or_wait_seconds()
    clock.now -= 3_600
    started_at_ms = clock.get_milliseconds()
    assert 60 < rate_limiter.acquire_call_or_wait_seconds() < 62
    assert take_call(rate_limiter, clock) - started_at_ms < 62_000
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    assert rate_limiter.acquire_call_or_wait_seconds() > 0


def test_old_calls_are_removed_from_the_bucket() -> None:
    clock = ManualClock()
    rate_windows = (RateWindow(1, 1),)
    bucket = ClockedBucket([rate_windows[0].to_rate(1.0)], clock)
    rate_limiter = RateLimiter(rate_windows, bucket, clock=clock.get_seconds)
    for _ in range(CALLS_BETWEEN_CLEANUPS):
        clock.sleep(2)
        assert rate_limiter.acquire_call_or_wait_seconds() == 0
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
        RateLimiter((RateWindow(1, 1),), BrokenBucket(error)).acquire_call_or_wait_seconds()
