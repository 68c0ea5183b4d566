"""The queues that the stages work through: pending documents in the order of arrival, in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from invoices.app import App
from invoices.ledger.documents import (
    PendingDocument,
    Stage,
    count_pending_documents,
    filter_pending_documents,
    list_pending_documents,
)


def count_waiting_documents(app: App, stage: Stage) -> int:
    """Return how many documents wait for a stage."""
    with app.ledger.open_snapshot() as connection:
        if app.selected_documents is not None:
            return len(filter_pending_documents(connection, stage, app.selected_documents))
        return count_pending_documents(connection, stage)


def iter_waiting_batches(app: App, stage: Stage, batch_size: int | None = None) -> Iterator[list[PendingDocument]]:
    """Yield the documents that wait for a stage, each once, even if some of a batch are still waiting afterwards.

    ``batch_size`` is in documents and defaults to that of the settings.
    """
    if app.selected_documents is not None:
        yield from _iter_selected_batches(app, stage, batch_size)
        return
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
        if app.selected_documents is not None:
            for batch in _iter_selected_batches(app, stage):
                if app.claim_all_or_none([document.document_sha256 for document in batch]):
                    yield batch
                app.release_claims()
            return
        while batch := app.claim_documents(stage, app.settings.batch_size, last_sequence):
            yield batch
            last_sequence = batch[-1].sequence
            app.release_claims()


def _iter_selected_batches(app: App, stage: Stage, batch_size: int | None = None) -> Iterator[list[PendingDocument]]:
    """Yield those of the selected documents that wait for a stage."""
    with app.ledger.open_snapshot() as connection:
        selected = filter_pending_documents(connection, stage, app.selected_documents or ())
    size = batch_size or app.settings.batch_size
    for start in range(0, len(selected), size):
        yield selected[start : start + size]
