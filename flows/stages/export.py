"""Export: accepted invoices that are in no batch yet, as accounting files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from flows.adopt_export_batches import adopt_unknown_batches
from invoices.app import App
from invoices.exports import REHEARSAL_SUFFIX, BatchHeader, render_batch_files, write_batch_folder
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

PROGRESS_LABEL, UNIT = "Exporting", "batches"
MAX_INVOICES_PER_BATCH = 10_000  # invoices

Batch = tuple[ExportBatch | None, list[Invoice]]  # an interrupted batch, or None for a new one


def count_pending(_app: App) -> int | None:
    """Return None: the number of batches depends on what the warehouse has."""
    return None


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield batches whose files are not in place yet, then the accepted invoices that are in no batch.

    Batches in the exports directory that the ledger does not have are recorded first.
    """
    from transforms.loading.accepted_invoice_reader import read_accepted_invoices

    if not adopt_unknown_batches(app, report):
        return
    warehouse_directory = app.settings.warehouse_directory
    with app.ledger.open_snapshot() as connection:
        interrupted_batches = [
            (batch, list_batch_invoice_ids(connection, batch.batch_id))
            for batch in list_export_batches(connection, "assigned")
        ]
    for batch, invoice_ids in interrupted_batches:
        invoices = read_accepted_invoices(warehouse_directory, invoice_ids)
        if len(invoices) == len(invoice_ids):
            yield batch, invoices
        else:
            report.problems.append(
                f"{batch.batch_id} was not written: "
                f"the warehouse has {len(invoices)} of its {len(invoice_ids)} invoices"
            )
    last_invoice_id = ""
    while True:
        with app.ledger.open_snapshot() as connection:
            unexported_ids = list_unexported_invoice_ids(connection, MAX_INVOICES_PER_BATCH, last_invoice_id)
        if not unexported_ids:
            return
        if invoices := read_accepted_invoices(warehouse_directory, unexported_ids):
            yield None, invoices
        last_invoice_id = unexported_ids[-1]


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Assign the invoices to the batch in the ledger, write its files, and mark it as issued."""
    export_batch, invoices = batch
    if export_batch is None:
        invoice_ids, exports_directory = [invoice.invoice_id for invoice in invoices], app.settings.exports_directory
        with app.begin_leased_transaction("export") as tx:
            export_batch = create_export_batch(
                tx,
                invoice_ids,
                is_batch_id_taken=lambda batch_id: (exports_directory / batch_id).exists(),
                id_suffix=REHEARSAL_SUFFIX if app.is_rehearsal else "",
            )
    files = render_export_batch(export_batch, invoices)
    app.require_valid_lease("export")
    write_export_batch(app, export_batch, files)
    with app.begin_leased_transaction("export") as tx:
        mark_export_batch_issued(tx, export_batch, hash_manifest(files))
    report.export_batches.append(export_batch.batch_id)
    report.exported_invoices += len(invoices)
    report.advance_progress(1)


def render_export_batch(batch: ExportBatch, invoices: list[Invoice]) -> dict[str, bytes]:
    """Return a batch's files by name: always the same bytes for the same batch and invoices."""
    return render_batch_files(BatchHeader(batch.batch_id, batch.created_at), invoices)


def write_export_batch(app: App, batch: ExportBatch, files: dict[str, bytes]) -> Path:
    """Put a batch's files in place, all at once; return their directory."""
    return write_batch_folder(app.settings.exports_directory, BatchHeader(batch.batch_id, batch.created_at), files)


def hash_manifest(files: dict[str, bytes]) -> str:
    """Return the SHA-256 of the manifest, which itself holds the hashes of the other files."""
    return hashlib.sha256(files["manifest.json"]).hexdigest()
