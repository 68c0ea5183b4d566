"""Claims: which worker has which document in hand, so that several share the work and none is done twice.

A claim is a lease. It ends when its holder lets go, when its time is over, or when somebody lets go for a holder whose
process is seen to be dead. Whoever is about to do what cannot be undone asks ``holds`` in the transaction that writes
the intent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, text, update

from invoices.ledger.documents import Pending, Stage, chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import IS_PENDING, claims, documents

LEASE = dt.timedelta(minutes=15)


def claim(tx: Transaction, holder: str, stage: Stage, limit: int, *, after: int = 0) -> list[Pending]:
    """Return up to ``limit`` documents whose next stage is ``stage``, in the order of arrival, now held by ``holder``.

    What others hold is left out, unless their lease is over.
    """
    found = _unclaimed(tx.connection, holder, stage, limit, after, tx.at)
    _take(tx, holder, [document.document_sha256 for document in found])
    return found


def claim_these(tx: Transaction, holder: str, wanted: Iterable[str]) -> bool:
    """Claim all of these documents, or none where another worker holds one; return whether they are held."""
    hashes = list(dict.fromkeys(wanted))
    for some in chunks(hashes):
        taken = select(func.count()).where(
            claims.c.document_sha256.in_(some), claims.c.until > tx.at, claims.c.holder != holder
        )
        if tx.connection.scalar(taken):
            return False
    _take(tx, holder, hashes)
    return True


def holds(tx: Transaction, holder: str, document: str) -> bool:
    """Return whether ``holder`` still has the document in hand."""
    row = tx.connection.execute(
        select(claims.c.holder, claims.c.until).where(claims.c.document_sha256 == document)
    ).first()
    return row is not None and row.holder == holder and row.until > tx.at


def renew(tx: Transaction, holder: str) -> int:
    """Lengthen every lease of ``holder``; return how many it has."""
    return tx.connection.execute(
        update(claims).where(claims.c.holder == holder, claims.c.until > tx.at).values(until=tx.at + LEASE)
    ).rowcount


def let_go(tx: Transaction, holder: str) -> None:
    """End every claim of ``holder``."""
    tx.connection.execute(delete(claims).where(claims.c.holder == holder))


def holders(connection: Connection) -> list[str]:
    """Return who holds anything."""
    return sorted(connection.scalars(select(claims.c.holder).distinct()))


def _unclaimed(
    connection: Connection, holder: str, stage: Stage, limit: int, after: int, now: dt.datetime
) -> list[Pending]:
    columns = (documents.c[name] for name in Pending.__slots__)
    rows = connection.execute(
        select(*columns)
        .select_from(documents.outerjoin(claims, _same_document()))
        .where(text(IS_PENDING), documents.c.stage == stage, documents.c.sequence > after, _is_free(holder, now))
        .order_by(documents.c.sequence)
        .limit(limit)
    )
    return [Pending(*row) for row in rows]


def _same_document() -> ColumnElement[bool]:
    return claims.c.document_sha256 == documents.c.document_sha256


def _is_free(holder: str, now: dt.datetime) -> ColumnElement[bool]:
    return or_(claims.c.holder.is_(None), claims.c.until <= now, claims.c.holder == holder)


def _take(tx: Transaction, holder: str, hashes: Sequence[str]) -> None:
    for some in chunks(hashes):
        tx.connection.execute(delete(claims).where(claims.c.document_sha256.in_(some)))
        rows = [{"document_sha256": sha256, "holder": holder, "until": tx.at + LEASE} for sha256 in some]
        tx.connection.execute(insert(claims), rows)
