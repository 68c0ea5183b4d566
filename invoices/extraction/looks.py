"""When to look at which job next, planned so that looking leaves half of the plan's calls to submissions."""

from __future__ import annotations

import heapq
import itertools
import time

from invoices.extraction.budget import Budget
from invoices.ledger.extractions import Job

LOOK_AFTER = (5.0, 5.0, 10.0, 20.0, 30.0)  # seconds, the last one for ever (contract sheet 01 §3)


class Looks:
    """The jobs that are not concluded, the one that is due first at the head."""

    def __init__(self, budget: Budget) -> None:
        """Start with no job."""
        self._budget = budget
        self._heap: list[tuple[float, int, int, Job]] = []  # when due, order of planning, looks so far, the job
        self._planned = itertools.count()

    def __len__(self) -> int:
        """Return how many jobs are to be looked at."""
        return len(self._heap)

    def add(self, job: Job, looks: int = 0, *, at_once: bool = False) -> None:
        """Plan to look at a job that was looked at ``looks`` times before."""
        wished = LOOK_AFTER[min(looks, len(LOOK_AFTER) - 1)] * self._budget.scale
        delay = 0.0 if at_once else max(wished, self._budget.stretch(len(self._heap) + 1))
        heapq.heappush(self._heap, (time.monotonic() + delay, next(self._planned), looks, job))

    def wait(self) -> float:
        """Return the seconds until the first job is due; 0 if it is now."""
        return max(0.0, self._heap[0][0] - time.monotonic())

    def pop(self) -> tuple[Job, int]:
        """Take the job that is due first out of the plan; return it, and how often it was looked at."""
        _, _, looks, job = heapq.heappop(self._heap)
        return job, looks
