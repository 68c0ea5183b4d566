"""Unreadable responses: decides whether the vendor's API has changed, or only one job is broken."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal

MAX_UNREADABLE_RESPONSES = 5  # in a row, about several jobs or about one

DriftDecision = Literal["poll again", "defer job", "abandon job", "suspend vendor"]


class ContractDriftDetector:
    """Counts unreadable responses, per job and in a row; safe to use from several threads.

    A single job that never becomes readable must neither be polled for ever nor block the others (reliability F-36).
    After ``MAX_UNREADABLE_RESPONSES`` in a row, it is deferred to a later run, or abandoned if it is overdue or gone.
    If other jobs are unreadable as well, the vendor is suspended.
    """

    def __init__(self) -> None:
        """Start with no responses."""
        self._lock = threading.Lock()
        self.readable_responses = 0
        self._jobs_in_a_row: list[str] = []  # of the latest unreadable responses
        self._unreadable_by_job: Counter[str] = Counter()

    def record_readable_response(self, extraction_id: str | None = None) -> None:
        """Count a response that matches the contract, about a job or about none."""
        with self._lock:
            if extraction_id is not None:
                self._unreadable_by_job.pop(extraction_id, None)
            self.readable_responses += 1
            self._jobs_in_a_row.clear()

    def record_unreadable_response(
        self, extraction_id: str, *, is_overdue: bool, is_gone: bool = False
    ) -> DriftDecision:
        """Count a response that does not, and return what to do.

        Overdue jobs do not count against the vendor, so that old jobs cannot suspend it in every run.
        """
        with self._lock:
            self._unreadable_by_job[extraction_id] += 1
            if not is_overdue:
                self._jobs_in_a_row.append(extraction_id)
            if len(self._jobs_in_a_row) >= MAX_UNREADABLE_RESPONSES and len(set(self._jobs_in_a_row)) > 1:
                return "suspend vendor"
            if self._unreadable_by_job[extraction_id] < MAX_UNREADABLE_RESPONSES:
                return "poll again"
            return "abandon job" if is_overdue or is_gone else "defer job"
