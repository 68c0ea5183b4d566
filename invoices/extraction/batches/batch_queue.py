"""What is in hand with a vendor that is asked in batches: batches on their way, and groups that are to become some."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from invoices.extraction.batches.batch import Batch
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.ledger.documents import PendingDocument

MAX_RUNNING_EXTRACTIONS = (
    10  # extractions at once: 15 are allowed, and those begun in the web app count (contract sheet 02 §6)
)


class BatchQueue:
    """The batches of one run; several threads may use it.

    Once it is ``closed`` no batch is formed any more, and those in hand go on. Once it is ``parked`` none is submitted
    either; what the vendor has is still looked after: it may have been paid for.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.lock = threading.RLock()
        self.reset_batches(())

    def reset_batches(self, batches: Iterable[Batch]) -> None:
        """Begin with the batches that an earlier run left open, and nothing else."""
        self.batches = list(batches)
        self.document_groups: deque[list[PendingDocument]] = deque()
        self.max_running = MAX_RUNNING_EXTRACTIONS
        self.is_creating_batch = False
        self.creation_suspension: VendorSuspended | None = None
        self.submission_suspension: VendorSuspended | None = None

    @property
    def running_count(self) -> int:
        """How many batches the vendor has."""
        with self.lock:
            return sum(batch.is_submitted for batch in self.batches)

    @property
    def unsubmitted_pages(self) -> int:
        """The pages of batches that are not submitted yet, for which no credits are reserved."""
        with self.lock:
            return sum(batch.page_count for batch in self.batches if not batch.is_submitted)

    def add_batch(self, batch: Batch) -> None:
        """Take a batch in hand."""
        with self.lock:
            self.batches.append(batch)

    def remove_batch(self, batch: Batch) -> None:
        """Have nothing more to do with a batch."""
        with self.lock:
            self.batches = [other for other in self.batches if other is not batch]

    def add_document_groups(self, *groups: list[PendingDocument]) -> None:
        """Let each group of documents become a batch of its own."""
        with self.lock:
            self.document_groups.extend(group for group in groups if group)

    def reduce_max_running(self) -> None:
        """Run no more at once than are running, and ever fewer: the vendor has no slot for another."""
        with self.lock:
            self.max_running = max(min(self.max_running - 1, self.running_count), 1)

    def suspend_creation(self, reason_code: str, reason: str) -> None:
        """Form no more batches in this run; a person is told why."""
        with self.lock:
            self.creation_suspension = VendorSuspended(reason_code, reason, is_problem=True)

    def suspend_submission(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Begin nothing more in this run; the first reason counts."""
        with self.lock:
            if self.submission_suspension is None:
                self.submission_suspension = VendorSuspended(reason_code, reason, is_problem=is_problem)
