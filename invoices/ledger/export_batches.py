"""Export batches: which accepted invoice went out in which batch; none goes out in two."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction, reserve_sequence_numbers
from invoices.ledger.tables import export_batches, exported_invoices


@dataclass(frozen=True, slots=True)
class ExportBatch:
    """A batch whose invoices are fixed; ``assigned`` until its files are in place, then ``issued``."""

    batch_id: str
    status: str
    created_at: dt.datetime


def list_unexported_invoice_ids(connection: Connection, limit: int, after_invoice_id: str = "") -> list[str]:
    """Return up to ``limit`` accepted invoices that are in no batch yet, by id."""
    rows = connection.scalars(
        select(exported_invoices.c.invoice_id)
        .where(exported_invoices.c.batch_id.is_(None), exported_invoices.c.invoice_id > after_invoice_id)
        .order_by(exported_invoices.c.invoice_id)
        .limit(limit)
    )
    return list(rows)


def create_export_batch(
    tx: Transaction, invoice_ids: list[str], is_batch_id_taken: Callable[[str], bool] = lambda _: False
) -> ExportBatch:
    """Fix a new batch of these invoices; its files are written afterwards, and again if that is interrupted.

    A number whose files exist already, issued before the ledger was restored from a backup, is passed over.
    """
    while is_batch_id_taken(batch_id := f"batch-{reserve_sequence_numbers(tx, 'export_batches', 1):06d}"):
        continue
    batch = ExportBatch(batch_id, "assigned", tx.timestamp)
    tx.connection.execute(
        insert(export_batches).values(
            batch_id=batch.batch_id, status=batch.status, created_at=batch.created_at, revision=tx.revision
        )
    )
    for chunk in iter_chunks(invoice_ids):
        tx.connection.execute(
            update(exported_invoices)
            .where(exported_invoices.c.invoice_id.in_(chunk), exported_invoices.c.batch_id.is_(None))
            .values(batch_id=batch.batch_id, revision=tx.revision)
        )
    return batch


def mark_export_batch_issued(tx: Transaction, batch: ExportBatch, manifest_sha256: str) -> None:
    """Write that a batch's files are in place."""
    tx.connection.execute(
        update(export_batches)
        .where(export_batches.c.batch_id == batch.batch_id)
        .values(status="issued", manifest_sha256=manifest_sha256, revision=tx.revision)
    )


def list_export_batches(connection: Connection, status: str | None = None) -> list[ExportBatch]:
    """Return the batches, the earliest first; all, or those of one status."""
    query = select(export_batches.c.batch_id, export_batches.c.status, export_batches.c.created_at)
    if status is not None:
        query = query.where(export_batches.c.status == status)
    return [ExportBatch(*row) for row in connection.execute(query.order_by(export_batches.c.batch_id))]


def list_batch_invoice_ids(connection: Connection, batch_id: str) -> list[str]:
    """Return the invoices of a batch, by id."""
    rows = connection.scalars(
        select(exported_invoices.c.invoice_id)
        .where(exported_invoices.c.batch_id == batch_id)
        .order_by(exported_invoices.c.invoice_id)
    )
    return list(rows)


def count_exports(connection: Connection) -> dict[str, int]:
    """Return how many batches are issued, and how many invoices are in one or wait for one."""
    issued_batches = connection.scalar(select(func.count()).where(export_batches.c.status == "issued"))
    exported_count = connection.scalar(select(func.count()).where(exported_invoices.c.batch_id.is_not(None)))
    waiting_count = connection.scalar(select(func.count()).where(exported_invoices.c.batch_id.is_(None)))
    return {"batches": issued_batches or 0, "invoices": exported_count or 0, "waiting": waiting_count or 0}


def find_manifest_sha256(connection: Connection, batch_id: str) -> str | None:
    """Return the hash of the manifest with which a batch was issued; None if it was not."""
    return connection.scalar(select(export_batches.c.manifest_sha256).where(export_batches.c.batch_id == batch_id))
