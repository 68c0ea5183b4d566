"""When to look at which job: not before it is likely to be done, for a look costs a call that a submission could have.

The vendor names no interval (contract sheet 01 §3). How long it takes is learned from what the looks find: one that
comes too early makes all first looks wait longer, one in time makes them come a little sooner.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

from invoices.extraction.resilience.rate_limit import RateLimiter
from invoices.ledger.extractions import ExtractionJob

FIRST_POLL_SECONDS = (
    5.0  # seconds after the submission, or what a call is worth, while nothing is known (contract sheet 01 §3)
)
MAX_POLL_INTERVAL_SECONDS = 300.0  # seconds until a first look, and between two looks
SLOW_DOWN_FACTOR, SPEED_UP_FACTOR = 1.25, 0.995  # in balance where one look of 45 comes too early
INTERVAL_GROWTH = 1.5  # each rest between two looks at a job than the one before


class PollSchedule:
    """The jobs that are not concluded, the one that is due first at the head."""

    def __init__(self, rate_limiter: RateLimiter, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no job."""
        self._clock = clock
        self._min_interval = max(FIRST_POLL_SECONDS * rate_limiter.time_scale, rate_limiter.seconds_per_call)
        self._max_interval = MAX_POLL_INTERVAL_SECONDS * rate_limiter.time_scale
        self._expected_duration = self._min_interval  # seconds that the vendor takes
        self._submission_times: dict[str, float] = {}  # when a job was submitted, by extraction
        self._heap: list[
            tuple[float, int, int, ExtractionJob]
        ] = []  # when due, order of planning, looks so far, the job
        self._sequence = itertools.count()

    def __len__(self) -> int:
        """Return how many jobs are to be looked at."""
        return len(self._heap)

    def add_job(self, job: ExtractionJob, poll_count: int = 0, *, is_due_now: bool = False) -> None:
        """Plan to look at a job that was just submitted, or that was found unfinished ``looks`` times.

        ``at_once`` is for a job that was submitted who knows when.
        """
        now = self._clock()
        if poll_count > 0:
            self._extend_expected_duration(job, now)
        elif not is_due_now:
            self._submission_times[job.extraction_id] = now
        self._push_job(now + (0.0 if is_due_now else self._compute_poll_interval(poll_count)), poll_count, job)

    def get_seconds_until_next_poll(self) -> float:
        """Return the seconds until the first job is due, by what is known now; 0 if it is."""
        now = self._clock()
        while True:
            due_at, _, poll_count, job = self._heap[0]
            submitted_at = self._submission_times.get(job.extraction_id)
            new_due_at = due_at if poll_count > 0 or submitted_at is None else submitted_at + self._expected_duration
            if due_at > now or new_due_at <= now:
                return max(0.0, due_at - now)
            heapq.heappop(self._heap)
            self._push_job(new_due_at, poll_count, job)

    def pop_next_job(self) -> tuple[ExtractionJob, int]:
        """Take the job that is due first out of the plan; return it, and how often it was looked at."""
        _, _, poll_count, job = heapq.heappop(self._heap)
        if (
            poll_count == 0 and self._compute_job_age(job, self._clock()) < SLOW_DOWN_FACTOR * self._expected_duration
        ):  # else it says little about it
            self._expected_duration = max(self._expected_duration * SPEED_UP_FACTOR, self._min_interval)
        return job, poll_count

    def _push_job(self, due_at: float, poll_count: int, job: ExtractionJob) -> None:
        heapq.heappush(self._heap, (due_at, next(self._sequence), poll_count, job))

    def _compute_poll_interval(self, poll_count: int) -> float:
        interval = (
            self._expected_duration
            if poll_count == 0
            else self._expected_duration / 2 * INTERVAL_GROWTH ** (poll_count - 1)
        )
        return min(max(interval, self._min_interval), self._max_interval)

    def _extend_expected_duration(self, job: ExtractionJob, now: float) -> None:
        """Learn from a look that came too early, unless it was under way when another one taught the same."""
        if now - self._submission_times.get(job.extraction_id, now) >= self._expected_duration:
            self._expected_duration = min(self._expected_duration * SLOW_DOWN_FACTOR, self._max_interval)

    def _compute_job_age(self, job: ExtractionJob, now: float) -> float:
        return now - self._submission_times.get(job.extraction_id, float("-inf"))
