"""The circuit breaker: when failures are too many, who may try, and when to give up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.extraction.patience.breaker import FAILURES_TO_OPEN, REMEMBERED, SUCCESSES_TO_TRUST, Breaker, State


def note(breaker: Breaker, *outcomes: bool) -> list[State]:
    """Tell of calls one after the other; return where the failures left the breaker."""
    states: list[State] = []
    for went_well in outcomes:
        if went_well:
            breaker.succeeded(breaker.openings)
        else:
            states.append(breaker.failed(breaker.openings))
    return states


def opened() -> Breaker:
    breaker = Breaker()
    assert note(breaker, *[False] * FAILURES_TO_OPEN)[-1] == "open"
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    breaker = Breaker()
    assert note(breaker, *[False] * 4, True, *[False] * 4) == ["closed"] * 8
    assert note(Breaker(), *[False] * 5) == [*["closed"] * 4, "open"]


def test_half_of_the_last_ten_calls_open_it_although_no_five_failed_in_a_row() -> None:
    states = note(Breaker(), *[True, False] * 5)
    assert states == [*["closed"] * 4, "open"]
    assert set(note(Breaker(), *[True, True, False] * 30)) == {"closed"}


def test_a_probe_that_goes_well_closes_it_and_what_was_before_is_forgotten() -> None:
    breaker = opened()
    assert breaker.is_half_open
    note(breaker, True)
    assert not breaker.is_half_open
    assert note(breaker, *[False] * 4) == ["closed"] * 4


def test_a_probe_that_fails_is_the_end() -> None:
    assert note(opened(), False) == ["broken"]


def test_a_second_opening_is_the_end_unless_much_went_well_in_between() -> None:
    soon, late = opened(), opened()
    assert note(soon, *[True] * (SUCCESSES_TO_TRUST - 1), *[False] * 5)[-1] == "broken"
    assert note(late, *[True] * SUCCESSES_TO_TRUST, *[False] * 5)[-1] == "open"


def test_what_was_under_way_when_it_opened_neither_breaks_nor_closes_it() -> None:
    breaker = Breaker()
    began = breaker.openings
    note(breaker, *[False] * FAILURES_TO_OPEN)
    assert [breaker.failed(began) for _ in range(10)] == ["closed"] * 10
    breaker.succeeded(began)
    assert breaker.is_half_open


@given(st.lists(st.booleans(), max_size=80))
def test_it_opens_exactly_when_too_many_failed(outcomes: list[bool]) -> None:
    breaker, so_far = Breaker(), []
    for went_well in outcomes:
        so_far.append(went_well)
        states = note(breaker, went_well)
        recent = so_far[-REMEMBERED:]
        is_flapping = len(recent) == REMEMBERED and recent.count(False) >= REMEMBERED / 2
        is_too_much = is_flapping or so_far[-FAILURES_TO_OPEN:] == [False] * FAILURES_TO_OPEN
        if states:
            assert (states == ["open"]) == is_too_much
        if breaker.is_half_open:
            return


@pytest.mark.parametrize("share", [2, 3, 10])
def test_a_vendor_that_fails_every_so_often_is_left_alone_or_not(share: int) -> None:
    breaker = Breaker()
    states = [state for call in range(1000) for state in note(breaker, call % share != 0)]
    assert ("open" in states) == (share == 2)
