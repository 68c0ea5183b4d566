"""The rate budget: a vendor's limits are never exceeded, whatever the calls and waits look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.extraction.budget import PATIENCE_SECONDS, Budget, Window


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fullest(calls: list[float], seconds: float) -> int:
    """Return the most calls that any stretch of this length holds; the fullest stretch begins with a call."""
    return max((sum(first <= call < first + seconds for call in calls) for first in calls), default=0)


windows = st.lists(st.builds(Window, st.integers(1, 6), st.integers(1, 40)), min_size=1, max_size=3)
pauses = st.lists(st.integers(0, 160).map(lambda eighths: eighths / 8), max_size=60)  # exact as binary floats


@given(windows, pauses)
def test_no_stretch_of_a_windows_length_ever_holds_more_than_its_calls(limits: list[Window], idle: list[float]) -> None:
    clock, calls = Clock(), []
    budget = Budget(limits, clock=clock)
    for pause in idle:
        clock.now += pause
        clock.now += budget.wait()
        assert budget.wait() == 0
        budget.spend()
        calls.append(clock.now)
    for limit in limits:
        assert fullest(calls, limit.seconds) <= limit.calls


@given(windows, pauses)
def test_a_call_waits_only_where_it_would_be_one_too_many(limits: list[Window], idle: list[float]) -> None:
    clock, calls = Clock(), []
    budget = Budget(limits, clock=clock)
    for pause in idle:
        clock.now += pause
        if budget.wait() > 0:
            assert any(fullest([*calls, clock.now], limit.seconds) > limit.calls for limit in limits)
        clock.now += budget.wait()
        budget.spend()
        calls.append(clock.now)


def test_a_full_window_frees_a_call_when_its_oldest_is_past() -> None:
    clock = Clock()
    budget = Budget([Window(2, 60)], clock=clock)
    budget.spend()
    clock.now += 10
    budget.spend()
    assert budget.wait() == 50
    clock.now += 50
    assert budget.wait() == 0
    budget.spend()
    assert budget.wait() == 10


def test_both_windows_apply_at_once() -> None:
    clock = Clock()
    budget = Budget([Window(2, 1), Window(3, 100)], clock=clock)
    for _ in range(3):
        clock.now += budget.wait()
        budget.spend()
    assert budget.wait() == 99


def test_a_vendor_that_asks_for_a_pause_gets_it_and_the_longer_of_two_counts() -> None:
    clock = Clock()
    budget = Budget([Window(10, 60)], clock=clock)
    budget.block(30)
    budget.block(5)
    assert budget.wait() == 30
    clock.now += 31
    assert budget.wait() == 0
    budget.block(-7)  # a reset that is past
    assert budget.wait() == 0


def test_a_rehearsal_shortens_the_windows_and_the_patience_alike() -> None:
    clock = Clock()
    budget = Budget([Window(1, 60)], scale=0.5, clock=clock)
    budget.spend()
    assert budget.wait() == 30
    assert budget.patience == PATIENCE_SECONDS / 2


@pytest.mark.parametrize(("jobs", "seconds"), [(0, 0), (1, 12), (10, 120)])
def test_looks_are_spread_so_that_half_of_the_tightest_window_is_left(jobs: int, seconds: float) -> None:
    assert Budget([Window(100, 60), Window(600, 3600)]).stretch(jobs) == seconds
