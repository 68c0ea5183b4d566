"""Attempts of stages: which documents a process began to work on and did not end.

An attempt is recorded before the work starts and removed in the transaction that ends it. What is left over when a
stage starts is from a process that was killed, so its documents are worked on in smaller batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, insert, select

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import stage_attempts

AttemptedStage = Literal["collect", "extract_local", "validate"]  # in ``collect``, the hash is that of a container


@dataclass(frozen=True, slots=True)
class StageAttempt:
    """The attempts at one document that did not end; ``document_count`` is the size of the batch of the last one."""

    document_sha256: str
    attempts: int
    attempts_alone: int
    document_count: int


def list_stage_attempts(
    connection: Connection, stage: AttemptedStage, document_hashes: Iterable[str]
) -> list[StageAttempt]:
    """Return the attempts of those of the documents that have some."""
    attempts: list[StageAttempt] = []
    columns = [stage_attempts.c[name] for name in StageAttempt.__slots__]
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(*columns).where(stage_attempts.c.stage == stage, stage_attempts.c.document_sha256.in_(chunk))
        )
        attempts += [StageAttempt(*row) for row in rows]
    return attempts


def record_stage_attempt(tx: Transaction, stage: AttemptedStage, document_hashes: Sequence[str]) -> None:
    """Record that the work on these documents, together, begins now; commit this before it does."""
    earlier = {
        attempt.document_sha256: attempt for attempt in list_stage_attempts(tx.connection, stage, document_hashes)
    }
    remove_stage_attempts(tx, stage, list(earlier))
    is_alone = len(document_hashes) == 1
    rows = [
        {
            "document_sha256": sha256,
            "stage": stage,
            "attempts": 1 + (earlier[sha256].attempts if sha256 in earlier else 0),
            "attempts_alone": is_alone + (earlier[sha256].attempts_alone if sha256 in earlier else 0),
            "document_count": len(document_hashes),
            "started_at": tx.timestamp,
        }
        for sha256 in document_hashes
    ]
    if rows:
        tx.connection.execute(insert(stage_attempts), rows)


def remove_stage_attempts(tx: Transaction, stage: AttemptedStage, document_hashes: Iterable[str]) -> None:
    """Remove the attempts at these documents, in the transaction that ends the work on them."""
    for chunk in iter_chunks(document_hashes):
        tx.connection.execute(
            delete(stage_attempts).where(stage_attempts.c.stage == stage, stage_attempts.c.document_sha256.in_(chunk))
        )
