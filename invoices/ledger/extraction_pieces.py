"""Pieces of a batch, many documents in one statement: who is in it, who was answered, what all of them wait for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select, text, update

from invoices.ledger.documents import Pending, chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import documents, extractions

IS_OPEN = "status in ('intended', 'unknown', 'submitted')"  # as text, so that SQLite uses the index of this condition


def open_documents(connection: Connection, batch: str) -> set[str]:
    """Return the documents of a batch whose answer has not been written."""
    rows = select(extractions.c.document_sha256).where(extractions.c.batch_id == batch, text(IS_OPEN))
    return set(connection.scalars(rows))


def known_among(connection: Connection, wanted: Iterable[str]) -> list[Pending]:
    """Return the documents, whatever they wait for, in the order of arrival."""
    found: list[Pending] = []
    for some in chunks(wanted):
        columns = (documents.c[name] for name in Pending.__slots__)
        rows = connection.execute(select(*columns).where(documents.c.document_sha256.in_(some)))
        found += [Pending(*row) for row in rows]
    return sorted(found, key=lambda document: document.sequence)


def mark_submitted(tx: Transaction, batch: str, hashes: Sequence[str], remote_id: str, reason: str) -> None:
    """Write that these documents of a batch were submitted; what they may cost was counted when that was intended."""
    submitted = {"status": "submitted", "remote_id": remote_id, "submitted_at": tx.at, "revision": tx.revision}
    stands = {"stage": "ask", "state": "waiting", "reason_code": "submitted", "reason": reason}
    for some in chunks(hashes):
        mine = extractions.c.document_sha256.in_(some) & (extractions.c.batch_id == batch)
        tx.connection.execute(update(extractions).where(mine, text(IS_OPEN)).values(**submitted))
        tx.connection.execute(
            update(documents)
            .where(documents.c.document_sha256.in_(some))
            .values(**stands, changed_at=tx.at, revision=tx.revision)
        )
