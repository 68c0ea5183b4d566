"""Extraction batches: documents sent to a vendor together, in one upload session and one submission."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import extraction_batches

ExtractionBatchStatus = Literal["uploading", "submitting", "submitted", "concluded"]


@dataclass(frozen=True, slots=True)
class ExtractionBatch:
    """One batch; the status ``submitting`` means that the submission may have arrived."""

    batch_id: str
    extracted_by: str
    configuration: str
    session_generation: int
    generation: int
    status: ExtractionBatchStatus
    remote_id: str | None
    document_count: int
    opened_at: dt.datetime
    submitted_at: dt.datetime | None


_COLUMNS = [extraction_batches.c[name] for name in ExtractionBatch.__slots__]


def start_extraction_batch(
    tx: Transaction, batch_id: str, extracted_by: str, configuration: str, document_count: int
) -> ExtractionBatch:
    """Record a batch whose upload begins; an existing batch with this id starts its next generation."""
    previous = find_extraction_batch(tx.connection, batch_id)
    if previous is not None:
        next_generations = {
            "session_generation": previous.session_generation + 1,
            "generation": previous.generation + 1,
        }
        return update_extraction_batch(
            tx, batch_id, "uploading", **next_generations, remote_id=None, opened_at=tx.timestamp, submitted_at=None,
            document_count=document_count,
        )  # fmt: skip
    tx.connection.execute(
        insert(extraction_batches).values(
            batch_id=batch_id, extracted_by=extracted_by, configuration=configuration,
            session_generation=1, generation=1, status="uploading",
            document_count=document_count, opened_at=tx.timestamp, revision=tx.revision,
        )
    )  # fmt: skip
    return _get_extraction_batch(tx.connection, batch_id)


def adopt_extraction_batch(
    tx: Transaction,
    batch_id: str,
    extracted_by: str,
    configuration: str,
    generation: int,
    remote_id: str,
    document_count: int,
) -> ExtractionBatch:
    """Record a batch that was submitted before the ledger was restored, in place of an earlier record of it."""
    tx.connection.execute(delete(extraction_batches).where(extraction_batches.c.batch_id == batch_id))
    tx.connection.execute(
        insert(extraction_batches).values(
            batch_id=batch_id, extracted_by=extracted_by, configuration=configuration, session_generation=generation,
            generation=generation, status="submitted", remote_id=remote_id, document_count=document_count,
            opened_at=tx.timestamp, submitted_at=tx.timestamp, revision=tx.revision,
        )
    )  # fmt: skip
    return _get_extraction_batch(tx.connection, batch_id)


def update_extraction_batch(
    tx: Transaction, batch_id: str, status: ExtractionBatchStatus, **values: Any
) -> ExtractionBatch:
    """Set the status and these columns of a batch; return the updated batch.

    Raises:
        LookupError: there is no such batch.
    """
    tx.connection.execute(
        update(extraction_batches)
        .where(extraction_batches.c.batch_id == batch_id)
        .values(status=status, revision=tx.revision, **values)
    )
    return _get_extraction_batch(tx.connection, batch_id)


def find_extraction_batch(connection: Connection, batch_id: str) -> ExtractionBatch | None:
    """Return a batch, or None."""
    row = connection.execute(select(*_COLUMNS).where(extraction_batches.c.batch_id == batch_id)).first()
    return ExtractionBatch(*row) if row else None


def _get_extraction_batch(connection: Connection, batch_id: str) -> ExtractionBatch:
    extraction_batch = find_extraction_batch(connection, batch_id)
    if extraction_batch is None:
        raise LookupError(f"the ledger has no extraction batch {batch_id!r}")
    return extraction_batch
