"""Export batches: which accepted invoice was exported in which batch; none is in two."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction, raise_counter_value, reserve_sequence_numbers
from invoices.ledger.tables import export_batches, exported_invoices

BATCH_NUMBER_PATTERN = re.compile(r"batch-(\d{1,12})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ExportBatch:
    """A batch with a fixed set of invoices; ``assigned`` until its files are written, then ``issued``."""

    batch_id: str
    status: str
    created_at: dt.datetime


def list_unexported_invoice_ids(connection: Connection, limit: int, after_invoice_id: str = "") -> list[str]:
    """Return the ids of up to ``limit`` accepted invoices that are in no batch yet, in order."""
    rows = connection.scalars(
        select(exported_invoices.c.invoice_id)
        .where(exported_invoices.c.batch_id.is_(None), exported_invoices.c.invoice_id > after_invoice_id)
        .order_by(exported_invoices.c.invoice_id)
        .limit(limit)
    )
    return list(rows)


def create_export_batch(
    tx: Transaction,
    invoice_ids: list[str],
    is_batch_id_taken: Callable[[str], bool] = lambda _: False,
    id_suffix: str = "",
) -> ExportBatch:
    """Create a batch of those of the invoices that are in no batch; the caller writes its files afterwards.

    Its id is ``batch-``, the next number in six digits, and ``id_suffix``. An id is skipped if ``is_batch_id_taken``:
    it was issued before the ledger was restored from a backup.
    """
    while True:
        batch_id = f"batch-{reserve_sequence_numbers(tx, 'export_batches', 1):06d}{id_suffix}"
        if not is_batch_id_taken(batch_id):
            break
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


def adopt_export_batch(
    tx: Transaction, batch_id: str, created_at: dt.datetime, manifest_sha256: str, invoice_ids: Sequence[str]
) -> dict[str, str]:
    """Record a batch that was issued before the ledger was restored; its number is never used again.

    Its invoices count as exported, also those that the ledger does not have yet. Returns, for each invoice that the
    ledger has in another batch, the id of that batch.
    """
    tx.connection.execute(
        insert(export_batches).values(
            batch_id=batch_id, status="issued", created_at=created_at, manifest_sha256=manifest_sha256,
            revision=tx.revision,
        )
    )  # fmt: skip
    known_rows: dict[str, str | None] = {}
    for chunk in iter_chunks(invoice_ids):
        query = select(exported_invoices.c.invoice_id, exported_invoices.c.batch_id)
        rows = tx.connection.execute(query.where(exported_invoices.c.invoice_id.in_(chunk)))
        known_rows |= {row.invoice_id: row.batch_id for row in rows}
        tx.connection.execute(
            update(exported_invoices)
            .where(exported_invoices.c.invoice_id.in_(chunk), exported_invoices.c.batch_id.is_(None))
            .values(batch_id=batch_id, revision=tx.revision)
        )
    new_rows = [
        {"invoice_id": invoice_id, "batch_id": batch_id, "revision": tx.revision}
        for invoice_id in invoice_ids
        if invoice_id not in known_rows
    ]
    if new_rows:
        tx.connection.execute(insert(exported_invoices), new_rows)
    if number := BATCH_NUMBER_PATTERN.match(batch_id):
        raise_counter_value(tx, "export_batches", int(number[1]))
    return {invoice_id: other for invoice_id, other in known_rows.items() if other is not None}


def mark_export_batch_issued(tx: Transaction, batch: ExportBatch, manifest_sha256: str) -> None:
    """Record that the files of a batch are written."""
    tx.connection.execute(
        update(export_batches)
        .where(export_batches.c.batch_id == batch.batch_id)
        .values(status="issued", manifest_sha256=manifest_sha256, revision=tx.revision)
    )


def list_export_batches(connection: Connection, status: str | None = None) -> list[ExportBatch]:
    """Return all batches, or those of one status, the earliest first."""
    query = select(export_batches.c.batch_id, export_batches.c.status, export_batches.c.created_at)
    if status is not None:
        query = query.where(export_batches.c.status == status)
    return [ExportBatch(*row) for row in connection.execute(query.order_by(export_batches.c.batch_id))]


def list_batch_invoice_ids(connection: Connection, batch_id: str) -> list[str]:
    """Return the ids of the invoices of a batch, in order."""
    rows = connection.scalars(
        select(exported_invoices.c.invoice_id)
        .where(exported_invoices.c.batch_id == batch_id)
        .order_by(exported_invoices.c.invoice_id)
    )
    return list(rows)


def count_exports(connection: Connection) -> dict[str, int]:
    """Return the number of issued ``batches``, of ``invoices`` in a batch, and of those ``waiting`` for one."""
    issued_batches = connection.scalar(select(func.count()).where(export_batches.c.status == "issued"))
    exported_count = connection.scalar(select(func.count()).where(exported_invoices.c.batch_id.is_not(None)))
    waiting_count = connection.scalar(select(func.count()).where(exported_invoices.c.batch_id.is_(None)))
    return {"batches": issued_batches or 0, "invoices": exported_count or 0, "waiting": waiting_count or 0}


def find_manifest_sha256(connection: Connection, batch_id: str) -> str | None:
    """Return the SHA-256 of the manifest of an issued batch; None if it is not issued."""
    return connection.scalar(select(export_batches.c.manifest_sha256).where(export_batches.c.batch_id == batch_id))
