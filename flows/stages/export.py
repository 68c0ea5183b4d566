"""Export: accepted invoices that are in no batch yet, as accounting files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from invoices.app import App
from invoices.exports import BatchHeader as FileBatch
from invoices.exports import render_batch_files, write_batch_folder
from invoices.ledger.export_batches import (
    ExportBatch,
    create_export_batch,
    list_batch_invoice_ids,
    list_export_batches,
    list_unexported_invoice_ids,
    mark_export_batch_issued,
)
from invoices.model import Invoice
from invoices.run_report import RunReport

UNIT = "batches"
MAX_INVOICES_PER_BATCH = 10_000  # invoices

Batch = tuple[ExportBatch | None, list[Invoice]]  # a batch that was interrupted, or None for a new one


def count_pending(_app: App) -> int | None:
    """Return None: how many batches there are is known only when the warehouse is asked."""
    return None


def iter_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield batches whose files are not in place yet, then the accepted invoices that are in none."""
    with app.ledger.open_snapshot() as connection:
        interrupted_batches = [
            (batch, list_batch_invoice_ids(connection, batch.batch_id))
            for batch in list_export_batches(connection, "assigned")
        ]
    for batch, invoice_ids in interrupted_batches:
        warehouse_invoices = _read_warehouse_invoices(app, invoice_ids)
        if len(warehouse_invoices) == len(invoice_ids):
            yield batch, warehouse_invoices
        else:
            report.problems.append(
                f"{batch.batch_id} is not written: the warehouse has {len(warehouse_invoices)} of its {len(invoice_ids)} invoices."
            )
    last_invoice_id = ""
    while waiting_ids := _list_invoices_to_export(app, last_invoice_id):
        if warehouse_invoices := _read_warehouse_invoices(app, waiting_ids):
            yield None, warehouse_invoices
        last_invoice_id = waiting_ids[-1]


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Fix the batch in the ledger, write its files, and note that they are in place."""
    export_batch, invoices = batch
    if export_batch is None:
        invoice_ids, exports_directory = [invoice.invoice_id for invoice in invoices], app.settings.exports_directory
        with app.ledger.begin_transaction() as tx:
            export_batch = create_export_batch(
                tx, invoice_ids, is_batch_id_taken=lambda batch_id: (exports_directory / batch_id).exists()
            )
    files = render_export_batch(export_batch, invoices)
    write_export_batch(app, export_batch, files)
    with app.ledger.begin_transaction() as tx:
        mark_export_batch_issued(tx, export_batch, hash_manifest(files))
    report.export_batches.append(export_batch.batch_id)
    report.exported_invoices += len(invoices)
    report.advance_progress(1)


def render_export_batch(batch: ExportBatch, invoices: list[Invoice]) -> dict[str, bytes]:
    """Return a batch's files by name: the same bytes whenever they are made."""
    return render_batch_files(FileBatch(batch.batch_id, batch.created_at), invoices)


def write_export_batch(app: App, batch: ExportBatch, files: dict[str, bytes]) -> Path:
    """Put a batch's files in place, all at once; return their directory."""
    return write_batch_folder(app.settings.exports_directory, FileBatch(batch.batch_id, batch.created_at), files)


def hash_manifest(files: dict[str, bytes]) -> str:
    """Return the hash of the manifest, which itself holds the hashes of the other files."""
    return hashlib.sha256(files["manifest.json"]).hexdigest()


def _list_invoices_to_export(app: App, last_invoice_id: str) -> list[str]:
    with app.ledger.open_snapshot() as connection:
        return list_unexported_invoice_ids(connection, MAX_INVOICES_PER_BATCH, last_invoice_id)


def _read_warehouse_invoices(app: App, invoice_ids: list[str]) -> list[Invoice]:
    from transforms.loading.accepted_invoices import read_accepted_invoices

    return read_accepted_invoices(app.settings.warehouse_directory, invoice_ids)
