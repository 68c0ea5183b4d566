"""Collect: new documents from the sources into the store and the ledger, then the configured action there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.exc import OperationalError

from flows.source_visits import track_source_visit
from flows.unexpected_errors import describe_error
from flows.unrecorded_documents import adopt_unrecorded_documents
from invoices.app import App
from invoices.errors import InvoicesError
from invoices.ledger.mails import Arrival, record_arrivals
from invoices.run_report import RunReport
from invoices.settings import MailboxSettings
from sources.arrivals import remove_texts

PROGRESS_LABEL, UNIT = "Collecting", "arrivals"

Batch = Sequence[Arrival]


def count_pending(_app: App) -> int | None:
    """Return None: only the end shows how much is new."""
    return None


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield what the sources list and the ledger does not have; its bytes are in the store already.

    A source that cannot be reached is a problem of the report, and the others are still visited. When the caller asks
    for the next batch, the documents of the last one are stored, and its mails may be marked, moved or deleted. Last
    come documents that a restored ledger lacks, though the store has them.
    """
    for source in app.settings.sources:
        with track_source_visit(app, source, report):
            if isinstance(source, MailboxSettings):
                from flows.mailboxes import collect_mailbox_arrivals

                yield from collect_mailbox_arrivals(app, source, report)
            else:
                from flows.folders import collect_folder_arrivals

                yield from collect_folder_arrivals(app, source, report)
    yield from adopt_unrecorded_documents(app, report)


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Record the mails, the sightings and the new documents.

    If the ledger does not accept a value of one of them, that one is recorded without its texts, and is a problem.
    """
    try:
        _record_batch(app, batch, report)
    except (InvoicesError, OperationalError):  # the ledger cannot be written, so no item is the cause
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: no value of one item keeps the others out
        if len(batch) == 1:
            report.problems.append(_record_without_texts(app, batch[0], error, report))
        else:
            for arrival in batch:
                process_batch(app, [arrival], report)
            return
    report.advance_progress(len(batch))


def _record_batch(app: App, batch: Batch, report: RunReport) -> None:
    with app.ledger.begin_transaction() as tx:
        new_documents = record_arrivals(tx, batch)
    report.new_documents += new_documents


def _record_without_texts(app: App, arrival: Arrival, error: Exception, report: RunReport) -> str:
    """Record the arrival without its texts, and return the problem."""
    place = arrival.mail.folder if arrival.mail else arrival.sightings[0].location
    uid_note = f" UID {arrival.mail.uid}" if arrival.mail and arrival.mail.uid else ""
    name = f"{place!r}{uid_note}"
    cause = describe_error(app.settings, name, error)
    _record_batch(app, [remove_texts(arrival)], report)
    return f"{name} is collected without its names and subject, which cannot be recorded: {cause}"
