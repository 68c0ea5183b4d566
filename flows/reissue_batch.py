"""Writing an export batch again: the same invoices, the same instant, the same bytes."""

from __future__ import annotations

from pathlib import Path

from flows.stages.export import hash_manifest, render_export_batch, write_export_batch
from invoices.app import App
from invoices.errors import ConfigurationError, ContractError
from invoices.ledger.export_batches import find_manifest_sha256, list_batch_invoice_ids, list_export_batches
from transforms.loading.accepted_invoices import read_accepted_invoices


def reissue_batch(app: App, batch_id: str) -> Path:
    """Write the files of an issued batch again; return their directory.

    Raises:
        ConfigurationError: there is no such batch.
        ContractError: the warehouse no longer has what the batch was made of.
    """
    with app.ledger.open_snapshot() as connection:
        batch = next(
            (export_batch for export_batch in list_export_batches(connection) if export_batch.batch_id == batch_id),
            None,
        )
        if batch is None:
            raise ConfigurationError(f"there is no export batch {batch_id!r}; see: invoices status")
        invoice_ids, issued_manifest_hash = (
            list_batch_invoice_ids(connection, batch_id),
            find_manifest_sha256(connection, batch_id),
        )
    invoices = read_accepted_invoices(app.settings.warehouse_directory, invoice_ids)
    if len(invoices) != len(invoice_ids):
        raise ContractError(
            f"{batch_id}: the warehouse has {len(invoices)} of {len(invoice_ids)} invoices; try: invoices rebuild"
        )
    files = render_export_batch(batch, invoices)
    new_manifest_hash = hash_manifest(files)
    if issued_manifest_hash is not None and new_manifest_hash != issued_manifest_hash:
        raise ContractError(
            f"{batch_id}: the files differ from those issued (manifest {issued_manifest_hash[:12]}, now {new_manifest_hash[:12]})"
        )
    return write_export_batch(app, batch, files)
