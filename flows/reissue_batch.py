"""Write an issued export batch again: the same invoices and the same timestamp give the same bytes."""

from __future__ import annotations

from pathlib import Path

from flows.stages.export import write_export_batch
from invoices.app import App
from invoices.errors import ConfigurationError, ContractError
from invoices.ledger.export_batches import find_manifest_sha256, list_batch_invoice_ids, list_export_batches
from transforms.loading.accepted_invoice_reader import list_accepted_invoices


def reissue_batch(app: App, batch_id: str) -> Path:
    """Write the files of an issued batch again; return their directory.

    Raises:
        ConfigurationError: there is no such batch.
        ContractError: the warehouse no longer has the invoices of the batch, or they have changed.
    """
    with app.ledger.open_snapshot() as connection:
        batches = {batch.batch_id: batch for batch in list_export_batches(connection)}
        if batch_id not in batches:
            raise ConfigurationError(f"there is no export batch {batch_id!r}; see: invoices status")
        invoice_ids = list_batch_invoice_ids(connection, batch_id)
        issued_manifest_hash = find_manifest_sha256(connection, batch_id)
    references = list_accepted_invoices(app.settings.warehouse_directory, invoice_ids)
    if len(references) != len(invoice_ids):
        raise ContractError(
            f"{batch_id}: the warehouse has {len(references)} of its {len(invoice_ids)} invoices; try: invoices rebuild"
        )

    def require_issued_manifest(manifest_hash: str) -> None:
        if issued_manifest_hash is not None and manifest_hash != issued_manifest_hash:
            raise ContractError(
                f"{batch_id}: the files would differ from those issued "
                f"(issued manifest {issued_manifest_hash[:12]}, now {manifest_hash[:12]}); nothing was written"
            )

    return write_export_batch(app, batches[batch_id], references, require_issued_manifest)
