"""When jobs are looked at: the time that the vendor takes is learned from the looks, and few calls are lost on it."""

from __future__ import annotations

import datetime as dt

import pytest
from pyrate_limiter import InMemoryBucket

from invoices.extraction.patience.budget import Budget, Window
from invoices.extraction.patience.looks import FIRST_LOOK, LATER, LONGEST_REST, Looks
from invoices.ledger.extractions import Job

PRO = Window(100, 60)


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def looks(clock: Clock, window: Window = PRO, scale: float = 1.0) -> Looks:
    return Looks(Budget([window], InMemoryBucket([window.as_rate(scale)]), scale), clock)


def job(name: str) -> Job:
    now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    return Job(
        **dict.fromkeys(Job.__slots__)
        | {"extraction_id": name, "document_sha256": name, "requested_at": now, "submitted_at": now}
    )


def waits(plan: Looks, clock: Clock, takes: float, name: str = "a") -> list[float]:
    """Return how long each look at a new job waits, from the one before, until it is done."""
    plan.add(job(name))
    found: list[float] = []
    while True:
        found.append(plan.wait())
        clock.now += plan.wait()
        one, count = plan.pop()
        if sum(found) >= takes:
            return found
        plan.add(one, count + 1)


def test_a_job_is_first_looked_at_after_five_seconds() -> None:
    assert waits(looks(Clock()), Clock(), takes=1) == [FIRST_LOOK]


def test_where_a_call_is_worth_more_the_first_look_waits_as_long() -> None:
    clock = Clock()
    assert waits(looks(clock, Window(100, 3600)), clock, takes=1) == [36]


def test_a_rehearsal_shortens_every_rest() -> None:
    clock = Clock()
    assert waits(looks(clock, scale=0.5), clock, takes=1) == [FIRST_LOOK / 2]


def test_a_job_whose_time_is_not_known_is_looked_at_at_once() -> None:
    plan = looks(Clock())
    plan.add(job("a"))
    plan.add(job("b"), at_once=True)
    assert plan.wait() == 0
    assert plan.pop()[0].extraction_id == "b"


def test_looks_at_a_job_that_does_not_end_become_rare() -> None:
    clock = Clock()
    found = waits(looks(clock), clock, takes=1_800)
    assert len(found) < 20
    assert max(found) == LONGEST_REST


@pytest.mark.parametrize("takes", [2.0, 20.0, 120.0])
def test_of_a_thousand_jobs_that_take_alike_few_are_looked_at_twice(takes: float) -> None:
    clock = Clock()
    plan = looks(clock)
    counts = [len(waits(plan, clock, takes, f"{number}")) for number in range(1_000)]
    assert sum(counts) < 1.05 * len(counts)


def test_what_one_look_teaches_holds_for_jobs_that_were_planned_before_it() -> None:
    clock = Clock()
    plan = looks(clock)
    for name in "ab":
        plan.add(job(name))
    clock.now += plan.wait()
    plan.add(*_once_more(plan))
    assert plan.wait() == pytest.approx(FIRST_LOOK * LATER - FIRST_LOOK)


def test_looks_that_were_under_way_together_teach_once() -> None:
    clock = Clock()
    plan = looks(clock)
    for name in "abc":
        plan.add(job(name))
    clock.now += plan.wait()
    for found in [_once_more(plan) for _ in range(2)]:
        plan.add(*found)
    assert plan.wait() == pytest.approx(FIRST_LOOK * LATER - FIRST_LOOK)


def _once_more(plan: Looks) -> tuple[Job, int]:
    one, count = plan.pop()
    return one, count + 1
