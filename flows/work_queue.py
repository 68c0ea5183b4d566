"""The queues that the stages work through: pending documents in the order of arrival, in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from invoices.app import App
from invoices.ledger.documents import PendingDocument, Stage, count_pending_documents, list_pending_documents


def count_waiting_documents(app: App, stage: Stage) -> int:
    """Return how many documents wait for a stage."""
    with app.ledger.open_snapshot() as connection:
        return count_pending_documents(connection, stage)


def iter_waiting_batches(app: App, stage: Stage, batch_size: int | None = None) -> Iterator[list[PendingDocument]]:
    """Yield the documents that wait for a stage, each once, even if some of a batch are still waiting afterwards.

    ``batch_size`` is in documents and defaults to that of the settings.
    """
    last_sequence = 0
    while True:
        with app.ledger.open_snapshot() as connection:
            batch = list_pending_documents(connection, stage, batch_size or app.settings.batch_size, last_sequence)
        if not batch:
            return
        yield batch
        last_sequence = batch[-1].sequence


def iter_claimed_batches(app: App, stage: Stage) -> Generator[list[PendingDocument], None, None]:
    """Yield the same, but claim each batch for this worker until the caller asks for the next one."""
    last_sequence = 0
    with app.renew_leases():
        while batch := app.claim_documents(stage, app.settings.batch_size, last_sequence):
            yield batch
            last_sequence = batch[-1].sequence
            app.release_claims()
