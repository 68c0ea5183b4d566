"""The queues that stages work off: documents in the order of arrival, in batches."""

from __future__ import annotations

from collections.abc import Iterator

from invoices.app import App
from invoices.ledger.documents import PendingDocument, Stage, count_pending_documents, list_pending_documents


def count_waiting_documents(app: App, stage: Stage) -> int:
    """Return how many documents wait for a stage."""
    with app.ledger.open_snapshot() as connection:
        return count_pending_documents(connection, stage)


def iter_waiting_batches(app: App, stage: Stage) -> Iterator[list[PendingDocument]]:
    """Yield the documents that wait for a stage, each once, however much of a batch is left waiting."""
    last_sequence = 0
    while batch := _read_next_batch(app, stage, last_sequence):
        yield batch
        last_sequence = batch[-1].sequence


def iter_claimed_batches(app: App, stage: Stage) -> Iterator[list[PendingDocument]]:
    """Yield the same, each batch in this worker's hands alone until the next one is asked for."""
    last_sequence = 0
    with app.renew_leases():
        while batch := app.claim_documents(stage, app.settings.batch_size, last_sequence):
            yield batch
            last_sequence = batch[-1].sequence
            app.release_claims()


def _read_next_batch(app: App, stage: Stage, after_sequence: int) -> list[PendingDocument]:
    with app.ledger.open_snapshot() as connection:
        return list_pending_documents(connection, stage, app.settings.batch_size, after_sequence)
