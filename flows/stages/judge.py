"""Judge: the answers as canonical candidates, held to named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterator

from invoices.house import House
from invoices.ledger.documents import Pending, pending_count
from invoices.ledger.documents import pending as pending_documents
from invoices.report import Report

UNIT = "documents"

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many answered documents are not judged."""
    with house.ledger.reading() as connection:
        return pending_count(connection, "judge")


def pending(house: House, _report: Report) -> Iterator[Batch]:
    """Yield the answered documents that nobody has judged, in the order of arrival."""
    last = 0
    while batch := _next(house, last):
        yield batch
        last = batch[-1].sequence


def work(house: House, batch: Batch, report: Report) -> None:
    """Shape the answers, judge the candidates, and write verdicts, findings and where each document stands."""
    raise NotImplementedError


def _next(house: House, last: int) -> Batch:
    with house.ledger.reading() as connection:
        return pending_documents(connection, "judge", house.settings.batch_size, last)
