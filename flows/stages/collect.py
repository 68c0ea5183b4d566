"""Collect: what the sources show, into the store and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from invoices.house import House
from invoices.ledger.sightings import Sighting, fingerprints, record_sighting
from invoices.report import Report
from sources.folder import Seen, folder

UNIT = "files"
BATCH_SIZE = 200

Batch = list[dict[str, Any]]


def total(_house: House) -> int | None:
    """Return None: how many files are new is known only at the end."""
    return None


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield what the inbox shows and the ledger does not know; the bytes are in the store already."""
    settings, seen = house.settings, Seen()
    if settings.inbox.path is None:
        settings.inbox_directory.mkdir(mode=0o700, exist_ok=True)

    def known(locations: Sequence[str]) -> dict[str, set[str]]:
        with house.ledger.reading() as connection:
            return fingerprints(connection, settings.inbox.name, locations)

    source = folder(
        source_name=settings.inbox.name,
        root_directory=settings.inbox_directory,
        store=house.store,
        known=known,
        settle_seconds=settings.inbox.settle_seconds,
        seen=seen,
    )
    sightings = iter(source)
    while batch := list(islice(sightings, BATCH_SIZE)):
        yield batch
    report.known_files += seen.known
    report.remarks += [f"{name!r} is still being written; it is taken by a later run." for name in seen.growing]
    report.remarks += [f"Not taken: {reason}." for reason in seen.unreadable]


def work(house: House, batch: Batch, report: Report) -> None:
    """Write the sightings, and the documents that are new."""
    with house.ledger.transaction() as tx:
        report.new_documents += sum(record_sighting(tx, Sighting(**sighting)) for sighting in batch)
    report.tick(len(batch))
