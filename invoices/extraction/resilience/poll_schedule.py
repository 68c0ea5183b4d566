"""When to poll which job: not before it is likely to be done, because a poll uses up a call of the rate limit.

The vendor names no interval (contract sheet 01 §3). The expected duration is learned from the polls: a first poll that
comes too early delays all first polls, a first poll in time makes them a little earlier.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

from invoices.extraction.resilience.rate_limit import RateLimiter
from invoices.ledger.extractions import ExtractionJob

FIRST_POLL_SECONDS = 5.0  # after the submission, or the seconds per call if longer (contract sheet 01 §3)
MAX_POLL_INTERVAL_SECONDS = 300.0  # until the first poll, and between two polls
SLOW_DOWN_FACTOR, SPEED_UP_FACTOR = 1.25, 0.995  # in balance when one poll of 45 comes too early
INTERVAL_GROWTH = 1.5  # from one interval between two polls of a job to the next


class PollSchedule:
    """The open jobs, ordered by the time of their next poll."""

    def __init__(self, rate_limiter: RateLimiter, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty schedule for the given rate limit."""
        self._clock = clock
        self._min_interval = max(FIRST_POLL_SECONDS * rate_limiter.time_scale, rate_limiter.seconds_per_call)
        self._max_interval = MAX_POLL_INTERVAL_SECONDS * rate_limiter.time_scale
        self._expected_duration = self._min_interval  # seconds that the vendor needs for a job
        self._submission_times: dict[str, float] = {}  # by extraction id; unknown for jobs of earlier runs
        self._heap: list[tuple[float, int, int, ExtractionJob]] = []  # due time, sequence number, polls so far, job
        self._sequence = itertools.count()

    def __len__(self) -> int:
        """Return the number of jobs to poll."""
        return len(self._heap)

    def add_job(self, job: ExtractionJob, poll_count: int = 0, *, is_due_now: bool = False) -> None:
        """Schedule the next poll of a job that was just submitted, or found unfinished by ``poll_count`` polls.

        ``is_due_now`` is for a job whose submission time is unknown.
        """
        now = self._clock()
        if poll_count > 0:
            # A poll only teaches something if the expected duration was not extended while it was under way.
            if now - self._submission_times.get(job.extraction_id, now) >= self._expected_duration:
                self._expected_duration = min(self._expected_duration * SLOW_DOWN_FACTOR, self._max_interval)
        elif not is_due_now:
            self._submission_times[job.extraction_id] = now
        self._push_job(now + (0.0 if is_due_now else self._compute_poll_interval(poll_count)), poll_count, job)

    def get_seconds_until_next_poll(self) -> float:
        """Return the seconds until the next poll by the current expected duration; 0 if it is due."""
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
        """Remove the job with the earliest poll; return it, and the number of polls so far."""
        _, _, poll_count, job = heapq.heappop(self._heap)
        job_age = self._clock() - self._submission_times.get(job.extraction_id, float("-inf"))
        # A first poll that comes late says little about the duration.
        if poll_count == 0 and job_age < SLOW_DOWN_FACTOR * self._expected_duration:
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
