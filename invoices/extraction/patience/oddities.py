"""Answers that were not understood: whether the vendor has changed, or only one job of it cannot be told about."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal

MOST = 5  # odd answers in a row of the vendor, or about one job

Verdict = Literal["look again", "give up the job", "stop the vendor"]


class Oddities:
    """Counts them, by job and in a row; several threads may tell.

    A single job whose answer never becomes readable must neither be looked at for ever nor keep the others from being
    answered (reliability F-36): it is given up once others are understood, or when its time is over.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self.answers = 0  # that were understood
        self._in_a_row = 0
        self._of_job: Counter[str] = Counter()

    def understood(self) -> None:
        """Take note of an answer that was understood: the vendor speaks as agreed."""
        with self._lock:
            self.answers += 1
            self._in_a_row = 0

    def odd(self, job: str, *, is_overdue: bool) -> Verdict:
        """Take note of an answer that was not, and return what to do.

        A job that is overdue says nothing about the vendor any more, so that old jobs cannot stop it in every run.
        """
        with self._lock:
            self._of_job[job] += 1
            if not is_overdue:
                self._in_a_row += 1
            if self._in_a_row >= MOST:
                return "stop the vendor"
            return "give up the job" if self._of_job[job] >= MOST else "look again"
