"""Export: accepted invoices that are in no batch yet, as accounting files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.adopt_export_batches import adopt_unknown_batches
from invoices.app import App
from invoices.exports import REHEARSAL_SUFFIX, BatchHeader, build_export_key, write_batch_folder
from invoices.ledger.export_batches import (
    ExportBatch,
    create_export_batch,
    list_batch_invoice_ids,
    list_export_batches,
    list_unexported_invoice_ids,
    mark_export_batch_issued,
)
from invoices.run_report import RunReport

if TYPE_CHECKING:
    from transforms.loading.accepted_invoice_reader import InvoiceReference

PROGRESS_LABEL, UNIT = "Exporting", "batches"
MAX_INVOICES_PER_BATCH = 10_000
MAX_LINES_PER_BATCH = 200_000  # an invoice with more is a batch of its own

Batch = tuple[ExportBatch | None, "Sequence[InvoiceReference]"]  # an interrupted batch, or None for a new one


def count_pending(_app: App) -> int | None:
    """Return None: the number of batches depends on what the warehouse has."""
    return None


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield batches whose files are not in place yet, then the accepted invoices that are in no batch.

    Batches in the exports directory that the ledger does not have are recorded first.
    """
    from transforms.loading.accepted_invoice_reader import iter_reference_chunks, list_accepted_invoices

    if not adopt_unknown_batches(app, report):
        return
    warehouse_directory = app.settings.warehouse_directory
    with app.ledger.open_snapshot() as connection:
        interrupted_batches = [
            (batch, list_batch_invoice_ids(connection, batch.batch_id))
            for batch in list_export_batches(connection, "assigned")
        ]
    for batch, invoice_ids in interrupted_batches:
        references = list_accepted_invoices(warehouse_directory, invoice_ids)
        if len(references) == len(invoice_ids):
            yield batch, references
        else:
            report.problems.append(
                f"{batch.batch_id} was not written: "
                f"the warehouse has {len(references)} of its {len(invoice_ids)} invoices"
            )
    last_invoice_id = ""
    while True:
        with app.ledger.open_snapshot() as connection:
            unexported_ids = list_unexported_invoice_ids(connection, MAX_INVOICES_PER_BATCH, last_invoice_id)
        if not unexported_ids:
            return
        references = list_accepted_invoices(warehouse_directory, unexported_ids)
        for chunk in iter_reference_chunks(references, MAX_INVOICES_PER_BATCH, MAX_LINES_PER_BATCH):
            yield None, chunk
        last_invoice_id = unexported_ids[-1]


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Assign the invoices to the batch in the ledger, write its files, and mark it as issued."""
    export_batch, references = batch
    if export_batch is None:
        exports_directory = app.settings.exports_directory
        with app.begin_leased_transaction("export") as tx:
            export_batch = create_export_batch(
                tx,
                [reference.invoice_id for reference in references],
                is_batch_id_taken=lambda batch_id: (exports_directory / batch_id).exists(),
                id_suffix=REHEARSAL_SUFFIX if app.is_rehearsal else "",
            )
    folder = write_export_batch(app, export_batch, references, lambda _: app.require_valid_lease("export"))
    with app.begin_leased_transaction("export") as tx:
        mark_export_batch_issued(tx, export_batch, hash_manifest(folder))
    report.export_batches.append(export_batch.batch_id)
    report.exported_invoices += len(references)
    report.advance_progress(1)


def write_export_batch(
    app: App,
    batch: ExportBatch,
    references: Sequence[InvoiceReference],
    before_release: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a batch's files, show them all at once, and return their folder; the same batch gives the same bytes."""
    from transforms.loading.accepted_invoice_reader import OrderedInvoices, open_accepted_invoices

    with open_accepted_invoices(app.settings.warehouse_directory) as reader:
        sorted_references = sorted(
            references,
            key=lambda reference: build_export_key(
                reference.issued_on.isoformat(),
                reference.supplier_name,
                reference.invoice_number,
                reference.invoice_id,
            ),
        )
        return write_batch_folder(
            app.settings.exports_directory,
            BatchHeader(batch.batch_id, batch.created_at),
            OrderedInvoices(reader, sorted_references),
            before_release,
        )


def hash_manifest(folder: Path) -> str:
    """Return the SHA-256 of the manifest, which itself holds the hashes of the other files."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
