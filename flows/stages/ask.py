"""Ask: the extraction APIs, about the documents that do not speak for themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flows.queues import claimed_batches, waiting_count
from invoices.house import House
from invoices.ledger.documents import Pending
from invoices.report import Report

UNIT = "documents"

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many documents wait for an extraction API."""
    return waiting_count(house, "ask")


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield the documents that an extraction API has to read, and tell at the end what asking came to."""
    for batch in claimed_batches(house, "ask"):
        try:
            yield batch
        finally:
            _tell(house, report)
        if house.asking.order and len(house.asking.left_alone) == len(house.asking.order):
            return


def work(house: House, batch: Batch, report: Report) -> None:
    """Ask about each document until it is answered, set aside, or has to wait for a later run."""
    house.asking.ask(batch, report.tick)


def _tell(house: House, report: Report) -> None:
    """Put what asking came to since the last time into the report."""
    for name, asked in house.asking.take_asked().items():
        report.paid_calls += asked.calls
        report.paid_pages += asked.pages
        report.remarks += [remark for remark in asked.remarks if remark not in report.remarks]
        report.problems += asked.problems
        counts = report.asked.setdefault(name, Counter())
        counts.update(calls=asked.calls, pages=asked.pages, answered=asked.answered)
        counts.update(set_aside=asked.set_aside, passed_on=asked.passed_on)
    report.left_alone.update(house.asking.left_alone)
