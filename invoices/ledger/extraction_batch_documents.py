"""The documents of an extraction batch: intents, submissions and answers of many documents in one statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, insert, select, text, update

from invoices.ledger.documents import PendingDocument, iter_chunks
from invoices.ledger.extraction_batches import update_extraction_batch
from invoices.ledger.extractions import (
    ExtractionJob,
    ExtractionTerms,
    list_batch_jobs,
    record_intent,
    update_extraction,
)
from invoices.ledger.ledger import Transaction
from invoices.ledger.spending import adjust_spending, format_utc_day, reserve_pages
from invoices.ledger.tables import claims, documents, extractions

# as text, so that SQLite uses the partial index with this condition
OPEN_EXTRACTION_CONDITION = "status in ('intended', 'unknown', 'submitted')"


def list_open_document_hashes(connection: Connection, batch_id: str) -> set[str]:
    """Return the hashes of the documents of a batch that have no recorded answer."""
    query = select(extractions.c.document_sha256).where(
        extractions.c.batch_id == batch_id, text(OPEN_EXTRACTION_CONDITION)
    )
    return set(connection.scalars(query))


def list_documents_by_hash(connection: Connection, document_hashes: Iterable[str]) -> list[PendingDocument]:
    """Return the documents with these hashes, at any stage, in order of arrival."""
    matching_documents: list[PendingDocument] = []
    for chunk in iter_chunks(document_hashes):
        columns = (documents.c[name] for name in PendingDocument.__slots__)
        rows = connection.execute(select(*columns).where(documents.c.document_sha256.in_(chunk)))
        matching_documents += [PendingDocument(*row) for row in rows]
    return sorted(matching_documents, key=lambda document: document.sequence)


def mark_documents_submitted(
    tx: Transaction, batch_id: str, document_hashes: Sequence[str], remote_id: str, reason: str
) -> None:
    """Record that these documents of a batch were submitted; their pages count since the intent.

    Documents whose answer another worker has recorded in the meantime stay as they are.
    """
    extraction_values = {
        "status": "submitted",
        "remote_id": remote_id,
        "submitted_at": tx.timestamp,
        "revision": tx.revision,
    }
    document_values = {"stage": "extract_remote", "state": "waiting", "reason_code": "submitted", "reason": reason}
    for chunk in iter_chunks(sorted(list_open_document_hashes(tx.connection, batch_id).intersection(document_hashes))):
        condition = extractions.c.document_sha256.in_(chunk) & (extractions.c.batch_id == batch_id)
        tx.connection.execute(update(extractions).where(condition).values(**extraction_values))
        tx.connection.execute(
            update(documents)
            .where(documents.c.document_sha256.in_(chunk))
            .values(**document_values, changed_at=tx.timestamp, revision=tx.revision)
        )


def mark_batch_sent(tx: Transaction, batch_id: str, *, is_sent: bool) -> None:
    """Record that a batch may have reached the vendor (``is_sent``), or that it certainly has not."""
    old_status, new_status = ("intended", "unknown") if is_sent else ("unknown", "intended")
    condition = (extractions.c.batch_id == batch_id) & (extractions.c.status == old_status)
    tx.connection.execute(update(extractions).where(condition).values(status=new_status, revision=tx.revision))


def release_unsent_extractions(tx: Transaction, batch_id: str, message: str) -> None:
    """Release the documents of a batch that certainly did not arrive to other extractors; nothing was charged."""
    for job in list_batch_jobs(tx.connection, batch_id):
        if job.is_open and not job.may_have_arrived:
            update_extraction(tx, job.extraction_id, "refused", message=message, batch_id=None)
    if not list_open_document_hashes(tx.connection, batch_id):
        update_extraction_batch(tx, batch_id, "concluded", message=message)


@dataclass(frozen=True, slots=True)
class PlannedExtraction:
    """A document that is about to be submitted, and the pages that may be charged for it."""

    extraction_id: str
    document_sha256: str
    pages: int


@dataclass(frozen=True, slots=True)
class CompletedExtraction:
    """An answer as it is stored, and the pages charged for it."""

    extraction_id: str
    document_sha256: str
    payload: str
    pages_charged: int


def filter_claimed_hashes(tx: Transaction, holder: str, document_hashes: Iterable[str]) -> set[str]:
    """Return those of the documents on which ``holder`` still has a valid claim."""
    claimed_hashes: set[str] = set()
    for chunk in iter_chunks(document_hashes):
        condition = (
            claims.c.document_sha256.in_(chunk) & (claims.c.holder == holder) & (claims.c.expires_at > tx.timestamp)
        )
        claimed_hashes.update(tx.connection.scalars(select(claims.c.document_sha256).where(condition)))
    return claimed_hashes


def record_intents(
    tx: Transaction,
    terms: ExtractionTerms,
    planned: Sequence[PlannedExtraction],
    *,
    run_id: str,
    batch_id: str,
    generation: int,
) -> None:
    """Record the same as ``record_intent`` does for each document.

    Raises:
        CapReached: a cap leaves too few pages; roll the transaction back.
    """
    known_jobs = _list_jobs_by_extraction_id(tx.connection, [extraction.extraction_id for extraction in planned])
    new_extractions = []
    for extraction in planned:
        if extraction.extraction_id in known_jobs:
            record_intent(
                tx, terms, extraction.extraction_id, extraction.document_sha256, pages=extraction.pages,
                run_id=run_id, batch_id=batch_id, generation=generation,
            )  # fmt: skip
        else:
            new_extractions.append(extraction)
    if not new_extractions:
        return
    reserve_pages(tx, terms.extracted_by, sum(extraction.pages for extraction in new_extractions), terms.caps, run_id)
    page_price = None if terms.page_price is None else format(terms.page_price, "f")
    shared_values = {
        "extracted_by": terms.extracted_by, "status": "intended", "generation": generation, "batch_id": batch_id,
        "run_id": run_id, "counted_on": format_utc_day(tx.timestamp), "pages_charged": 0,
        "possible_double_charge": False, "page_price_amount": page_price,
        "page_price_currency": terms.page_price_currency if page_price else None,
        "revision": tx.revision, "requested_at": tx.timestamp,
    }  # fmt: skip
    rows = [
        {
            **shared_values,
            "extraction_id": extraction.extraction_id,
            "document_sha256": extraction.document_sha256,
            "pages_reserved": extraction.pages,
        }
        for extraction in new_extractions
    ]
    tx.connection.execute(insert(extractions), rows)


def record_answers_and_charges(tx: Transaction, completed: Sequence[CompletedExtraction], reason: str) -> None:
    """Record answers and charged pages; the documents wait for validation, with this ``reason``."""
    if not completed:
        return
    previous_jobs = _list_jobs_by_extraction_id(tx.connection, [extraction.extraction_id for extraction in completed])
    statement = update(extractions).where(extractions.c.extraction_id == bindparam("row_extraction_id"))
    answer_values = {
        "status": "answered",
        "payload": bindparam("row_payload"),
        "pages_charged": bindparam("row_pages"),
        "answered_at": tx.timestamp,
        "revision": tx.revision,
    }
    rows = [
        {
            "row_extraction_id": extraction.extraction_id,
            "row_payload": extraction.payload,
            "row_pages": extraction.pages_charged,
        }
        for extraction in completed
    ]
    tx.connection.execute(statement.values(answer_values), rows)
    _replace_reserved_with_charged_pages(
        tx, [(previous_jobs[extraction.extraction_id], extraction.pages_charged) for extraction in completed]
    )
    document_values = {"stage": "validate", "state": "waiting", "reason_code": "answered", "reason": reason}
    for chunk in iter_chunks(extraction.document_sha256 for extraction in completed):
        document_update = update(documents).where(documents.c.document_sha256.in_(chunk))
        tx.connection.execute(document_update.values(**document_values, changed_at=tx.timestamp, revision=tx.revision))


def _replace_reserved_with_charged_pages(tx: Transaction, charged_jobs: Iterable[tuple[ExtractionJob, int]]) -> None:
    """Count the charged pages in place of the reserved ones."""
    differences: Counter[tuple[str, str, str | None]] = Counter()
    for job, pages in charged_jobs:
        charged_job = replace(job, status="answered", pages_charged=pages)
        spending_key = (job.extracted_by, job.counted_on or format_utc_day(job.requested_at), job.run_id)
        differences[spending_key] += charged_job.pages_counted - job.pages_counted
    for (extractor, day, run_id), difference in differences.items():
        adjust_spending(tx, extractor, difference, day, run_id)


def _list_jobs_by_extraction_id(connection: Connection, extraction_ids: Iterable[str]) -> dict[str, ExtractionJob]:
    jobs: dict[str, ExtractionJob] = {}
    for chunk in iter_chunks(extraction_ids):
        columns = (extractions.c[name] for name in ExtractionJob.__slots__)
        rows = connection.execute(select(*columns).where(extractions.c.extraction_id.in_(chunk)))
        jobs |= {row.extraction_id: ExtractionJob(*row) for row in rows}
    return jobs
