"""Documents in the store that the ledger does not know: they are adopted after a restore, or deleted after a scan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence

from flows.plurals import format_count
from invoices.app import App
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.ledger.documents import filter_known_hashes
from invoices.ledger.identity import Recovery, complete_recovery
from invoices.ledger.mails import Arrival
from invoices.ledger.sightings import STORE_SOURCE_KIND
from invoices.run_report import RunReport
from sources.arrivals import Origin, build_whole_sighting
from sources.paging import PAGE_SIZE

STORE_SOURCE_NAME = "document store"  # of the sighting of an adopted document
CLOCK_GRANULARITY = dt.timedelta(
    milliseconds=50
)  # of the times of files, which may be before the time that a clock shows
UNRECORDED_HINT = (
    "{count} in the store without a record in the ledger, which may have been restored; collect them with: "
    "invoices collect --adopt"
)
UNKNOWN_MEDIA_TYPE = "application/octet-stream"  # until the document is read


def list_unrecorded_hashes(ledger: Ledger, store: DocumentStore) -> list[str]:
    """Return the hashes of the documents in the store that the ledger does not know, sorted."""
    stored_hashes = sorted(store.iter_hashes())
    with ledger.open_snapshot() as connection:
        known_hashes = filter_known_hashes(connection, stored_hashes)
    return [sha256 for sha256 in stored_hashes if sha256 not in known_hashes]


def adopt_unrecorded_documents(app: App, report: RunReport) -> Iterator[Sequence[Arrival]]:
    """Yield pages of the documents in the store that a new or restored ledger lacks, so that they are recorded.

    Call it after the visits to the sources, which know more about the documents that they still have. Where a document
    came from is lost with the ledger; its sighting says that it was found in the store.
    """
    recovery = app.find_recovery("documents")
    if recovery is None:
        return
    if recovery.reason != "joined":  # a home that joins a ledger has lost no record
        hashes = [
            sha256
            for sha256 in list_unrecorded_hashes(app.ledger, app.store)
            if not _is_left_by_a_later_scan(app, sha256, recovery)
        ]
        for start in range(0, len(hashes), PAGE_SIZE):
            yield [_build_adopted_arrival(app, sha256) for sha256 in hashes[start : start + PAGE_SIZE]]
        if hashes:
            report.remarks.append(
                f"{format_count(len(hashes), 'document')} in the store had no record, because the ledger is new or was "
                f"restored. They are collected, from the source {STORE_SOURCE_NAME!r}."
            )
    with app.ledger.begin_transaction() as tx:
        complete_recovery(tx, "documents")


def delete_unrecorded_documents(app: App, stored_hashes: Collection[str]) -> None:
    """Delete those documents that a completed scan has stored and that no record names.

    These are parts of mails that a rule skips by their file names, and what was read from a file while it changed.
    Nothing is deleted from a store that another home may use: it may be about to record the same bytes.
    """
    if app.settings.ledger_url is not None or app.settings.documents_directory.is_symlink():
        return
    with app.ledger.open_snapshot() as connection:
        known_hashes = filter_known_hashes(connection, stored_hashes)
    for sha256 in set(stored_hashes) - known_hashes:
        app.store.delete(sha256)


def _is_left_by_a_later_scan(app: App, sha256: str, recovery: Recovery) -> bool:
    """Return whether a document was stored after the loss was noticed: a scan was killed, and repeats what it wants.

    A time in the future is from a clock that was wrong, and says nothing.
    """
    stored_at = dt.datetime.fromtimestamp(app.store.get_path(sha256).stat().st_mtime, dt.UTC)
    return recovery.since - CLOCK_GRANULARITY <= stored_at <= dt.datetime.now(dt.UTC)


def _build_adopted_arrival(app: App, sha256: str) -> Arrival:
    origin = Origin(STORE_SOURCE_NAME, STORE_SOURCE_KIND, f"{sha256[:2]}/{sha256}")
    return Arrival(
        [build_whole_sighting(origin, sha256, app.store.get_path(sha256).stat().st_size, UNKNOWN_MEDIA_TYPE)]
    )
