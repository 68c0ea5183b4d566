"""When to look at which job: not before it is likely to be done, for a look costs a call that a submission could have.

The vendor names no interval (contract sheet 01 §3). How long it takes is learned from what the looks find: one that
comes too early makes all first looks wait longer, one in time makes them come a little sooner.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

from invoices.extraction.patience.budget import Budget
from invoices.ledger.extractions import Job

FIRST_LOOK = 5.0  # seconds after the submission, or what a call is worth, while nothing is known (contract sheet 01 §3)
LONGEST_REST = 300.0  # seconds until a first look, and between two looks
LATER, SOONER = 1.25, 0.995  # in balance where one look of 45 comes too early
LONGER = 1.5  # each rest between two looks at a job than the one before


class Looks:
    """The jobs that are not concluded, the one that is due first at the head."""

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no job."""
        self._clock = clock
        self._least = max(FIRST_LOOK * budget.scale, budget.call_seconds)
        self._most = LONGEST_REST * budget.scale
        self._expected = self._least  # seconds that the vendor takes
        self._since: dict[str, float] = {}  # when a job was submitted, by extraction
        self._heap: list[tuple[float, int, int, Job]] = []  # when due, order of planning, looks so far, the job
        self._planned = itertools.count()

    def __len__(self) -> int:
        """Return how many jobs are to be looked at."""
        return len(self._heap)

    def add(self, job: Job, looks: int = 0, *, at_once: bool = False) -> None:
        """Plan to look at a job that was just submitted, or that was found unfinished ``looks`` times.

        ``at_once`` is for a job that was submitted who knows when.
        """
        now = self._clock()
        if looks > 0:
            self._found_unfinished(job, now)
        elif not at_once:
            self._since[job.extraction_id] = now
        self._push(now + (0.0 if at_once else self._rest(looks)), looks, job)

    def wait(self) -> float:
        """Return the seconds until the first job is due, by what is known now; 0 if it is."""
        now = self._clock()
        while True:
            due, _, looks, job = self._heap[0]
            since = self._since.get(job.extraction_id)
            later = due if looks > 0 or since is None else since + self._expected
            if due > now or later <= now:
                return max(0.0, due - now)
            heapq.heappop(self._heap)
            self._push(later, looks, job)

    def pop(self) -> tuple[Job, int]:
        """Take the job that is due first out of the plan; return it, and how often it was looked at."""
        _, _, looks, job = heapq.heappop(self._heap)
        if looks == 0 and self._age(job, self._clock()) < LATER * self._expected:  # else it says little about it
            self._expected = max(self._expected * SOONER, self._least)
        return job, looks

    def _push(self, due: float, looks: int, job: Job) -> None:
        heapq.heappush(self._heap, (due, next(self._planned), looks, job))

    def _rest(self, looks: int) -> float:
        rest = self._expected if looks == 0 else self._expected / 2 * LONGER ** (looks - 1)
        return min(max(rest, self._least), self._most)

    def _found_unfinished(self, job: Job, now: float) -> None:
        """Learn from a look that came too early, unless it was under way when another one taught the same."""
        if now - self._since.get(job.extraction_id, now) >= self._expected:
            self._expected = min(self._expected * LATER, self._most)

    def _age(self, job: Job, now: float) -> float:
        return now - self._since.get(job.extraction_id, float("-inf"))
