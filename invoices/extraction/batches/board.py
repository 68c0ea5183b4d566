"""What is in hand with a vendor that is asked in batches: batches on their way, and groups that are to become some."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from invoices.extraction.batches.batch import Batch
from invoices.extraction.patience.pacing import VendorStopped
from invoices.ledger.documents import Pending

MOST_RUNNING = 10  # extractions at once: 15 are allowed, and those begun in the web app count (contract sheet 02 §6)


class Board:
    """The batches of one run; several threads may use it.

    Once it is ``closed`` no batch is formed any more, and those in hand go on. Once it is ``parked`` none is submitted
    either; what the vendor has is still looked after: it may have been paid for.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.lock = threading.RLock()
        self.begin(())

    def begin(self, batches: Iterable[Batch]) -> None:
        """Begin with the batches that an earlier run left open, and nothing else."""
        self.batches = list(batches)
        self.groups: deque[list[Pending]] = deque()
        self.slots = MOST_RUNNING
        self.is_forming = False
        self.closed: VendorStopped | None = None
        self.parked: VendorStopped | None = None

    @property
    def running(self) -> int:
        """How many batches the vendor has."""
        with self.lock:
            return sum(batch.is_submitted for batch in self.batches)

    @property
    def promised_pages(self) -> int:
        """The pages of batches that are not submitted yet, for which no credits are reserved."""
        with self.lock:
            return sum(batch.pages for batch in self.batches if not batch.is_submitted)

    def add(self, batch: Batch) -> None:
        """Take a batch in hand."""
        with self.lock:
            self.batches.append(batch)

    def drop(self, batch: Batch) -> None:
        """Have nothing more to do with a batch."""
        with self.lock:
            self.batches = [one for one in self.batches if one is not batch]

    def add_groups(self, *groups: list[Pending]) -> None:
        """Let each group of documents become a batch of its own."""
        with self.lock:
            self.groups.extend(group for group in groups if group)

    def lose_slots(self) -> None:
        """Run no more at once than are running, and ever fewer: the vendor has no slot for another."""
        with self.lock:
            self.slots = max(min(self.slots - 1, self.running), 1)

    def close(self, reason_code: str, reason: str) -> None:
        """Form no more batches in this run; a person is told why."""
        with self.lock:
            self.closed = VendorStopped(reason_code, reason, is_problem=True)

    def park(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Begin nothing more in this run; the first reason counts."""
        with self.lock:
            if self.parked is None:
                self.parked = VendorStopped(reason_code, reason, is_problem=is_problem)
