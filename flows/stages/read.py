"""Read: what each document says by itself, in limited processes, at no cost."""

from __future__ import annotations

from collections.abc import Iterator

from flows.queues import claimed_batches, waiting_count
from invoices.documents.scanning import Scanner
from invoices.extraction.reading import read_documents
from invoices.house import House
from invoices.ledger.documents import Pending
from invoices.report import Report

UNIT = "documents"

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many documents are unread."""
    return waiting_count(house, "read")


def pending(house: House, _report: Report) -> Iterator[Batch]:
    """Yield the documents that nobody has read."""
    return claimed_batches(house, "read")


def work(house: House, batch: Batch, report: Report) -> None:
    """Read the documents and write what comes next for each."""
    command = house.settings.reading.scanner_command
    scanner = Scanner(command) if command else None
    report.read += read_documents(house.ledger, house.store, house.readers, batch, report.tick, scanner)
