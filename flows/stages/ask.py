"""Ask: an extraction API, about the documents that do not speak for themselves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from flows.queues import batches, waiting_count
from invoices.extraction.smartbills_com import EXTRACTOR, Asked, SmartBillsExtraction
from invoices.house import House
from invoices.ledger.documents import Pending, settle
from invoices.report import Report

UNIT = "documents"
NO_EXTRACTOR = "Only an extraction service can read it, and none is set up: set INVOICES_SMARTBILLS_COM__API_KEY."

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many documents wait for an extraction API."""
    return waiting_count(house, "ask")


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield the documents that an extraction API has to read, until it has to be left alone."""
    return takewhile(lambda _batch: EXTRACTOR not in report.left_alone, batches(house, "ask"))


def work(house: House, batch: Batch, report: Report) -> None:
    """Ask about each document until it is answered, set aside, or has to wait for a later run."""
    if EXTRACTOR not in house.settings.extractors or house.smartbills_com is None:
        _leave_waiting(house, batch)
        report.tick(len(batch))
        return
    part = house.settings.smartbills_com
    extraction = SmartBillsExtraction(
        house.ledger,
        house.store,
        house.smartbills_com,
        house.smartbills_com_budget,
        repeat_after_unknown=part.repeat_after_unknown,
        deadline_minutes=part.deadline_minutes,
    )
    asked = Asked()
    if not extraction.ask(batch, asked, report.tick):
        report.left_alone.add(EXTRACTOR)
    report.paid_calls += asked.calls
    report.paid_pages += asked.pages
    report.problems += asked.problems


def _leave_waiting(house: House, batch: Batch) -> None:
    with house.ledger.transaction() as tx:
        for document in batch:
            settle(
                tx, document.document_sha256, stage="ask", state="waiting", reason_code="no_extractor",
                reason=NO_EXTRACTOR,
            )  # fmt: skip
