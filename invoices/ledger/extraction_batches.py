"""Batches of documents that a vendor is asked about together: one upload session, one submission."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import extraction_batches

Status = Literal["uploading", "submitting", "submitted", "concluded"]


@dataclass(frozen=True, slots=True)
class ExtractionBatch:
    """One batch; ``submitting`` means that its submission may have arrived."""

    batch_id: str
    extracted_by: str
    configuration: str
    session_generation: int
    generation: int
    status: Status
    remote_id: str | None
    document_count: int
    opened_at: dt.datetime
    submitted_at: dt.datetime | None


_COLUMNS = [extraction_batches.c[name] for name in ExtractionBatch.__slots__]


def open_batch(
    tx: Transaction, batch: str, extracted_by: str, configuration: str, document_count: int
) -> ExtractionBatch:
    """Write a batch whose documents are about to be uploaded; an earlier one of the same id goes one generation on."""
    before = find_batch(tx.connection, batch)
    if before is not None:
        raised = {"session_generation": before.session_generation + 1, "generation": before.generation + 1}
        return advance_batch(
            tx, batch, "uploading", **raised, remote_id=None, opened_at=tx.at, submitted_at=None,
            document_count=document_count,
        )  # fmt: skip
    tx.connection.execute(
        insert(extraction_batches).values(
            batch_id=batch, extracted_by=extracted_by, configuration=configuration,
            session_generation=1, generation=1, status="uploading",
            document_count=document_count, opened_at=tx.at, revision=tx.revision,
        )
    )  # fmt: skip
    return _known(tx.connection, batch)


def advance_batch(tx: Transaction, batch: str, status: Status, **values: Any) -> ExtractionBatch:
    """Move a batch to ``status``, write what was learned, and return it as it is then."""
    tx.connection.execute(
        update(extraction_batches)
        .where(extraction_batches.c.batch_id == batch)
        .values(status=status, revision=tx.revision, **values)
    )
    return _known(tx.connection, batch)


def find_batch(connection: Connection, batch: str) -> ExtractionBatch | None:
    """Return a batch, or None."""
    row = connection.execute(select(*_COLUMNS).where(extraction_batches.c.batch_id == batch)).first()
    return ExtractionBatch(*row) if row else None


def _known(connection: Connection, batch: str) -> ExtractionBatch:
    found = find_batch(connection, batch)
    if found is None:
        raise LookupError(batch)
    return found
