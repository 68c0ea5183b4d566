"""The ledger entries of remote extraction with one vendor: intents, submissions, answers, and each document's state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from invoices.documents.store import DocumentStore
from invoices.errors import DocumentError
from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import LEASE_DURATION, holds_claim
from invoices.ledger.documents import DocumentState, PendingDocument, is_at_stage, set_document_state
from invoices.ledger.extractions import (
    ExtractionJob,
    ExtractionTerms,
    find_job,
    list_document_jobs_of_vendor,
    list_jobs_by_document,
    record_intent,
    update_extraction,
)
from invoices.ledger.stage_lease_keeper import SUSPEND_AWARE_CLOCK
from invoices.model import compute_extraction_id

SUFFIX_BY_MEDIA_TYPE = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}  # all vendors accept these
REASON_CANNOT_READ = "extractor_cannot_read"  # known before submission: a person decides about the document


class ClaimLost(Exception):
    """The worker's claim on the document has expired, or may have; another worker may hold it."""


@dataclass(slots=True)
class ExtractorReport:
    """The totals of extraction with one vendor; ``problems`` are sentences that make the run end with an error."""

    submissions: int = 0  # accepted by the vendor
    pages_charged: int = 0  # as far as the vendor reports charges
    answered: int = 0
    quarantined: int = 0
    passed_to_next: int = 0  # documents that go to the next extractor
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)  # documents over which this program failed


@dataclass(frozen=True, slots=True)
class SubmissionIntent:
    """A committed intent to submit a document; the submission follows at once, or not at all."""

    extraction_id: str
    committed_at: float = field(default_factory=partial(time.clock_gettime, SUSPEND_AWARE_CLOCK))

    def require_fresh_claim(self) -> None:
        """Raise ClaimLost when the claim on the document may have expired since the commit."""
        if time.clock_gettime(SUSPEND_AWARE_CLOCK) - self.committed_at > LEASE_DURATION.total_seconds() / 3:
            raise ClaimLost(self.extraction_id)


class ExtractionRecorder:
    """Records one vendor's extractions in one run; each change is written together with the document's state."""

    def __init__(
        self,
        ledger: Ledger,
        store: DocumentStore,
        worker: str,
        terms: ExtractionTerms,
        vendor: str,
        configuration: str,
        has_fallback: Callable[[str], bool] = lambda _: False,
        *,
        charges_per_page: bool = True,
    ) -> None:
        """Keep where and under which terms to record.

        ``has_fallback`` returns whether another extractor can follow for a document hash. A vendor without
        ``charges_per_page`` charges one page for each document.
        """
        self.ledger, self._store, self.worker = ledger, store, worker
        self.terms, self.vendor, self._configuration, self._has_fallback = terms, vendor, configuration, has_fallback
        self._charges_per_page = charges_per_page
        self.report = ExtractorReport()
        self.deferred: set[str] = (
            set()
        )  # documents that the vendor could not process in this run, for reasons of its own
        self._open_extraction_ids: dict[str, str] = {}
        self._generations: dict[str, int] = {}  # of the next extraction of a document, if it is not the first

    def count_billable_pages(self, document: PendingDocument) -> int:
        """Return the number of pages that the vendor may charge for the document."""
        return (document.page_count or 1) if self._charges_per_page else 1

    def take_report(self) -> ExtractorReport:
        """Return the report, and start a new one."""
        report, self.report = self.report, ExtractorReport()
        return report

    @property
    def extractor(self) -> str:
        """The name under which the vendor's answers are stored."""
        return self.terms.extracted_by

    def get_extraction_id(self, document_sha256: str) -> str:
        """Return the extraction id of a document, derived from its content, the extractor and the configuration.

        An open job keeps its id when the configuration has changed since.
        """
        return self._open_extraction_ids.get(document_sha256) or self._compute_extraction_id(document_sha256)

    def _compute_extraction_id(self, document_sha256: str) -> str:
        generation = self._generations.get(document_sha256, 1)
        return compute_extraction_id(document_sha256, self.extractor, self._configuration, generation)

    def remember_generations(self, jobs: Iterable[ExtractionJob]) -> None:
        """Remember for which documents an extraction under the present configuration has failed and is retried.

        The retry has an id of the next generation, so that the record of the failed one and of its charge stays.
        """
        superseded_ids: dict[str, set[str]] = {}
        for job in jobs:
            if job.is_superseded and job.extracted_by == self.extractor:
                superseded_ids.setdefault(job.document_sha256, set()).add(job.extraction_id)
        for document_sha256, extraction_ids in superseded_ids.items():
            self._generations[document_sha256] = 1
            while self._compute_extraction_id(document_sha256) in extraction_ids:
                self._generations[document_sha256] += 1

    def remember_open_extraction_ids(self, jobs: Iterable[ExtractionJob]) -> None:
        """Remember the ids of jobs that are open under another configuration."""
        for job in jobs:
            current_id = self._compute_extraction_id(job.document_sha256)
            if job.is_open and job.extraction_id != current_id:
                self._open_extraction_ids[job.document_sha256] = job.extraction_id
            else:
                self._open_extraction_ids.pop(job.document_sha256, None)

    def find_latest_job(self, document_sha256: str) -> ExtractionJob | None:
        """Return this vendor's latest job for a document, or None."""
        with self.ledger.open_snapshot() as connection:
            jobs = list_document_jobs_of_vendor(connection, document_sha256, self.extractor)
        self.remember_open_extraction_ids(jobs)
        return jobs[-1] if jobs else None

    def filter_documents_with_open_jobs(self, document_hashes: Iterable[str]) -> set[str]:
        """Return the documents that have an open job with this vendor."""
        with self.ledger.open_snapshot() as connection:
            jobs_by_document = list_jobs_by_document(connection, document_hashes)
        return {
            sha256
            for sha256, jobs in jobs_by_document.items()
            if any(job.is_open and job.extracted_by == self.extractor for job in jobs)
        }

    def read_content_or_quarantine(
        self, document: PendingDocument, max_bytes: int, *, possibly_charged_pages: int = 0
    ) -> bytes | None:
        """Return the document's bytes; or None after recording that they are missing or the vendor cannot read them.

        ``possibly_charged_pages`` are the pages of an earlier submission with an unknown outcome.
        """
        try:
            content = self._store.read(document.document_sha256)
        except DocumentError as error:
            reason_code, reason = error.reason_code, str(error)
        else:
            if document.media_type in SUFFIX_BY_MEDIA_TYPE and len(content) <= max_bytes:
                return content
            reason_code = REASON_CANNOT_READ
            reason = (
                f"{self.vendor} reads PDF, PNG and JPEG up to {max_bytes // 1024**2} MB; "
                f"this document is {document.media_type} with {len(content):,} bytes."
            )
        with self.ledger.begin_transaction() as tx:
            self.record_quarantine_in(
                tx, document.document_sha256, reason_code, reason, pages_charged=possibly_charged_pages
            )
        return None

    # Before the submission

    def record_intent(self, document: PendingDocument, *, is_repeat: bool = False) -> SubmissionIntent:
        """Commit that the document is about to be submitted; from here on the vendor may have received it.

        Raises:
            ClaimLost: another worker holds the document.
            CapReached: a cap leaves no room for its pages.
        """
        extraction_id = self.get_extraction_id(document.document_sha256)
        with self.ledger.begin_transaction() as tx:
            if not holds_claim(tx, self.worker, document.document_sha256):
                raise ClaimLost(document.document_sha256)
            record_intent(
                tx, self.terms, extraction_id, document.document_sha256,
                pages=self.count_billable_pages(document), run_id=self.worker, is_repeat=is_repeat,
            )  # fmt: skip
        return SubmissionIntent(extraction_id)

    # After the submission

    def record_refusal(self, extraction_id: str, message: str) -> None:
        """Record that the vendor refused the submission: nothing is charged, and it may be submitted again.

        When a repeat is refused, the outcome of the submission before it stays unknown.
        """
        with self.ledger.begin_transaction() as tx:
            job = find_job(tx.connection, extraction_id)
            if job is not None and job.possible_double_charge:
                update_extraction(tx, extraction_id, "unknown", message=message, possible_double_charge=False)
            else:
                update_extraction(tx, extraction_id, "refused", message=message, pages_charged=0)

    def record_unknown_outcome(self, extraction_id: str, message: str) -> None:
        """Record that the vendor may have received the submission."""
        with self.ledger.begin_transaction() as tx:
            update_extraction(tx, extraction_id, "unknown", message=message)

    def record_submission(self, extraction_id: str, document_sha256: str, remote_id: str, pages: int) -> None:
        """Record the vendor's id of a submission; the document waits for its answer.

        Nothing changes for a document that another worker has concluded meanwhile; the charge is counted anyway.
        """
        reason = f"Submitted to {self.vendor}; not answered yet."
        with self.ledger.begin_transaction() as tx:
            if is_at_stage(tx.connection, document_sha256, "extract_remote"):
                update_extraction(
                    tx, extraction_id, "submitted", remote_id=remote_id, submitted_at=tx.timestamp, pages_charged=pages
                )
                set_document_state(
                    tx, document_sha256, stage="extract_remote", state="waiting", reason_code="submitted", reason=reason
                )
            self.report.submissions += 1  # inside the transaction, which excludes other threads
            self.report.pages_charged += pages

    def record_immediate_answer(
        self, extraction_id: str, document_sha256: str, payload: Any, remote_id: str | None, pages: int
    ) -> None:
        """Record a submission that was answered at once, with its charge."""
        with self.ledger.begin_transaction() as tx:
            update_values = {"remote_id": remote_id, "submitted_at": tx.timestamp, "pages_charged": pages}
            self.record_answer_in(tx, extraction_id, document_sha256, payload, **update_values)
            self.report.submissions += 1
            self.report.pages_charged += pages

    def record_answer(self, job: ExtractionJob, payload: Any, **update_values: Any) -> None:
        """Record the answer unchanged; the document waits for validation."""
        with self.ledger.begin_transaction() as tx:
            self.record_answer_in(tx, job.extraction_id, job.document_sha256, payload, **update_values)

    def record_answer_in(
        self, tx: Transaction, extraction_id: str, document_sha256: str, payload: Any, **update_values: Any
    ) -> None:
        """Do the same as ``record_answer`` inside a transaction; a text is stored as it is, anything else as JSON."""
        if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
            return
        update_extraction(
            tx, extraction_id, "answered", payload=payload if isinstance(payload, str) else to_exact_json(payload),
            answered_at=tx.timestamp, **update_values,
        )  # fmt: skip
        reason = f"Answered by {self.vendor}; not validated yet."
        set_document_state(
            tx, document_sha256, stage="validate", state="waiting", reason_code="answered", reason=reason
        )
        self.report.answered += 1

    def record_failure(self, document_sha256: str, reason_code: str, reason: str, **update_values: Any) -> None:
        """Record that this vendor has no answer; the document goes to the next extractor, or is quarantined."""
        with self.ledger.begin_transaction() as tx:
            self.record_failure_in(tx, document_sha256, reason_code, reason, **update_values)

    def record_failure_in(
        self, tx: Transaction, document_sha256: str, reason_code: str, reason: str, **update_values: Any
    ) -> None:
        """Do the same as ``record_failure`` inside a transaction; nothing if another worker has concluded it."""
        if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
            return
        if not self._has_fallback(document_sha256):
            self.record_quarantine_in(tx, document_sha256, reason_code, reason, **update_values)
            return
        self._record_failed_job(tx, document_sha256, reason, update_values)
        reason = f"{reason} The next extractor follows."
        set_document_state(
            tx, document_sha256, stage="extract_remote", state="waiting", reason_code="next_extractor", reason=reason
        )
        self.report.passed_to_next += 1

    def record_quarantine_in(
        self, tx: Transaction, document_sha256: str, reason_code: str, reason: str, **update_values: Any
    ) -> None:
        """Quarantine a document without fallback, or send it to review when the vendor cannot read its type or size.

        Nothing changes if another worker has concluded the document.
        """
        if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
            return
        self._record_failed_job(tx, document_sha256, reason, update_values)
        state: DocumentState = "review" if reason_code == REASON_CANNOT_READ else "quarantined"
        set_document_state(tx, document_sha256, stage="done", state=state, reason_code=reason_code, reason=reason)
        self.report.quarantined += 1

    def record_quarantine_keeping_job_open(self, document_sha256: str, reason_code: str, reason: str) -> None:
        """Quarantine a document but keep its job open, and report a problem: the vendor may have charged for it."""
        with self.ledger.begin_transaction() as tx:
            if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
                return
            self.report.problems.append(f"document {document_sha256[:12]}: {reason}")
            set_document_state(
                tx, document_sha256, stage="done", state="quarantined", reason_code=reason_code, reason=reason
            )
            self.report.quarantined += 1

    def record_waiting_reason(self, document_hashes: Iterable[str], reason_code: str, reason: str) -> None:
        """Record why documents wait for a later run, except those that another worker holds by now."""
        with self.ledger.begin_transaction() as tx:
            for document_sha256 in document_hashes:
                if holds_claim(tx, self.worker, document_sha256) and is_at_stage(
                    tx.connection, document_sha256, "extract_remote"
                ):
                    set_document_state(
                        tx,
                        document_sha256,
                        stage="extract_remote",
                        state="waiting",
                        reason_code=reason_code,
                        reason=reason,
                    )

    def _record_failed_job(
        self, tx: Transaction, document_sha256: str, reason: str, update_values: dict[str, Any]
    ) -> None:
        job = find_job(tx.connection, self.get_extraction_id(document_sha256))
        if job is None or job.status == "answered":
            return
        if job.status == "intended" and job.possible_double_charge:  # the submission before this one may be charged
            update_values = {**update_values, "pages_charged": job.pages_reserved, "possible_double_charge": False}
        update_extraction(tx, job.extraction_id, "failed", message=reason, answered_at=tx.timestamp, **update_values)


def to_exact_json(data: Any) -> str:
    """Return JSON with each Decimal as a string of its exact digits."""

    def serialise_decimal(value: object) -> str:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"not JSON: {type(value).__name__}")

    return json.dumps(data, ensure_ascii=False, default=serialise_decimal, allow_nan=False)
