"""Batches in the exports directory that the ledger does not have, because it was restored: they count as issued."""

from __future__ import annotations

from flows.plurals import format_count
from invoices.app import App
from invoices.errors import ContractError
from invoices.exports.issued_batch import list_batch_folders, read_issued_batch
from invoices.ledger.export_batches import adopt_export_batch, list_export_batches
from invoices.run_report import RunReport


def adopt_unknown_batches(app: App, report: RunReport) -> bool:
    """Record the batches that the ledger does not have; return False if one cannot be read and nothing may be exported.

    Their invoices count as exported, also those that the ledger does not have yet.
    """
    with app.ledger.open_snapshot() as connection:
        known_batch_ids = {batch.batch_id for batch in list_export_batches(connection)}
    for directory in list_batch_folders(app.settings.exports_directory):
        if directory.name in known_batch_ids:
            continue
        try:
            issued_batch = read_issued_batch(directory)
        except ContractError as error:
            report.problems.append(str(error))
            return False
        with app.begin_leased_transaction("export") as tx:
            twice_exported_ids = adopt_export_batch(
                tx, issued_batch.batch_id, issued_batch.created_at, issued_batch.manifest_sha256,
                issued_batch.invoice_ids,
            )  # fmt: skip
        count = format_count(len(issued_batch.invoice_ids), "invoice")
        report.remarks.append(
            f"{directory.name} is in the exports directory and was not in the ledger: it has {count} that will not be "
            "exported again."
        )
        report.problems += [
            f"invoice {invoice_id} is in {directory.name} and in {batch_id}: tell the accountant, it was exported twice"
            for invoice_id, batch_id in twice_exported_ids.items()
        ]
    return True
