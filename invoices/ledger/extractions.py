"""Extractions: what was asked about a document, under which id, and what was answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from invoices.ledger.documents import chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.spending import NO_CAPS, Caps, adjust, day_of, reserve
from invoices.ledger.tables import documents, extractions

Status = Literal["intended", "refused", "unknown", "submitted", "answered", "failed"]
OPEN = ("intended", "unknown", "submitted")  # what these reserve may still be charged


@dataclass(frozen=True, slots=True)
class Job:
    """One question to a vendor about one document, answered or not; a batch's jobs share its ``remote_id``."""

    extraction_id: str
    document_sha256: str
    extracted_by: str
    generation: int
    status: Status
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

    @property
    def is_open(self) -> bool:
        """Whether an answer may still come."""
        return self.status in OPEN

    @property
    def may_have_arrived(self) -> bool:
        """Whether the vendor may have the question; a batch that is only intended has surely not been submitted."""
        return self.is_open and not (self.status == "intended" and self.batch_id is not None)

    @property
    def pages_counted(self) -> int:
        """The pages that count against the caps: the worst case, for what is open and for what may be charged twice."""
        pages = self.pages_reserved if self.is_open else self.pages_charged
        return pages * (2 if self.possible_double_charge else 1)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a vendor is asked: its caps, and what a page costs by its price list, where that is set."""

    extracted_by: str
    caps: Caps = NO_CAPS
    page_price: Decimal | None = None
    page_price_currency: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is to be judged."""

    extraction_id: str
    document_sha256: str
    extracted_by: str
    payload: str
    received_at: dt.datetime
    sequence: int


_JOB = [extractions.c[name] for name in Job.__slots__]


def record_answer(tx: Transaction, extraction: str, document: str, extracted_by: str, payload: str) -> None:
    """Write an answer that cost nothing and was never pending; the same one again changes nothing."""
    if tx.connection.scalar(select(extractions.c.status).where(extractions.c.extraction_id == extraction)):
        return
    tx.connection.execute(
        insert(extractions).values(
            extraction_id=extraction, document_sha256=document, extracted_by=extracted_by, generation=1,
            status="answered", payload=payload, pages_charged=0, possible_double_charge=False,
            requested_at=tx.at, submitted_at=tx.at, answered_at=tx.at, revision=tx.revision,
        )
    )  # fmt: skip


def intend(
    tx: Transaction,
    terms: Terms,
    extraction: str,
    document: str,
    *,
    pages: int,
    run: str,
    is_repeat: bool = False,
    batch: str | None = None,
    generation: int = 1,
) -> None:
    """Write that a document is about to be submitted, and count its pages; committed before the request leaves.

    The same extraction intended again (after a refusal, for another batch, or as a repeat) is the same row. Its pages
    count from then on where it was intended last; a repeat's count beside those of the first, wherever that was.

    Raises:
        CapReached: a cap leaves no room for it; nothing is written.
    """
    before = find_job(tx.connection, extraction)
    repeated = is_repeat or (before is not None and before.possible_double_charge)
    with tx.connection.begin_nested():
        kept = 0 if before is None else before.pages_counted if is_repeat else _release(tx, before)
        reserve(tx, terms.extracted_by, pages * (2 if repeated else 1) - kept, terms.caps, run)
    price = None if terms.page_price is None else format(terms.page_price, "f")
    values = {
        "status": "intended", "generation": generation, "batch_id": batch, "run_id": run, "pages_reserved": pages,
        "counted_on": day_of(tx.at),
        "pages_charged": 0, "possible_double_charge": repeated, "page_price_amount": price,
        "page_price_currency": terms.page_price_currency if price else None, "revision": tx.revision,
        "requested_at": before.requested_at if before is not None and before.is_open else tx.at,
    }  # fmt: skip
    if before is None:
        keys = {"extraction_id": extraction, "document_sha256": document, "extracted_by": terms.extracted_by}
        tx.connection.execute(insert(extractions).values(**keys, **values))
    else:
        tx.connection.execute(update(extractions).where(extractions.c.extraction_id == extraction).values(**values))


def advance(tx: Transaction, extraction: str, status: Status, **values: Any) -> None:
    """Move a job to ``status`` and write what was learned; the pages it counts for follow."""
    mine = extractions.c.extraction_id == extraction
    before = find_job(tx.connection, extraction)
    tx.connection.execute(update(extractions).where(mine).values(status=status, revision=tx.revision, **values))
    after = find_job(tx.connection, extraction)
    if before is not None and after is not None:
        _count(tx, before, after.pages_counted - before.pages_counted)


def _release(tx: Transaction, job: Job) -> int:
    """Give back what the latest try of a job counts for; return what an earlier one may have cost besides."""
    latest = job.pages_counted // (2 if job.possible_double_charge else 1)
    _count(tx, job, -latest)
    return job.pages_counted - latest


def _count(tx: Transaction, job: Job, difference: int) -> None:
    adjust(tx, job.extracted_by, difference, job.counted_on or day_of(job.requested_at), job.run_id)


def find_job(connection: Connection, extraction: str) -> Job | None:
    """Return the job of an extraction, or None."""
    row = connection.execute(select(*_JOB).where(extractions.c.extraction_id == extraction)).first()
    return Job(*row) if row else None


def batch_jobs(connection: Connection, batch: str) -> list[Job]:
    """Return the jobs that are asked together, by document."""
    rows = connection.execute(
        select(*_JOB).where(extractions.c.batch_id == batch).order_by(extractions.c.document_sha256)
    )
    return [Job(*row) for row in rows]


def all_jobs(connection: Connection, wanted: Iterable[str]) -> dict[str, list[Job]]:
    """Return the jobs about each of the documents, with any vendor; documents without one are left out."""
    found: dict[str, list[Job]] = {}
    for some in chunks(wanted):
        rows = connection.execute(
            select(*_JOB).where(extractions.c.document_sha256.in_(some)).order_by(extractions.c.requested_at)
        )
        for row in rows:
            found.setdefault(row.document_sha256, []).append(Job(*row))
    return found


def jobs_of(connection: Connection, document: str, extracted_by: str) -> list[Job]:
    """Return the jobs about a document with one vendor, the latest generation last."""
    rows = connection.execute(
        select(*_JOB)
        .where(extractions.c.document_sha256 == document, extractions.c.extracted_by == extracted_by)
        .order_by(extractions.c.requested_at, extractions.c.generation)
    )
    return [Job(*row) for row in rows]


def remote_ids(connection: Connection, extracted_by: str, among: Iterable[str]) -> set[str]:
    """Return which of the vendor's ids the ledger knows."""
    known: set[str] = set()
    for some in chunks(among):
        known.update(
            connection.scalars(
                select(extractions.c.remote_id).where(
                    extractions.c.extracted_by == extracted_by, extractions.c.remote_id.in_(some)
                )
            )
        )
    return known


def answers(connection: Connection, wanted: Iterable[str]) -> list[Answer]:
    """Return the latest answer about each of the documents, in the order of their arrival."""
    found: dict[str, Answer] = {}
    for some in chunks(wanted):
        rows = connection.execute(
            select(
                extractions.c.extraction_id, extractions.c.document_sha256, extractions.c.extracted_by,
                extractions.c.payload, documents.c.first_seen_at, documents.c.sequence,
            )
            .join(documents, documents.c.document_sha256 == extractions.c.document_sha256)
            .where(extractions.c.document_sha256.in_(some), extractions.c.status == "answered")
            .order_by(extractions.c.answered_at, extractions.c.generation)
        )  # fmt: skip
        found |= {row.document_sha256: Answer(*row) for row in rows}
    return sorted(found.values(), key=lambda answer: answer.sequence)


def extraction_rows(connection: Connection, document: str) -> list[Mapping[str, Any]]:
    """Return everything asked and answered about a document, the earliest first."""
    rows = connection.execute(
        select(extractions).where(extractions.c.document_sha256 == document).order_by(extractions.c.requested_at)
    ).mappings()
    return [dict(row) for row in rows]
