"""Collect: what the sources show, into the store and the ledger; then what is to become of it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.source_visits import track_source_visit
from invoices.app import App
from invoices.ledger.mails import Arrival, record_arrivals
from invoices.run_report import RunReport
from invoices.settings import MailboxSettings, SourceSettings

UNIT = "arrivals"

Batch = Sequence[Arrival]


def count_pending(_app: App) -> int | None:
    """Return None: how much is new is known only at the end."""
    return None


def iter_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield what the sources show and the ledger does not know; the bytes are in the store already.

    A source that cannot be reached is a problem of the report and no reason to leave the others alone. What is safe by
    the time the next batch is asked for is marked, moved or deleted at its source.
    """
    for source in app.settings.sources:
        with track_source_visit(app, source, report):
            yield from _collect_source_arrivals(app, source, report)


def _collect_source_arrivals(app: App, source: SourceSettings, report: RunReport) -> Iterator[Batch]:
    if isinstance(source, MailboxSettings):
        from flows import mailboxes

        return mailboxes.collect_mailbox_arrivals(app, source, report)
    from flows import folders

    return folders.collect_folder_arrivals(app, source, report)


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Write the mails, the sightings, and the documents that are new."""
    with app.ledger.begin_transaction() as tx:
        report.new_documents += record_arrivals(tx, batch)
    report.advance_progress(len(batch))
