"""Writing an export batch again: the same invoices, the same instant, the same bytes."""

from __future__ import annotations

from pathlib import Path

from flows.stages.export import manifest_hash, render_files, write_files
from invoices.errors import ConfigurationError, ContractError
from invoices.house import House
from invoices.ledger.batches import export_batch_list, invoices_in, manifest_of
from transforms.loading.accepted import accepted_invoices


def reissue(house: House, batch_id: str) -> Path:
    """Write the files of an issued batch again; return their directory.

    Raises:
        ConfigurationError: there is no such batch.
        ContractError: the warehouse no longer has what the batch was made of.
    """
    with house.ledger.reading() as connection:
        batch = next((b for b in export_batch_list(connection) if b.batch_id == batch_id), None)
        if batch is None:
            raise ConfigurationError(f"there is no export batch {batch_id!r}; see: invoices status")
        wanted, issued = invoices_in(connection, batch_id), manifest_of(connection, batch_id)
    accepted = accepted_invoices(house.settings.warehouse_directory, wanted)
    if len(accepted) != len(wanted):
        raise ContractError(
            f"{batch_id}: the warehouse has {len(accepted)} of {len(wanted)} invoices; try: invoices rebuild"
        )
    files = render_files(batch, accepted)
    manifest = manifest_hash(files)
    if issued is not None and manifest != issued:
        raise ContractError(
            f"{batch_id}: the files differ from those issued (manifest {issued[:12]}, now {manifest[:12]})"
        )
    return write_files(house, batch, files)
