"""The documents for one vendor in one run: which are not started yet, and which are not concluded yet."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from invoices.errors import PROGRAM_ERRORS, TransientError
from invoices.extraction.extraction_recorder import ClaimLost, ExtractionRecorder
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.ledger.documents import PendingDocument
from invoices.ledger.spending import CapReached


class DocumentQueue:
    """Documents in order of arrival; safe to use from several threads."""

    def __init__(self, recorder: ExtractionRecorder) -> None:
        """Create an empty queue."""
        self._recorder, self._lock = recorder, threading.Lock()
        self._not_started: deque[PendingDocument] = deque()
        self._unconcluded: dict[str, PendingDocument] = {}
        self._on_progress: Callable[[int], None] = lambda _: None
        self._has_reported_cap = False

    def set_documents(
        self,
        documents: Sequence[PendingDocument],
        on_progress: Callable[[int], None],
        already_started: Iterable[PendingDocument] = (),
    ) -> None:
        """Replace the contents of the queue.

        ``already_started`` documents only have to be concluded. ``on_progress`` receives the number of documents each
        time some are concluded.
        """
        with self._lock:
            self._not_started = deque(documents)
            self._unconcluded = {document.document_sha256: document for document in (*documents, *already_started)}
            self._on_progress = on_progress

    def take_next_document(self) -> PendingDocument | None:
        """Remove and return the next document to start, or None."""
        with self._lock:
            return self._not_started.popleft() if self._not_started else None

    def take_all_documents(self) -> list[PendingDocument]:
        """Remove and return all documents that are not started."""
        with self._lock:
            documents = list(self._not_started)
            self._not_started.clear()
            return documents

    def put_back_first(self, documents: Sequence[PendingDocument]) -> None:
        """Put documents back at the head of the queue."""
        with self._lock:
            self._not_started.extendleft(reversed(documents))

    def __len__(self) -> int:
        """Return how many documents are not started."""
        return len(self._not_started)

    def mark_concluded(self, *document_hashes: str) -> None:
        """Record that documents are answered, quarantined, deferred, or claimed by another worker."""
        with self._lock:
            count = sum(self._unconcluded.pop(document_sha256, None) is not None for document_sha256 in document_hashes)
        if count:
            self._on_progress(count)

    def start_or_defer_document(
        self, document: PendingDocument, start_document: Callable[[PendingDocument], None]
    ) -> None:
        """Run ``start_document``; handle errors that concern only this document, or a cap."""
        try:
            self.run_or_defer_document(document.document_sha256, lambda: start_document(document))
        except ClaimLost:
            self.mark_concluded(document.document_sha256)
        except TransientError as error:
            reason = f"{self._recorder.vendor} did not accept it: {error}"
            self._recorder.record_waiting_reason([document.document_sha256], "vendor_unavailable", reason)
            self._recorder.deferred.add(document.document_sha256)
            self._recorder.report.problems.append(f"document {document.document_sha256[:12]}: {reason}")
            self.mark_concluded(document.document_sha256)
        except CapReached as cap_error:
            self.defer_documents_over_cap([document], cap_error)

    def run_or_defer_document(self, document_sha256: str, action: Callable[[], None]) -> None:
        """Run an action about one document; if this program fails over it, only this document waits for a later run.

        What was submitted is in the ledger, so a later run continues with it or looks it up.
        """
        try:
            action()
        except PROGRAM_ERRORS as error:
            reason = f"this program failed over it with {type(error).__name__}; please report that"
            self._recorder.record_waiting_reason([document_sha256], "program_error", reason)
            self._recorder.deferred.add(document_sha256)
            self._recorder.report.failures.append((f"document {document_sha256[:12]}", error))
            self.mark_concluded(document_sha256)

    def defer_documents(
        self,
        documents: Sequence[PendingDocument],
        reason: str,
        reason_code: str = "vendor_unavailable",
        *,
        is_problem: bool = True,
    ) -> None:
        """Defer documents to a later run because the vendor cannot process them now; ``is_problem``: report it."""
        document_hashes = [document.document_sha256 for document in documents]
        self._recorder.record_waiting_reason(document_hashes, reason_code, reason)
        self._recorder.deferred.update(document_hashes)
        if is_problem:
            self._recorder.report.problems.append(f"{format_document_count(len(documents))} deferred: {reason}")
        self.mark_concluded(*document_hashes)

    def defer_documents_over_cap(self, documents: Sequence[PendingDocument], cap_error: CapReached) -> None:
        """Defer these documents, and all others that cannot fit under the cap either.

        Documents with fewer pages are still tried, and submitted ones are still polled.
        """
        min_pages = min(map(self._recorder.count_billable_pages, documents))
        with self._lock:
            open_job_hashes = self._recorder.filter_documents_with_open_jobs(
                pending.document_sha256 for pending in self._not_started
            )
            startable = [
                pending
                for pending in self._not_started
                if pending.document_sha256 in open_job_hashes
                or self._recorder.count_billable_pages(pending) < min_pages
            ]
            startable_hashes = {pending.document_sha256 for pending in startable}
            deferred_hashes = [
                pending.document_sha256
                for pending in (*documents, *self._not_started)
                if pending.document_sha256 not in startable_hashes
            ]
            self._not_started = deque(startable)
            if not self._has_reported_cap:
                self._recorder.report.remarks.append(str(cap_error))
                self._has_reported_cap = True
        self._recorder.record_waiting_reason(deferred_hashes, "cap_reached", f"{cap_error}.")
        self.mark_concluded(*deferred_hashes)

    def defer_all_documents(self, suspension: VendorSuspended) -> None:
        """Empty the queue, and record the suspension as the reason why its documents wait."""
        with self._lock:
            document_hashes = list(self._unconcluded)
            self._not_started.clear()
            self._unconcluded.clear()
        if suspension.is_problem:
            self._recorder.report.problems.append(suspension.reason)
        self._recorder.record_waiting_reason(document_hashes, suspension.reason_code, suspension.reason)


def format_document_count(count: int) -> str:
    """Return the count with its noun, for messages."""
    return "1 document" if count == 1 else f"{count:,} documents"
