"""Claims: which worker processes which document, so that several share the work and nothing is done twice.

A claim is a lease. It ends when its holder releases it, when it expires, or when another worker releases it because the
holder's process is dead. Before a step that cannot be undone, call ``holds_claim`` in the transaction that records the
intent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, or_, select, text, update

from invoices.ledger.documents import PendingDocument, Stage, iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import PENDING_DOCUMENT_CONDITION, claims, documents

LEASE_DURATION = dt.timedelta(minutes=15)
MAX_LEASE_DURATION = 2 * LEASE_DURATION  # a claim that ends later was written while a clock was wrong


def claim_pending_documents(
    tx: Transaction, holder: str, stage: Stage, limit: int, *, after_sequence: int = 0
) -> list[PendingDocument]:
    """Claim up to ``limit`` documents whose next stage is ``stage`` for ``holder``; return them in order of arrival.

    Documents that another worker has claimed are left out, unless the lease has expired.
    """
    claimed_documents = _list_unclaimed_documents(tx.connection, holder, stage, limit, after_sequence, tx.timestamp)
    _replace_claims(tx, holder, [document.document_sha256 for document in claimed_documents])
    return claimed_documents


def claim_all_or_none(tx: Transaction, holder: str, document_hashes: Iterable[str]) -> bool:
    """Claim all of these documents, or none if another worker holds one; return whether they are claimed."""
    unique_hashes = list(dict.fromkeys(document_hashes))
    for chunk in iter_chunks(unique_hashes):
        claims_of_others = select(func.count()).where(
            claims.c.document_sha256.in_(chunk),
            claims.c.holder != holder,
            claims.c.expires_at > tx.timestamp,
            claims.c.expires_at <= tx.timestamp + MAX_LEASE_DURATION,
        )
        if tx.connection.scalar(claims_of_others):
            return False
    _replace_claims(tx, holder, unique_hashes)
    return True


def holds_claim(tx: Transaction, holder: str, document_sha256: str) -> bool:
    """Return whether ``holder`` still has a valid claim on the document."""
    row = tx.connection.execute(
        select(claims.c.holder, claims.c.expires_at).where(claims.c.document_sha256 == document_sha256)
    ).first()
    return row is not None and row.holder == holder and row.expires_at > tx.timestamp


def extend_leases(tx: Transaction, holder: str) -> int:
    """Extend every lease of ``holder`` that has not expired; return how many there are."""
    return tx.connection.execute(
        update(claims)
        .where(claims.c.holder == holder, claims.c.expires_at > tx.timestamp)
        .values(expires_at=tx.timestamp + LEASE_DURATION)
    ).rowcount


def release_claims(tx: Transaction, holder: str) -> None:
    """Release every claim of ``holder``."""
    tx.connection.execute(delete(claims).where(claims.c.holder == holder))


def list_claim_holders(connection: Connection) -> list[str]:
    """Return the workers that have claims, expired ones included."""
    return sorted(connection.scalars(select(claims.c.holder).distinct()))


def list_claim_holders_of(connection: Connection, document_sha256: str, now: dt.datetime) -> list[str]:
    """Return the worker that has a valid claim on the document, or nothing."""
    query = select(claims.c.holder).where(claims.c.document_sha256 == document_sha256, claims.c.expires_at > now)
    return list(connection.scalars(query))


@dataclass(frozen=True, slots=True)
class ClaimSummary:
    """The documents that one worker has claimed; they are free at ``expires_at``, unless it renews its leases."""

    holder: str
    document_count: int
    expires_at: dt.datetime


def list_valid_claims(connection: Connection, now: dt.datetime, stage: Stage | None = None) -> list[ClaimSummary]:
    """Return what each worker has claimed, of the documents that wait for ``stage`` or for any stage."""
    query = (
        select(claims.c.holder, func.count(), func.max(claims.c.expires_at, type_=claims.c.expires_at.type))
        .join_from(claims, documents, claims.c.document_sha256 == documents.c.document_sha256)
        .where(claims.c.expires_at > now, text(PENDING_DOCUMENT_CONDITION))
        .group_by(claims.c.holder)
        .order_by(claims.c.holder)
    )
    if stage is not None:
        query = query.where(documents.c.stage == stage)
    return [ClaimSummary(*row) for row in connection.execute(query)]


def _list_unclaimed_documents(
    connection: Connection, holder: str, stage: Stage, limit: int, after_sequence: int, now: dt.datetime
) -> list[PendingDocument]:
    columns = (documents.c[name] for name in PendingDocument.__slots__)
    rows = connection.execute(
        select(*columns)
        .select_from(documents.outerjoin(claims, claims.c.document_sha256 == documents.c.document_sha256))
        .where(
            text(PENDING_DOCUMENT_CONDITION),
            documents.c.stage == stage,
            documents.c.sequence > after_sequence,
            or_(
                claims.c.holder.is_(None),
                claims.c.holder == holder,
                claims.c.expires_at <= now,
                claims.c.expires_at > now + MAX_LEASE_DURATION,
            ),
        )
        .order_by(documents.c.sequence)
        .limit(limit)
    )
    return [PendingDocument(*row) for row in rows]


def _replace_claims(tx: Transaction, holder: str, document_hashes: Sequence[str]) -> None:
    for chunk in iter_chunks(document_hashes):
        tx.connection.execute(delete(claims).where(claims.c.document_sha256.in_(chunk)))
        rows = [
            {"document_sha256": sha256, "holder": holder, "expires_at": tx.timestamp + LEASE_DURATION}
            for sha256 in chunk
        ]
        tx.connection.execute(insert(claims), rows)
