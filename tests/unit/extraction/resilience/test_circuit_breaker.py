"""The circuit breaker: when it opens, which call is the probe, and when it breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.extraction.resilience.circuit_breaker import (
    CONSECUTIVE_FAILURES_TO_OPEN,
    REMEMBERED_CALLS,
    SUCCESSES_TO_RECOVER,
    BreakerState,
    CircuitBreaker,
)


def record_outcomes(breaker: CircuitBreaker, *outcomes: bool) -> list[BreakerState]:
    """Record calls one after the other; return the state after each failure."""
    states: list[BreakerState] = []
    for is_success in outcomes:
        if is_success:
            breaker.record_success(breaker.openings)
        else:
            states.append(breaker.record_failure(breaker.openings))
    return states


def build_open_breaker() -> CircuitBreaker:
    breaker = CircuitBreaker()
    assert record_outcomes(breaker, *[False] * CONSECUTIVE_FAILURES_TO_OPEN)[-1] == "open"
    return breaker


def test_five_failures_in_a_row_open_the_breaker_and_four_do_not() -> None:
    breaker = CircuitBreaker()
    assert record_outcomes(breaker, *[False] * 4, True, *[False] * 4) == ["closed"] * 8
    assert record_outcomes(CircuitBreaker(), *[False] * 5) == [*["closed"] * 4, "open"]


def test_failures_of_half_of_the_last_ten_calls_open_the_breaker() -> None:
    states = record_outcomes(CircuitBreaker(), *[True, False] * 5)
    assert states == [*["closed"] * 4, "open"]
    assert set(record_outcomes(CircuitBreaker(), *[True, True, False] * 30)) == {"closed"}


def test_a_successful_probe_closes_the_breaker_and_resets_the_counts() -> None:
    breaker = build_open_breaker()
    assert breaker.is_half_open
    record_outcomes(breaker, True)
    assert not breaker.is_half_open
    assert record_outcomes(breaker, *[False] * 4) == ["closed"] * 4


def test_a_failed_probe_breaks_the_breaker() -> None:
    assert record_outcomes(build_open_breaker(), False) == ["broken"]


def test_a_second_opening_breaks_the_breaker_unless_many_calls_succeeded_in_between() -> None:
    soon, late = build_open_breaker(), build_open_breaker()
    assert record_outcomes(soon, *[True] * (SUCCESSES_TO_RECOVER - 1), *[False] * 5)[-1] == "broken"
    assert record_outcomes(late, *[True] * SUCCESSES_TO_RECOVER, *[False] * 5)[-1] == "open"


def test_calls_that_started_before_the_opening_neither_break_nor_close_the_breaker() -> None:
    breaker = CircuitBreaker()
    openings_before = breaker.openings
    record_outcomes(breaker, *[False] * CONSECUTIVE_FAILURES_TO_OPEN)
    assert [breaker.record_failure(openings_before) for _ in range(10)] == ["closed"] * 10
    breaker.record_success(openings_before)
    assert breaker.is_half_open


@given(st.lists(st.booleans(), max_size=80))
def test_the_breaker_opens_exactly_when_too_many_calls_failed(outcomes: list[bool]) -> None:
    breaker, past_outcomes = CircuitBreaker(), []
    for is_success in outcomes:
        past_outcomes.append(is_success)
        states = record_outcomes(breaker, is_success)
        recent = past_outcomes[-REMEMBERED_CALLS:]
        is_flapping = len(recent) == REMEMBERED_CALLS and recent.count(False) >= REMEMBERED_CALLS / 2
        has_failed_in_a_row = past_outcomes[-CONSECUTIVE_FAILURES_TO_OPEN:] == [False] * CONSECUTIVE_FAILURES_TO_OPEN
        if states:
            assert (states == ["open"]) == (is_flapping or has_failed_in_a_row)
        if breaker.is_half_open:
            return


@pytest.mark.parametrize("failure_interval", [2, 3, 10])
def test_the_breaker_opens_if_every_second_call_fails_but_not_if_fewer_do(failure_interval: int) -> None:
    breaker = CircuitBreaker()
    states = [state for call in range(1000) for state in record_outcomes(breaker, call % failure_interval != 0)]
    assert ("open" in states) == (failure_interval == 2)
