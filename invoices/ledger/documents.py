"""Documents: in which state each is, and what comes next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, func, select, text, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import IS_PENDING, documents, sightings

Stage = Literal["read", "ask", "judge", "done"]
State = Literal["waiting", "accepted", "review", "quarantined", "duplicate", "not_invoice"]
Item = TypeVar("Item")
CHUNK = 500  # bound parameters per statement


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a document stands at once, by what its source knows of it."""

    state: State
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A document that waits for its next stage."""

    document_sha256: str
    sequence: int
    media_type: str
    first_seen_at: dt.datetime
    page_count: int | None = None
    byte_count: int = 0


def pending(connection: Connection, stage: Stage, limit: int, after: int = 0) -> list[Pending]:
    """Return up to ``limit`` documents whose next stage is ``stage``, in the order of arrival."""
    rows = connection.execute(
        select(*(documents.c[name] for name in Pending.__slots__))
        .where(text(IS_PENDING), documents.c.stage == stage, documents.c.sequence > after)
        .order_by(documents.c.sequence)
        .limit(limit)
    )
    return [Pending(*row) for row in rows]


def pending_among(connection: Connection, stage: Stage, among: Iterable[str]) -> list[Pending]:
    """Return which of the documents wait for ``stage``, in the order of arrival."""
    found = []
    for some in chunks(among):
        rows = connection.execute(
            select(*(documents.c[name] for name in Pending.__slots__)).where(
                documents.c.stage == stage, documents.c.document_sha256.in_(some)
            )
        )
        found += [Pending(*row) for row in rows]
    return sorted(found, key=lambda document: document.sequence)


def known_among(connection: Connection, among: Iterable[str]) -> set[str]:
    """Return which of the hashes are of documents that the ledger has."""
    found: set[str] = set()
    for some in chunks(among):
        found.update(
            connection.scalars(select(documents.c.document_sha256).where(documents.c.document_sha256.in_(some)))
        )
    return found


def is_at(connection: Connection, document: str, stage: Stage) -> bool:
    """Return whether that is the document's next stage."""
    return connection.scalar(select(documents.c.stage).where(documents.c.document_sha256 == document)) == stage


def pending_count(connection: Connection, stage: Stage) -> int:
    """Return how many documents wait for ``stage``."""
    return connection.scalar(select(func.count()).where(text(IS_PENDING), documents.c.stage == stage)) or 0


def settle(
    tx: Transaction,
    document: str,
    *,
    stage: Stage,
    state: State,
    reason_code: str,
    reason: str,
    media_type: str | None = None,
    page_count: int | None = None,
) -> bool:
    """Write where a document stands; return False, and write nothing, if that is where it stood already."""
    values: dict[str, Any] = {"stage": stage, "state": state, "reason_code": reason_code, "reason": reason}
    if media_type is not None:
        values["media_type"] = media_type
    if page_count is not None:
        values["page_count"] = page_count
    mine = documents.c.document_sha256 == document
    now = tx.connection.execute(select(*(documents.c[name] for name in values)).where(mine)).mappings().one()
    if dict(now) == values:
        return False
    tx.connection.execute(update(documents).where(mine).values(**values, changed_at=tx.at, revision=tx.revision))
    return True


def count_by_state(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many documents there are by (state, reason code)."""
    rows = connection.execute(
        select(documents.c.state, documents.c.reason_code, func.count()).group_by(
            documents.c.state, documents.c.reason_code
        )
    )
    return {(state, reason_code): count for state, reason_code, count in rows}


def find_documents(connection: Connection, prefix: str) -> list[str]:
    """Return the hashes of up to ten documents that begin with ``prefix``."""
    rows = connection.scalars(
        select(documents.c.document_sha256)
        .where(documents.c.document_sha256.startswith(prefix.lower(), autoescape=True))
        .order_by(documents.c.document_sha256)
        .limit(10)
    )
    return list(rows)


def documents_at(connection: Connection, name: str) -> list[str]:
    """Return up to ten documents that were seen under a file name, at a location, or in a mail with a Message-ID."""
    rows = connection.scalars(
        select(sightings.c.document_sha256)
        .where(
            (sightings.c.file_name == name)
            | (sightings.c.location == name)
            | (sightings.c.message_id.in_((name.strip("<>"), f"<{name.strip('<>')}>")) & sightings.c.left_out.is_(None))
        )
        .distinct()
        .limit(10)
    )
    return list(rows)


def document_row(connection: Connection, document: str) -> Mapping[str, Any] | None:
    """Return the ledger's row of a document, or None."""
    row = connection.execute(select(documents).where(documents.c.document_sha256 == document)).mappings().first()
    return dict(row) if row else None


def sighting_rows(connection: Connection, document: str) -> list[Mapping[str, Any]]:
    """Return the sightings of a document, the earliest first."""
    rows = connection.execute(
        select(sightings)
        .where(sightings.c.document_sha256 == document)
        .order_by(sightings.c.seen_at, sightings.c.location)
    ).mappings()
    return [dict(row) for row in rows]


def chunks(values: Iterable[Item]) -> Iterable[Sequence[Item]]:
    """Yield ``values`` in pieces that fit into one statement's bound parameters."""
    items = list(values)
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
