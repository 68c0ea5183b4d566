"""Lost extractions: submissions that may have been charged and whose answer no run fetches any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, or_, select

from invoices.ledger.claims import list_claim_holders_of
from invoices.ledger.documents import PendingDocument, set_document_state
from invoices.ledger.extraction_batch_documents import list_open_document_hashes
from invoices.ledger.extraction_batches import update_extraction_batch
from invoices.ledger.extractions import OPEN_STATUSES, ExtractionJob, find_job, update_extraction
from invoices.ledger.ledger import Transaction
from invoices.ledger.spending import adjust_spending, format_utc_day
from invoices.ledger.tables import documents, extractions

LOST_REASON_CODES = ("extraction_lost", "extraction_stuck", "extraction_cancelled", "outcome_unknown")
WITHOUT_EXTRACTOR = "no_extractor"  # a document whose answer waits for a vendor that cannot be called any more


@dataclass(frozen=True, slots=True)
class LostExtraction:
    """A submission without an answer, its document, and why the document has the state that it has."""

    job: ExtractionJob
    document: PendingDocument
    reason_code: str
    reason: str


class ExtractionChanged(Exception):
    """The extraction has another state than when it was listed, or a worker has claimed its document."""


def list_lost_extractions(connection: Connection) -> list[LostExtraction]:
    """Return the submissions that may have been charged and are without an answer, the earliest first."""
    is_open = extractions.c.status.in_(OPEN_STATUSES)
    is_charged_failure = and_(
        extractions.c.status == "failed",
        extractions.c.pages_charged > 0,
        documents.c.reason_code.in_(LOST_REASON_CODES),
    )
    job_columns = [extractions.c[name].label(f"job_{name}") for name in ExtractionJob.__slots__]
    document_columns = [documents.c[name].label(f"document_{name}") for name in PendingDocument.__slots__]
    rows = connection.execute(
        select(*job_columns, *document_columns, documents.c.reason_code, documents.c.reason)
        .join_from(extractions, documents, extractions.c.document_sha256 == documents.c.document_sha256)
        .where(
            or_(
                and_(documents.c.state == "quarantined", or_(is_open, is_charged_failure)),
                and_(documents.c.reason_code == WITHOUT_EXTRACTOR, is_open),
            )
        )
        .order_by(extractions.c.requested_at, extractions.c.extraction_id)
    )
    lost_extractions = []
    for row in rows:
        values = row._mapping
        job = ExtractionJob(*(values[f"job_{name}"] for name in ExtractionJob.__slots__))
        document = PendingDocument(*(values[f"document_{name}"] for name in PendingDocument.__slots__))
        if not job.is_open or job.may_have_arrived:
            lost_extractions.append(LostExtraction(job, document, row.reason_code, row.reason))
    return lost_extractions


def record_adopted_answer(
    tx: Transaction, lost_extraction: LostExtraction, payload: str, remote_id: str | None, pages_charged: int
) -> None:
    """Record the answer; the document waits for validation. Nothing is charged for it again.

    Raises ExtractionChanged.
    """
    job = _require_unchanged(tx, lost_extraction)
    update_extraction(
        tx, job.extraction_id, "answered", payload=payload, answered_at=tx.timestamp,
        remote_id=remote_id, submitted_at=job.submitted_at or job.requested_at, pages_charged=pages_charged,
    )  # fmt: skip
    reason = f"A person adopted the answer of {job.extracted_by}; not validated yet."
    set_document_state(
        tx, job.document_sha256, stage="validate", state="waiting", reason_code="answered", reason=reason
    )
    _conclude_batch_without_open_documents(tx, job)


def release_lost_extraction(tx: Transaction, lost_extraction: LostExtraction) -> None:
    """Let the next run submit the document once more; it is flagged, and the pages of earlier submissions stay counted.

    Raises ExtractionChanged.
    """
    job = _require_unchanged(tx, lost_extraction)
    message = f"Released by a person; the submission before (job {job.remote_id!r}) may have been charged."
    update_extraction(
        tx, job.extraction_id, "refused", message=message, remote_id=None, batch_id=None, pages_charged=0,
        possible_double_charge=True,
    )  # fmt: skip
    # With the flag, the next submission counts twice: once for itself, and once for one before.
    earlier_pages = max(job.pages_counted - job.pages_reserved, 0)
    adjust_spending(tx, job.extracted_by, earlier_pages, job.counted_on or format_utc_day(job.requested_at), job.run_id)
    reason = f"A person released it to be submitted once more; {job.extracted_by} may have charged it before."
    set_document_state(
        tx, job.document_sha256, stage="extract_remote", state="waiting", reason_code="released", reason=reason
    )
    _conclude_batch_without_open_documents(tx, job)


def abandon_lost_extraction(tx: Transaction, lost_extraction: LostExtraction) -> None:
    """Give up the answer for good; the pages that may have been charged count as charged.

    Raises ExtractionChanged.
    """
    job = _require_unchanged(tx, lost_extraction)
    message = f"Abandoned by a person: {lost_extraction.reason}"
    pages_charged = job.pages_reserved if job.is_open else job.pages_charged
    update_extraction(
        tx, job.extraction_id, "failed", message=message, answered_at=tx.timestamp, pages_charged=pages_charged
    )
    reason = f"A person abandoned its extraction with {job.extracted_by}, which may have been charged."
    set_document_state(
        tx, job.document_sha256, stage="done", state="quarantined", reason_code="extraction_abandoned", reason=reason
    )
    _conclude_batch_without_open_documents(tx, job)


def _require_unchanged(tx: Transaction, lost_extraction: LostExtraction) -> ExtractionJob:
    job = lost_extraction.job
    holders: Sequence[str] = list_claim_holders_of(tx.connection, job.document_sha256, tx.timestamp)
    if holders:
        raise ExtractionChanged(f"worker {holders[0]!r} has claimed the document; try again when it has ended")
    if find_job(tx.connection, job.extraction_id) != job:
        raise ExtractionChanged("a run has changed it meanwhile; see: invoices extraction list")
    return job


def _conclude_batch_without_open_documents(tx: Transaction, job: ExtractionJob) -> None:
    if job.batch_id is not None and not list_open_document_hashes(tx.connection, job.batch_id):
        update_extraction_batch(tx, job.batch_id, "concluded")
