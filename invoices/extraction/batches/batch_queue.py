"""The open batches of a run, and groups of documents that are to become batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from invoices.extraction.batches.batch import Batch
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.ledger.documents import PendingDocument

MAX_RUNNING_EXTRACTIONS = 10  # 15 are allowed, but those started in the vendor's web app count (contract sheet 02 §6)


class BatchQueue:
    """The batches of one run; safe to use from several threads.

    After ``suspend_creation`` no new batch is created, and existing ones continue. After ``suspend_submission`` none is
    submitted either. Submitted batches are still polled, because they may be charged.
    """

    def __init__(self) -> None:
        """Create an empty queue."""
        self.lock = threading.RLock()
        self.reset_batches(())

    def reset_batches(self, batches: Iterable[Batch]) -> None:
        """Start again with the batches that an earlier run left open."""
        self.batches = list(batches)
        self.document_groups: deque[list[PendingDocument]] = deque()
        self.max_running = MAX_RUNNING_EXTRACTIONS
        self.is_creating_batch = False
        self.creation_suspension: VendorSuspended | None = None
        self.submission_suspension: VendorSuspended | None = None

    @property
    def running_count(self) -> int:
        """The number of submitted batches."""
        with self.lock:
            return sum(batch.is_submitted for batch in self.batches)

    @property
    def unsubmitted_pages(self) -> int:
        """The pages of batches that are not submitted yet; the vendor has reserved no credits for them."""
        with self.lock:
            return sum(batch.page_count for batch in self.batches if not batch.is_submitted)

    def add_batch(self, batch: Batch) -> None:
        """Add an open batch."""
        with self.lock:
            self.batches.append(batch)

    def remove_batch(self, batch: Batch) -> None:
        """Remove a batch from this run."""
        with self.lock:
            self.batches = [other for other in self.batches if other is not batch]

    def add_document_groups(self, *groups: list[PendingDocument]) -> None:
        """Queue each group of documents to become a batch of its own."""
        with self.lock:
            self.document_groups.extend(group for group in groups if group)

    def reduce_max_running(self) -> None:
        """Allow fewer running batches, at most those running now: the vendor has no free slot."""
        with self.lock:
            self.max_running = max(min(self.max_running - 1, self.running_count), 1)

    def suspend_creation(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Create no more batches in this run; the first reason counts."""
        with self.lock:
            if self.creation_suspension is None:
                self.creation_suspension = VendorSuspended(reason_code, reason, is_problem=is_problem)

    def suspend_submission(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Create and submit no more batches in this run; the first reason counts."""
        with self.lock:
            if self.submission_suspension is None:
                self.submission_suspension = VendorSuspended(reason_code, reason, is_problem=is_problem)
