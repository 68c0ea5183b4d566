"""Collect: new documents from the sources into the store and the ledger, then the configured action there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.source_visits import track_source_visit
from invoices.app import App
from invoices.ledger.mails import Arrival, record_arrivals
from invoices.run_report import RunReport
from invoices.settings import MailboxSettings

PROGRESS_LABEL, UNIT = "Collecting", "arrivals"

Batch = Sequence[Arrival]


def count_pending(_app: App) -> int | None:
    """Return None: only the end shows how much is new."""
    return None


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield what the sources list and the ledger does not have; its bytes are in the store already.

    A source that cannot be reached is a problem of the report, and the others are still visited. When the caller asks
    for the next batch, the documents of the last one are stored, and its mails may be marked, moved or deleted.
    """
    for source in app.settings.sources:
        with track_source_visit(app, source, report):
            if isinstance(source, MailboxSettings):
                from flows.mailboxes import collect_mailbox_arrivals

                yield from collect_mailbox_arrivals(app, source, report)
            else:
                from flows.folders import collect_folder_arrivals

                yield from collect_folder_arrivals(app, source, report)


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Record the mails, the sightings and the new documents."""
    with app.ledger.begin_transaction() as tx:
        report.new_documents += record_arrivals(tx, batch)
    report.advance_progress(len(batch))
