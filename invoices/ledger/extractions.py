"""Extractions: what was asked about a document, under which id, and what was answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from invoices.ledger.documents import chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import documents, extractions

Status = Literal["intended", "refused", "unknown", "submitted", "answered", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One question to a vendor about one document, answered or not."""

    extraction_id: str
    document_sha256: str
    extracted_by: str
    generation: int
    status: Status
    remote_id: str | None
    message: str | None
    possible_double_charge: bool
    requested_at: dt.datetime
    submitted_at: dt.datetime | None


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


def intend(tx: Transaction, extraction: str, document: str, extracted_by: str, generation: int = 1) -> None:
    """Write that a document is about to be submitted; committed before the request leaves."""
    tx.connection.execute(
        insert(extractions).values(
            extraction_id=extraction, document_sha256=document, extracted_by=extracted_by, generation=generation,
            status="intended", pages_charged=0, possible_double_charge=False, requested_at=tx.at, revision=tx.revision,
        )
    )  # fmt: skip


def advance(tx: Transaction, extraction: str, status: Status, **values: Any) -> None:
    """Move a job to ``status`` and write what was learned."""
    tx.connection.execute(
        update(extractions)
        .where(extractions.c.extraction_id == extraction)
        .values(status=status, revision=tx.revision, **values)
    )


def jobs_of(connection: Connection, document: str, extracted_by: str) -> list[Job]:
    """Return the jobs about a document with one vendor, the latest generation last."""
    rows = connection.execute(
        select(*_JOB)
        .where(extractions.c.document_sha256 == document, extractions.c.extracted_by == extracted_by)
        .order_by(extractions.c.generation)
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
