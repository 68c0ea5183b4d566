"""Export: accepted invoices that are in no batch yet, as accounting files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from invoices.exports import Batch as FileBatch
from invoices.exports import render, write
from invoices.house import House
from invoices.ledger.batches import ExportBatch, assign, export_batch_list, invoices_in, issue, waiting_invoices
from invoices.model import Invoice
from invoices.report import Report

UNIT = "batches"
BATCH_SIZE = 10_000  # invoices

Batch = tuple[ExportBatch | None, list[Invoice]]  # a batch that was interrupted, or None for a new one


def total(_house: House) -> int | None:
    """Return None: how many batches there are is known only when the warehouse is asked."""
    return None


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield batches whose files are not in place yet, then the accepted invoices that are in none."""
    with house.ledger.reading() as connection:
        interrupted = [
            (batch, invoices_in(connection, batch.batch_id)) for batch in export_batch_list(connection, "assigned")
        ]
    for batch, invoices in interrupted:
        accepted = _accepted(house, invoices)
        if len(accepted) == len(invoices):
            yield batch, accepted
        else:
            report.problems.append(
                f"{batch.batch_id} is not written: the warehouse has {len(accepted)} of its {len(invoices)} invoices."
            )
    last = ""
    while waiting := _waiting(house, last):
        if accepted := _accepted(house, waiting):
            yield None, accepted
        last = waiting[-1]


def work(house: House, batch: Batch, report: Report) -> None:
    """Fix the batch in the ledger, write its files, and note that they are in place."""
    assigned, accepted = batch
    if assigned is None:
        wanted, directory = [invoice.invoice_id for invoice in accepted], house.settings.exports_directory
        with house.ledger.transaction() as tx:
            assigned = assign(tx, wanted, is_taken=lambda batch_id: (directory / batch_id).exists())
    files = render_files(assigned, accepted)
    write_files(house, assigned, files)
    with house.ledger.transaction() as tx:
        issue(tx, assigned, manifest_hash(files))
    report.export_batches.append(assigned.batch_id)
    report.exported_invoices += len(accepted)
    report.tick(1)


def render_files(batch: ExportBatch, accepted: list[Invoice]) -> dict[str, bytes]:
    """Return a batch's files by name: the same bytes whenever they are made."""
    return render(FileBatch(batch.batch_id, batch.created_at), accepted)


def write_files(house: House, batch: ExportBatch, files: dict[str, bytes]) -> Path:
    """Put a batch's files in place, all at once; return their directory."""
    return write(house.settings.exports_directory, FileBatch(batch.batch_id, batch.created_at), files)


def manifest_hash(files: dict[str, bytes]) -> str:
    """Return the hash of the manifest, which itself holds the hashes of the other files."""
    return hashlib.sha256(files["manifest.json"]).hexdigest()


def _waiting(house: House, last: str) -> list[str]:
    with house.ledger.reading() as connection:
        return waiting_invoices(connection, BATCH_SIZE, last)


def _accepted(house: House, invoices: list[str]) -> list[Invoice]:
    from transforms.loading.accepted import accepted_invoices

    return accepted_invoices(house.settings.warehouse_directory, invoices)
