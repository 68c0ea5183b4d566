"""Documents: the state of each and its next stage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, func, select, text, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import PENDING_DOCUMENT_CONDITION, documents, sightings

Stage = Literal["extract_local", "extract_remote", "validate", "done"]
DocumentState = Literal["waiting", "accepted", "review", "quarantined", "duplicate", "not_invoice"]
Item = TypeVar("Item")
MAX_BOUND_PARAMETERS = 500  # per statement


@dataclass(frozen=True, slots=True)
class InitialState:
    """The state that a source gives a document at once; no stage reads it then."""

    state: DocumentState
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class PendingDocument:
    """A document that waits for its next stage."""

    document_sha256: str
    sequence: int
    media_type: str
    first_seen_at: dt.datetime
    page_count: int | None = None
    byte_count: int = 0


def list_pending_documents(
    connection: Connection, stage: Stage, limit: int, after_sequence: int = 0
) -> list[PendingDocument]:
    """Return up to ``limit`` documents whose next stage is ``stage``, in order of arrival."""
    rows = connection.execute(
        select(*(documents.c[name] for name in PendingDocument.__slots__))
        .where(text(PENDING_DOCUMENT_CONDITION), documents.c.stage == stage, documents.c.sequence > after_sequence)
        .order_by(documents.c.sequence)
        .limit(limit)
    )
    return [PendingDocument(*row) for row in rows]


def filter_pending_documents(
    connection: Connection, stage: Stage, document_hashes: Iterable[str]
) -> list[PendingDocument]:
    """Return those of the documents that wait for ``stage``, in order of arrival."""
    pending_documents = []
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(*(documents.c[name] for name in PendingDocument.__slots__)).where(
                documents.c.stage == stage, documents.c.document_sha256.in_(chunk)
            )
        )
        pending_documents += [PendingDocument(*row) for row in rows]
    return sorted(pending_documents, key=lambda document: document.sequence)


def filter_known_hashes(connection: Connection, hashes: Iterable[str]) -> set[str]:
    """Return those of the hashes that belong to documents in the ledger."""
    known_hashes: set[str] = set()
    for chunk in iter_chunks(hashes):
        known_hashes.update(
            connection.scalars(select(documents.c.document_sha256).where(documents.c.document_sha256.in_(chunk)))
        )
    return known_hashes


def is_at_stage(connection: Connection, document_sha256: str, stage: Stage) -> bool:
    """Return whether ``stage`` is the document's next stage."""
    return connection.scalar(select(documents.c.stage).where(documents.c.document_sha256 == document_sha256)) == stage


def count_pending_documents(connection: Connection, stage: Stage) -> int:
    """Return how many documents wait for ``stage``."""
    return (
        connection.scalar(select(func.count()).where(text(PENDING_DOCUMENT_CONDITION), documents.c.stage == stage)) or 0
    )


def set_document_state(
    tx: Transaction,
    document_sha256: str,
    *,
    stage: Stage,
    state: DocumentState,
    reason_code: str,
    reason: str,
    media_type: str | None = None,
    page_count: int | None = None,
) -> bool:
    """Set the stage and state of a document; return False, and write nothing, if nothing would change."""
    values: dict[str, Any] = {"stage": stage, "state": state, "reason_code": reason_code, "reason": reason}
    if media_type is not None:
        values["media_type"] = media_type
    if page_count is not None:
        values["page_count"] = page_count
    condition = documents.c.document_sha256 == document_sha256
    current_row = (
        tx.connection.execute(select(*(documents.c[name] for name in values)).where(condition)).mappings().one()
    )
    if dict(current_row) == values:
        return False
    tx.connection.execute(
        update(documents).where(condition).values(**values, changed_at=tx.timestamp, revision=tx.revision)
    )
    return True


def count_documents_by_state(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many documents there are by (state, reason code)."""
    rows = connection.execute(
        select(documents.c.state, documents.c.reason_code, func.count()).group_by(
            documents.c.state, documents.c.reason_code
        )
    )
    return {(state, reason_code): count for state, reason_code, count in rows}


def list_documents_in_states(
    connection: Connection, states: Sequence[str], limit: int | None = None
) -> list[Mapping[str, Any]]:
    """Return the documents in these states in order of arrival, at most ``limit``.

    Each has the columns of its row, and as ``file_name`` one of the names under which it was seen, or None.
    """
    file_name = (
        select(func.min(sightings.c.file_name))
        .where(sightings.c.document_sha256 == documents.c.document_sha256)
        .scalar_subquery()
    )
    query = select(documents, file_name.label("file_name")).where(documents.c.state.in_(states))
    return [dict(row) for row in connection.execute(query.order_by(documents.c.sequence).limit(limit)).mappings()]


def list_document_hashes_by_prefix(connection: Connection, hash_prefix: str) -> list[str]:
    """Return up to ten document hashes that begin with ``hash_prefix``, in either case."""
    rows = connection.scalars(
        select(documents.c.document_sha256)
        .where(documents.c.document_sha256.startswith(hash_prefix.lower(), autoescape=True))
        .order_by(documents.c.document_sha256)
        .limit(10)
    )
    return list(rows)


def list_document_hashes_by_name(connection: Connection, name: str) -> list[str]:
    """Return the hashes of up to ten documents with this file name, location, or Message-ID of their mail."""
    rows = connection.scalars(
        select(sightings.c.document_sha256)
        .where(
            (sightings.c.file_name == name)
            | (sightings.c.location == name)
            | (
                sightings.c.message_id.in_((name.strip("<>"), f"<{name.strip('<>')}>"))
                & sightings.c.skip_reason_code.is_(None)
            )
        )
        .distinct()
        .limit(10)
    )
    return list(rows)


def find_document_row(connection: Connection, document_sha256: str) -> Mapping[str, Any] | None:
    """Return the ledger's row of a document, or None."""
    row = connection.execute(select(documents).where(documents.c.document_sha256 == document_sha256)).mappings().first()
    return dict(row) if row else None


def list_sighting_rows(connection: Connection, document_sha256: str) -> list[Mapping[str, Any]]:
    """Return the sightings of a document, the earliest first."""
    rows = connection.execute(
        select(sightings)
        .where(sightings.c.document_sha256 == document_sha256)
        .order_by(sightings.c.seen_at, sightings.c.location)
    ).mappings()
    return [dict(row) for row in rows]


def iter_chunks(values: Iterable[Item]) -> Iterable[Sequence[Item]]:
    """Yield ``values`` in chunks that fit into the bound parameters of one statement."""
    items = list(values)
    for start in range(0, len(items), MAX_BOUND_PARAMETERS):
        yield items[start : start + MAX_BOUND_PARAMETERS]
