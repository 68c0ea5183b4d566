"""Extractions: each request to an extractor about a document, its id, its state, and the answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.spending import NO_PAGE_CAPS, PageCaps, adjust_spending, format_utc_day, reserve_pages
from invoices.ledger.tables import documents, extractions

ExtractionStatus = Literal["intended", "refused", "unknown", "submitted", "answered", "failed"]
OPEN_STATUSES = ("intended", "unknown", "submitted")  # their reserved pages may still be charged


@dataclass(frozen=True, slots=True)
class ExtractionJob:
    """One request to a vendor about one document; the jobs of a batch share its ``remote_id``."""

    extraction_id: str
    document_sha256: str
    extracted_by: str
    generation: int
    status: ExtractionStatus
    remote_id: str | None
    batch_id: str | None
    message: str | None
    run_id: str | None
    pages_reserved: int
    pages_charged: int
    possible_double_charge: bool
    requested_at: dt.datetime
    submitted_at: dt.datetime | None
    counted_on: str | None = None
    is_superseded: bool = False  # failed, or read at no cost, and a person has the document retried

    @property
    def is_open(self) -> bool:
        """Whether an answer may still come."""
        return self.status in OPEN_STATUSES

    @property
    def may_have_arrived(self) -> bool:
        """Whether the vendor may have the request; a batch that is only intended has certainly not been submitted."""
        return self.is_open and not (self.status == "intended" and self.batch_id is not None)

    @property
    def pages_counted(self) -> int:
        """The pages that count against the caps: the worst case for open jobs and for possible double charges."""
        pages = self.pages_reserved if self.is_open else self.pages_charged
        return pages * (2 if self.possible_double_charge else 1)


@dataclass(frozen=True, slots=True)
class ExtractionTerms:
    """The terms for requests to a vendor: the caps, and the price of a page if that is set."""

    extracted_by: str
    caps: PageCaps = NO_PAGE_CAPS
    page_price: Decimal | None = None
    page_price_currency: str | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that waits for validation."""

    extraction_id: str
    document_sha256: str
    extracted_by: str
    payload: str
    received_at: dt.datetime
    sequence: int


@dataclass(frozen=True, slots=True)
class AnswerWeight:
    """How heavy an answer is: its bytes, and its records (JSON objects: invoices, parties, lines, taxes, rows)."""

    byte_count: int
    record_count: int


_JOB_COLUMNS = [extractions.c[name] for name in ExtractionJob.__slots__]


def record_free_answer(
    tx: Transaction, extraction_id: str, document_sha256: str, extracted_by: str, payload: str
) -> None:
    """Record an answer that cost nothing and was never open.

    An extraction that is recorded already stays as it is; if a retry has superseded it, its answer is replaced.
    """
    condition = extractions.c.extraction_id == extraction_id
    previous = tx.connection.execute(select(extractions.c.is_superseded).where(condition)).first()
    if previous is not None:
        if previous.is_superseded:
            values = {"payload": payload, "is_superseded": False, "answered_at": tx.timestamp, "revision": tx.revision}
            tx.connection.execute(update(extractions).where(condition).values(**values))
        return
    tx.connection.execute(
        insert(extractions).values(
            extraction_id=extraction_id, document_sha256=document_sha256, extracted_by=extracted_by, generation=1,
            status="answered", payload=payload, pages_charged=0, possible_double_charge=False,
            requested_at=tx.timestamp, submitted_at=tx.timestamp, answered_at=tx.timestamp, revision=tx.revision,
        )
    )  # fmt: skip


def record_intent(
    tx: Transaction,
    terms: ExtractionTerms,
    extraction_id: str,
    document_sha256: str,
    *,
    pages: int,
    run_id: str,
    is_repeat: bool = False,
    batch_id: str | None = None,
    generation: int = 1,
) -> None:
    """Record that a document is about to be submitted, and count its pages; commit this before the request is sent.

    If the extraction was intended before (refused since then, moved to another batch, or repeated), its row is updated.
    Its pages then count for the day and run of the latest intent. Those of a repeat count in addition to the first.

    Raises:
        CapReached: a cap leaves too few pages; nothing is written.
    """
    previous = find_job(tx.connection, extraction_id)
    possible_double_charge = is_repeat or (previous is not None and previous.possible_double_charge)
    with tx.connection.begin_nested():
        pages_counted = 0 if previous is None else previous.pages_counted
        if previous is not None and not is_repeat:  # the pages of an earlier try that may be charged stay counted
            latest_pages = pages_counted // (2 if previous.possible_double_charge else 1)
            _adjust_job_spending(tx, previous, -latest_pages)
            pages_counted -= latest_pages
        pages_to_count = pages * (2 if possible_double_charge else 1)
        reserve_pages(tx, terms.extracted_by, pages_to_count - pages_counted, terms.caps, run_id)
    page_price = None if terms.page_price is None else format(terms.page_price, "f")
    values = {
        "status": "intended", "generation": generation, "batch_id": batch_id, "run_id": run_id, "pages_reserved": pages,
        "counted_on": format_utc_day(tx.timestamp),
        "pages_charged": 0, "possible_double_charge": possible_double_charge, "page_price_amount": page_price,
        "page_price_currency": terms.page_price_currency if page_price else None, "revision": tx.revision,
        "requested_at": previous.requested_at if previous is not None and previous.is_open else tx.timestamp,
    }  # fmt: skip
    if previous is None:
        key_values = {
            "extraction_id": extraction_id,
            "document_sha256": document_sha256,
            "extracted_by": terms.extracted_by,
        }
        tx.connection.execute(insert(extractions).values(**key_values, **values))
    else:
        tx.connection.execute(update(extractions).where(extractions.c.extraction_id == extraction_id).values(**values))


def update_extraction(tx: Transaction, extraction_id: str, status: ExtractionStatus, **values: Any) -> None:
    """Set the status and these columns of a job, and adjust the pages that count against the caps."""
    condition = extractions.c.extraction_id == extraction_id
    previous = find_job(tx.connection, extraction_id)
    tx.connection.execute(update(extractions).where(condition).values(status=status, revision=tx.revision, **values))
    updated = find_job(tx.connection, extraction_id)
    if previous is not None and updated is not None:
        _adjust_job_spending(tx, previous, updated.pages_counted - previous.pages_counted)


def _adjust_job_spending(tx: Transaction, job: ExtractionJob, page_difference: int) -> None:
    counted_on = job.counted_on or format_utc_day(job.requested_at)
    adjust_spending(tx, job.extracted_by, page_difference, counted_on, job.run_id)


def find_job(connection: Connection, extraction_id: str) -> ExtractionJob | None:
    """Return the job of an extraction, or None."""
    row = connection.execute(select(*_JOB_COLUMNS).where(extractions.c.extraction_id == extraction_id)).first()
    return ExtractionJob(*row) if row else None


def list_batch_jobs(connection: Connection, batch_id: str) -> list[ExtractionJob]:
    """Return the jobs of a batch, ordered by document."""
    rows = connection.execute(
        select(*_JOB_COLUMNS).where(extractions.c.batch_id == batch_id).order_by(extractions.c.document_sha256)
    )
    return [ExtractionJob(*row) for row in rows]


def list_jobs_by_document(connection: Connection, document_hashes: Iterable[str]) -> dict[str, list[ExtractionJob]]:
    """Return the jobs of each document with any vendor, the earliest first; a document without jobs has no entry."""
    jobs_by_document: dict[str, list[ExtractionJob]] = {}
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(*_JOB_COLUMNS).where(extractions.c.document_sha256.in_(chunk)).order_by(extractions.c.requested_at)
        )
        for row in rows:
            jobs_by_document.setdefault(row.document_sha256, []).append(ExtractionJob(*row))
    return jobs_by_document


def list_document_jobs_of_vendor(
    connection: Connection, document_sha256: str, extracted_by: str
) -> list[ExtractionJob]:
    """Return the jobs of a document with one vendor, the latest last."""
    rows = connection.execute(
        select(*_JOB_COLUMNS)
        .where(extractions.c.document_sha256 == document_sha256, extractions.c.extracted_by == extracted_by)
        .order_by(extractions.c.requested_at, extractions.c.generation)
    )
    return [ExtractionJob(*row) for row in rows]


def filter_known_remote_ids(connection: Connection, extracted_by: str, remote_ids: Iterable[str]) -> set[str]:
    """Return those of the vendor's ids that are in the ledger."""
    known_ids: set[str] = set()
    for chunk in iter_chunks(remote_ids):
        known_ids.update(
            connection.scalars(
                select(extractions.c.remote_id).where(
                    extractions.c.extracted_by == extracted_by, extractions.c.remote_id.in_(chunk)
                )
            )
        )
    return known_ids


def list_latest_answers(connection: Connection, document_hashes: Iterable[str]) -> list[StoredAnswer]:
    """Return the latest answer for each of the documents, in order of the documents' arrival."""
    latest_answers: dict[str, StoredAnswer] = {}
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(
                extractions.c.extraction_id, extractions.c.document_sha256, extractions.c.extracted_by,
                extractions.c.payload, documents.c.first_seen_at, documents.c.sequence,
            )
            .join(documents, documents.c.document_sha256 == extractions.c.document_sha256)
            .where(extractions.c.document_sha256.in_(chunk), extractions.c.status == "answered")
            .order_by(extractions.c.answered_at, extractions.c.generation)
        )  # fmt: skip
        latest_answers |= {row.document_sha256: StoredAnswer(*row) for row in rows}
    return sorted(latest_answers.values(), key=lambda answer: answer.sequence)


def weigh_answers(connection: Connection, document_hashes: Iterable[str]) -> dict[str, AnswerWeight]:
    """Return the weight of the heaviest answer for each of the documents; the answers stay in the database."""
    payload, weights = extractions.c.payload, dict[str, AnswerWeight]()
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(
                extractions.c.document_sha256,
                func.max(func.length(payload)),
                func.max(func.length(payload) - func.length(func.replace(payload, "{", ""))),
            )
            .where(extractions.c.document_sha256.in_(chunk), extractions.c.status == "answered")
            .group_by(extractions.c.document_sha256)
        )
        weights |= {
            sha256: AnswerWeight(byte_count or 0, record_count or 0) for sha256, byte_count, record_count in rows
        }
    return weights


def list_extraction_rows(connection: Connection, document_sha256: str) -> list[Mapping[str, Any]]:
    """Return the extractions of a document, the earliest first."""
    rows = connection.execute(
        select(extractions).where(extractions.c.document_sha256 == document_sha256).order_by(extractions.c.requested_at)
    ).mappings()
    return [dict(row) for row in rows]
