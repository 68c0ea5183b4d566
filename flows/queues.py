"""The queues that stages work off: documents in the order of arrival, in batches."""

from __future__ import annotations

from collections.abc import Iterator

from invoices.house import House
from invoices.ledger.documents import Pending, Stage, pending, pending_count


def waiting_count(house: House, stage: Stage) -> int:
    """Return how many documents wait for a stage."""
    with house.ledger.reading() as connection:
        return pending_count(connection, stage)


def batches(house: House, stage: Stage) -> Iterator[list[Pending]]:
    """Yield the documents that wait for a stage, each once, however much of a batch is left waiting."""
    last = 0
    while batch := _next(house, stage, last):
        yield batch
        last = batch[-1].sequence


def claimed_batches(house: House, stage: Stage) -> Iterator[list[Pending]]:
    """Yield the same, each batch in this worker's hands alone until the next one is asked for."""
    last = 0
    with house.keeping_claims():
        while batch := house.claim_documents(stage, house.settings.batch_size, last):
            yield batch
            last = batch[-1].sequence
            house.let_go()


def _next(house: House, stage: Stage, after: int) -> list[Pending]:
    with house.ledger.reading() as connection:
        return pending(connection, stage, house.settings.batch_size, after)
