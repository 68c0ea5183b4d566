"""Read: what each document says by itself, in limited processes, at no cost."""

from __future__ import annotations

from collections.abc import Iterator

from invoices.extraction.reading import read_documents
from invoices.house import House
from invoices.ledger.documents import Pending, pending_count
from invoices.ledger.documents import pending as pending_documents
from invoices.report import Report

UNIT = "documents"

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many documents are unread."""
    with house.ledger.reading() as connection:
        return pending_count(connection, "read")


def pending(house: House, _report: Report) -> Iterator[Batch]:
    """Yield the documents that nobody has read, in the order of arrival."""
    last = 0
    while batch := _next(house, last):
        yield batch
        last = batch[-1].sequence


def work(house: House, batch: Batch, report: Report) -> None:
    """Read the documents and write what comes next for each."""
    report.read += read_documents(house.ledger, house.store, house.readers, batch, report.tick)


def _next(house: House, last: int) -> Batch:
    with house.ledger.reading() as connection:
        return pending_documents(connection, "read", house.settings.batch_size, last)
