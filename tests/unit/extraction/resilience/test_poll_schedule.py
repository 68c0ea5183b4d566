"""The poll schedule learns how long the vendor needs for a job, and wastes few calls on early polls."""

from __future__ import annotations

import datetime as dt

import pytest
from pyrate_limiter import InMemoryBucket

from invoices.extraction.resilience.poll_schedule import (
    FIRST_POLL_SECONDS,
    MAX_POLL_INTERVAL_SECONDS,
    SLOW_DOWN_FACTOR,
    PollSchedule,
)
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.ledger.extractions import ExtractionJob

PRO_WINDOW = RateWindow(100, 60)


class ManualClock:
    """A clock that only moves when a test sets it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def build_schedule(clock: ManualClock, window: RateWindow = PRO_WINDOW, scale: float = 1.0) -> PollSchedule:
    return PollSchedule(RateLimiter([window], InMemoryBucket([window.to_rate(scale)]), scale), clock)


def build_job(name: str) -> ExtractionJob:
    now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    return ExtractionJob(
        **dict.fromkeys(ExtractionJob.__slots__)
        | {"extraction_id": name, "document_sha256": name, "requested_at": now, "submitted_at": now}
    )


def list_poll_waits(
    schedule: PollSchedule, clock: ManualClock, processing_seconds: float, name: str = "a"
) -> list[float]:
    """Return the wait before each poll of a new job, until the job is done."""
    schedule.add_job(build_job(name))
    waits: list[float] = []
    while True:
        waits.append(schedule.get_seconds_until_next_poll())
        clock.now += schedule.get_seconds_until_next_poll()
        due_job, count = schedule.pop_next_job()
        if sum(waits) >= processing_seconds:
            return waits
        schedule.add_job(due_job, count + 1)


def test_a_job_is_first_polled_after_five_seconds() -> None:
    assert list_poll_waits(build_schedule(ManualClock()), ManualClock(), processing_seconds=1) == [FIRST_POLL_SECONDS]


def test_the_first_poll_waits_at_least_the_seconds_per_call() -> None:
    clock = ManualClock()
    assert list_poll_waits(build_schedule(clock, RateWindow(100, 3600)), clock, processing_seconds=1) == [36]


def test_a_rehearsal_shortens_the_first_wait() -> None:
    clock = ManualClock()
    assert list_poll_waits(build_schedule(clock, scale=0.5), clock, processing_seconds=1) == [FIRST_POLL_SECONDS / 2]


def test_a_job_with_unknown_submission_time_is_polled_at_once() -> None:
    schedule = build_schedule(ManualClock())
    schedule.add_job(build_job("a"))
    schedule.add_job(build_job("b"), is_due_now=True)
    assert schedule.get_seconds_until_next_poll() == 0
    assert schedule.pop_next_job()[0].extraction_id == "b"


def test_polls_of_a_stuck_job_become_rare() -> None:
    clock = ManualClock()
    poll_waits = list_poll_waits(build_schedule(clock), clock, processing_seconds=1_800)
    assert len(poll_waits) < 20
    assert max(poll_waits) == MAX_POLL_INTERVAL_SECONDS


@pytest.mark.parametrize("processing_seconds", [2.0, 20.0, 120.0])
def test_few_of_a_thousand_jobs_with_equal_durations_are_polled_twice(processing_seconds: float) -> None:
    clock = ManualClock()
    schedule = build_schedule(clock)
    counts = [len(list_poll_waits(schedule, clock, processing_seconds, f"{number}")) for number in range(1_000)]
    assert sum(counts) < 1.05 * len(counts)


def test_an_early_poll_delays_jobs_that_were_scheduled_before() -> None:
    clock = ManualClock()
    schedule = build_schedule(clock)
    for name in "ab":
        schedule.add_job(build_job(name))
    clock.now += schedule.get_seconds_until_next_poll()
    schedule.add_job(*_pop_and_increment(schedule))
    assert schedule.get_seconds_until_next_poll() == pytest.approx(
        FIRST_POLL_SECONDS * SLOW_DOWN_FACTOR - FIRST_POLL_SECONDS
    )


def test_concurrent_early_polls_count_once() -> None:
    clock = ManualClock()
    schedule = build_schedule(clock)
    for name in "abc":
        schedule.add_job(build_job(name))
    clock.now += schedule.get_seconds_until_next_poll()
    for due_job in [_pop_and_increment(schedule) for _ in range(2)]:
        schedule.add_job(*due_job)
    assert schedule.get_seconds_until_next_poll() == pytest.approx(
        FIRST_POLL_SECONDS * SLOW_DOWN_FACTOR - FIRST_POLL_SECONDS
    )


def _pop_and_increment(schedule: PollSchedule) -> tuple[ExtractionJob, int]:
    due_job, count = schedule.pop_next_job()
    return due_job, count + 1
