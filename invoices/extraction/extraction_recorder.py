"""One vendor's desk: what asking writes to the ledger, whoever is asked, and where a document goes from there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
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
from invoices.model import compute_extraction_id

SUFFIX_BY_MEDIA_TYPE = {
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg",
}  # what each of the vendors takes
REASON_CANNOT_READ = "extractor_cannot_read"  # before anybody is asked: a person decides what becomes of it


class ClaimLost(Exception):
    """Another worker has taken the document over, or so much time has passed that one may have."""


@dataclass(slots=True)
class ExtractorReport:
    """What asking came to; ``problems`` are sentences for a person and make the run end with an error."""

    submissions: int = 0  # submissions that the vendor took
    pages_charged: int = 0  # charged, as far as it told
    answered: int = 0
    quarantined: int = 0
    passed_to_next: int = 0  # to the next extractor
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SubmissionIntent:
    """A committed intent; it is acted upon at once, or not at all."""

    extraction_id: str
    committed_at: float = field(default_factory=time.monotonic)

    def require_fresh_claim(self) -> None:
        """Raise NotOurs when the claim on the document may have run out since."""
        if time.monotonic() - self.committed_at > LEASE_DURATION.total_seconds() / 3:
            raise ClaimLost(self.extraction_id)


class ExtractionRecorder:
    """Writes what one vendor is asked and answers in one run, each change with where its document stands."""

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
        """Take what is needed; ``has_other`` tells whether another extractor comes after this one for a document.

        A vendor that does not count pages charges one for each document.
        """
        self.ledger, self._store, self.worker = ledger, store, worker
        self.terms, self.vendor, self._configuration, self._has_fallback = terms, vendor, configuration, has_fallback
        self._charges_per_page = charges_per_page
        self.report = ExtractorReport()
        self.deferred: set[str] = set()  # documents that the vendor did not take in this run, for no fault of theirs
        self._open_extraction_ids: dict[str, str] = {}

    def count_billable_pages(self, document: PendingDocument) -> int:
        """Return what the document may cost, in the vendor's pages."""
        return (document.page_count or 1) if self._charges_per_page else 1

    def take_report(self) -> ExtractorReport:
        """Return what asking came to, and begin to count anew."""
        report, self.report = self.report, ExtractorReport()
        return report

    @property
    def extractor(self) -> str:
        """The name under which the vendor's answers are kept."""
        return self.terms.extracted_by

    def get_extraction_id(self, document_sha256: str) -> str:
        """Return the id of this vendor's answer about a document: of its content and of what is asked.

        A question that is open keeps its id, whatever is asked for by now.
        """
        return self._open_extraction_ids.get(document_sha256) or compute_extraction_id(
            document_sha256, self.extractor, self._configuration
        )

    def remember_open_extraction_ids(self, jobs: Iterable[ExtractionJob]) -> None:
        """Take note of questions that are open under another configuration."""
        for job in jobs:
            current_id = compute_extraction_id(job.document_sha256, self.extractor, self._configuration)
            if job.is_open and job.extraction_id != current_id:
                self._open_extraction_ids[job.document_sha256] = job.extraction_id
            else:
                self._open_extraction_ids.pop(job.document_sha256, None)

    def find_latest_job(self, document_sha256: str) -> ExtractionJob | None:
        """Return the latest job about a document here, or None."""
        with self.ledger.open_snapshot() as connection:
            jobs = list_document_jobs_of_vendor(connection, document_sha256, self.extractor)
        self.remember_open_extraction_ids(jobs)
        return jobs[-1] if jobs else None

    def select_unanswered(self, document_hashes: Iterable[str]) -> set[str]:
        """Return about which of the documents an answer of this vendor is still missing."""
        with self.ledger.open_snapshot() as connection:
            jobs_by_document = list_jobs_by_document(connection, document_hashes)
        return {sha256 for sha256, jobs in jobs_by_document.items() if any(self._is_own_open_job(job) for job in jobs)}

    def read_content_or_quarantine(
        self, document: PendingDocument, max_bytes: int, *, possibly_charged_pages: int = 0
    ) -> bytes | None:
        """Return the bytes; or None after setting the document aside, because the store has none that fit.

        ``may_have_cost`` are the pages of an earlier submission whose outcome is unknown.
        """
        try:
            content = self._store.read(document.document_sha256)
        except DocumentError as error:
            reason_code, reason = error.reason_code, str(error)
        else:
            if document.media_type in SUFFIX_BY_MEDIA_TYPE and len(content) <= max_bytes:
                return content
            description = f"{document.media_type}, {len(content):,} bytes"
            reason_code = REASON_CANNOT_READ
            reason = f"{self.vendor} reads PDF, PNG and JPEG up to {max_bytes // 1024**2} MB; this is {description}."
        with self.ledger.begin_transaction() as tx:
            self.record_quarantine_in(
                tx, document.document_sha256, reason_code, reason, pages_charged=possibly_charged_pages
            )
        return None

    # Before the request

    def record_intent(self, document: PendingDocument, *, is_repeat: bool = False) -> SubmissionIntent:
        """Write, and commit, that the document is about to be submitted; from here on it may have arrived.

        Raises:
            NotOurs: another worker has the document.
            CapReached: a cap leaves no room for its pages.
        """
        with self.ledger.begin_transaction() as tx:
            self.record_intent_in(tx, document, is_repeat=is_repeat)
        return SubmissionIntent(self.get_extraction_id(document.document_sha256))

    def record_intent_in(
        self,
        tx: Transaction,
        document: PendingDocument,
        *,
        is_repeat: bool = False,
        batch_id: str | None = None,
        generation: int = 1,
    ) -> None:
        """Do the same in a transaction with others."""
        if not holds_claim(tx, self.worker, document.document_sha256):
            raise ClaimLost(document.document_sha256)
        record_intent(
            tx, self.terms, self.get_extraction_id(document.document_sha256), document.document_sha256,
            pages=self.count_billable_pages(document), run_id=self.worker, is_repeat=is_repeat, batch_id=batch_id, generation=generation,
        )  # fmt: skip

    # After it

    def record_refusal(self, extraction_id: str, message: str) -> None:
        """Write that the vendor did not take it: nothing is charged, and it may be intended again.

        After a repeat that was refused, the submission before it is as unknown as it was.
        """
        with self.ledger.begin_transaction() as tx:
            job = find_job(tx.connection, extraction_id)
            if job is not None and job.possible_double_charge:
                update_extraction(tx, extraction_id, "unknown", message=message, possible_double_charge=False)
            else:
                update_extraction(tx, extraction_id, "refused", message=message, pages_charged=0)

    def record_unknown_outcome(self, extraction_id: str, message: str) -> None:
        """Write that it may have arrived, and nobody knows."""
        with self.ledger.begin_transaction() as tx:
            update_extraction(tx, extraction_id, "unknown", message=message)

    def record_submission(self, extraction_id: str, document_sha256: str, remote_id: str, pages: int) -> None:
        """Write the vendor's id of a submission; the document waits for its answer."""
        reason = f"Submitted to {self.vendor}; not answered yet."
        with self.ledger.begin_transaction() as tx:
            if is_at_stage(
                tx.connection, document_sha256, "extract_remote"
            ):  # else another worker has concluded it meanwhile
                update_extraction(
                    tx, extraction_id, "submitted", remote_id=remote_id, submitted_at=tx.timestamp, pages_charged=pages
                )
                set_document_state(
                    tx, document_sha256, stage="extract_remote", state="waiting", reason_code="submitted", reason=reason
                )
            self.report.submissions += 1  # in the transaction, where no other thread is
            self.report.pages_charged += pages

    def record_immediate_answer(
        self, extraction_id: str, document_sha256: str, payload: dict[str, Any], remote_id: str | None, pages: int
    ) -> None:
        """Write what a submission was answered with directly, and what that cost."""
        with self.ledger.begin_transaction() as tx:
            update_values = {"remote_id": remote_id, "submitted_at": tx.timestamp, "pages_charged": pages}
            self.record_answer_in(tx, extraction_id, document_sha256, payload, **update_values)
            self.report.submissions += 1
            self.report.pages_charged += pages

    def record_answer(self, job: ExtractionJob, payload: dict[str, Any], **update_values: Any) -> None:
        """Write the answer as it came; the document waits to be judged."""
        with self.ledger.begin_transaction() as tx:
            self.record_answer_in(tx, job.extraction_id, job.document_sha256, payload, **update_values)

    def record_answer_in(
        self, tx: Transaction, extraction_id: str, document_sha256: str, payload: dict[str, Any], **update_values: Any
    ) -> None:
        """Do the same in a transaction with others."""
        if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
            return
        update_extraction(
            tx, extraction_id, "answered", payload=to_exact_json(payload), answered_at=tx.timestamp, **update_values
        )
        reason = f"Answered by {self.vendor}; not judged yet."
        set_document_state(
            tx, document_sha256, stage="validate", state="waiting", reason_code="answered", reason=reason
        )
        self.report.answered += 1

    def record_failure(self, document_sha256: str, reason_code: str, reason: str, **update_values: Any) -> None:
        """Write that there will be no answer here; the document goes to the next extractor, or is set aside."""
        with self.ledger.begin_transaction() as tx:
            self.record_failure_in(tx, document_sha256, reason_code, reason, **update_values)

    def record_failure_in(
        self, tx: Transaction, document_sha256: str, reason_code: str, reason: str, **update_values: Any
    ) -> None:
        """Do the same in a transaction with others; nothing, where another worker has concluded it meanwhile."""
        if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
            return
        if not self._has_fallback(document_sha256):
            self.record_quarantine_in(tx, document_sha256, reason_code, reason, **update_values)
            return
        self._record_failed_job(tx, document_sha256, reason, update_values)
        reason = f"{reason} Another extractor is asked."
        set_document_state(
            tx, document_sha256, stage="extract_remote", state="waiting", reason_code="next_extractor", reason=reason
        )
        self.report.passed_to_next += 1

    def record_quarantine_in(
        self, tx: Transaction, document_sha256: str, reason_code: str, reason: str, **update_values: Any
    ) -> None:
        """Set a document aside, whoever else could be asked; unless another worker has concluded it meanwhile."""
        if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
            return
        self._record_failed_job(tx, document_sha256, reason, update_values)
        state: DocumentState = "review" if reason_code == REASON_CANNOT_READ else "quarantined"
        set_document_state(tx, document_sha256, stage="done", state=state, reason_code=reason_code, reason=reason)
        self.report.quarantined += 1

    def record_quarantine_keeping_job_open(self, document_sha256: str, reason_code: str, reason: str) -> None:
        """Set a document aside whose question stays open, and tell: it may have been paid for."""
        with self.ledger.begin_transaction() as tx:
            if not is_at_stage(tx.connection, document_sha256, "extract_remote"):
                return
            self.report.problems.append(f"document {document_sha256[:12]}: {reason}")
            set_document_state(
                tx, document_sha256, stage="done", state="quarantined", reason_code=reason_code, reason=reason
            )
            self.report.quarantined += 1

    def record_waiting_reason(self, document_hashes: Iterable[str], reason_code: str, reason: str) -> None:
        """Leave documents to a later run; about those that another worker has by now, that one writes."""
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
        if job.status == "intended" and job.possible_double_charge:  # refused, but the one before may have been charged
            update_values = {**update_values, "pages_charged": job.pages_reserved, "possible_double_charge": False}
        update_extraction(tx, job.extraction_id, "failed", message=reason, answered_at=tx.timestamp, **update_values)

    def _is_own_open_job(self, job: ExtractionJob) -> bool:
        return job.extracted_by == self.extractor and job.is_open


def to_exact_json(data: dict[str, Any]) -> str:
    """Return JSON in which every fraction stands as its exact decimal text."""

    def serialise_decimal(value: object) -> str:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"not JSON: {type(value).__name__}")

    return json.dumps(data, ensure_ascii=False, default=serialise_decimal, allow_nan=False)
