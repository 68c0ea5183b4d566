"""Answers that were not understood: whether the vendor has changed, or only one job of it cannot be told about."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal

MAX_UNREADABLE_RESPONSES = 5  # odd answers in a row of the vendor, or about one job

DriftDecision = Literal["look again", "give up the job", "stop the vendor"]


class ContractDriftDetector:
    """Counts them, by job and in a row; several threads may tell.

    A single job whose answer never becomes readable must neither be looked at for ever nor keep the others from being
    answered (reliability F-36): it is given up once others are understood, or when its time is over.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self.readable_responses = 0  # that were understood
        self._consecutive_unreadable = 0
        self._unreadable_by_job: Counter[str] = Counter()

    def record_readable_response(self) -> None:
        """Take note of an answer that was understood: the vendor speaks as agreed."""
        with self._lock:
            self.readable_responses += 1
            self._consecutive_unreadable = 0

    def record_unreadable_response(self, extraction_id: str, *, is_overdue: bool) -> DriftDecision:
        """Take note of an answer that was not, and return what to do.

        A job that is overdue says nothing about the vendor any more, so that old jobs cannot stop it in every run.
        """
        with self._lock:
            self._unreadable_by_job[extraction_id] += 1
            if not is_overdue:
                self._consecutive_unreadable += 1
            if self._consecutive_unreadable >= MAX_UNREADABLE_RESPONSES:
                return "stop the vendor"
            return (
                "give up the job"
                if self._unreadable_by_job[extraction_id] >= MAX_UNREADABLE_RESPONSES
                else "look again"
            )
