"""Collect: what the sources show, into the store and the ledger; then what is to become of it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.visiting import visiting
from invoices.house import House
from invoices.ledger.messages import Arrival, record_arrivals
from invoices.report import Report
from invoices.settings import Mailbox, Source

UNIT = "arrivals"

Batch = Sequence[Arrival]


def total(_house: House) -> int | None:
    """Return None: how much is new is known only at the end."""
    return None


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield what the sources show and the ledger does not know; the bytes are in the store already.

    A source that cannot be reached is a problem of the report and no reason to leave the others alone. What is safe by
    the time the next batch is asked for is marked, moved or deleted at its source.
    """
    for source in house.settings.sources:
        with visiting(house, source, report):
            yield from _arrivals(house, source, report)


def _arrivals(house: House, source: Source, report: Report) -> Iterator[Batch]:
    if isinstance(source, Mailbox):
        from flows import mailboxes

        return mailboxes.arrivals(house, source, report)
    from flows import folders

    return folders.arrivals(house, source, report)


def work(house: House, batch: Batch, report: Report) -> None:
    """Write the mails, the sightings, and the documents that are new."""
    with house.ledger.transaction() as tx:
        report.new_documents += record_arrivals(tx, batch)
    report.tick(len(batch))
