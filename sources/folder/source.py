"""The dlt source of a folder: stores the bytes of new files first, then yields their arrivals."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import dlt
from dlt.extract import DltResource

from invoices.documents.store_batch import StoreBatch
from invoices.errors import InvoicesError
from invoices.ledger.mails import Arrival
from invoices.settings.sources import FolderSettings
from sources.arrivals import to_row
from sources.folder.backend_factory import open_folder_backend
from sources.folder.fetch import ContainerOpener, FetchContext, fetch_file_arrivals
from sources.folder.folder_backend import (
    LOOKUP_BATCH_SIZE,
    FileChangedError,
    FileUnreadableError,
    FingerprintLookup,
    FolderBackend,
    ListedFile,
)
from sources.paging import PAGE_SIZE, Row

MAX_CLOCK_SKEW_NS = 24 * 60 * 60 * 10**9  # how far the clock of a share may differ from ours, wrong time zones included


class BatchStore(Protocol):
    """The store that documents are written to."""

    def open_batch(self) -> StoreBatch:
        """Return a batch whose documents are made durable together."""
        ...


@dataclass(slots=True)
class FolderScanState:
    """The files of a folder that a scan did not collect, and those that may be moved afterwards."""

    known_count: int = 0
    changing_files: list[str] = field(default_factory=list)
    unreadable_files: list[str] = field(default_factory=list)
    over_limit_count: int = 0  # new files that a later run collects
    stored_hashes: set[str] = field(default_factory=set)  # documents added to the store, with an arrival or without
    failures: list[tuple[str, Exception]] = field(default_factory=list)  # files over which this program failed
    record_activity: Callable[[str], None] = lambda _: None  # called with what the scan begins on, such as a file
    movable_files: list[ListedFile] = field(default_factory=list)  # to be moved once recorded, with ``after = move:…``


@dlt.source(name="folder", max_table_nesting=0)
def build_folder_source(
    folder_settings: FolderSettings,
    store: BatchStore,
    container_opener: ContainerOpener,
    lookup_fingerprints: FingerprintLookup | None = None,
    scan_state: FolderScanState | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> DltResource:
    """Load the arrivals of every file in the folder that is not recorded yet, in pages of at most 200.

    ``lookup_fingerprints`` returns the fingerprints that are recorded for some locations; without it nothing is.

    The bytes are in ``store``, flushed to disk, before their arrival is yielded. A file that was changed within the
    last day, or in the future, is inspected again after ``settle_seconds`` (one wait for all such files), and is
    collected only if it did not change. Otherwise a later run collects it, and ``scan_state`` names it. Files that
    cannot be read are named there, too.

    Raises:
        ConfigurationError: the folder does not exist, cannot be listed, or refuses access with these settings.
        TransientError: the server of a remote folder cannot be reached.
    """
    backend = open_folder_backend(folder_settings)
    backend.check_listable()
    scan = _FolderScan(
        folder_settings,
        backend,
        lookup_fingerprints or (lambda _locations: {}),
        scan_state if scan_state is not None else FolderScanState(),
        sleep,
    )

    @dlt.resource(name="arrivals", primary_key="arrival_id", write_disposition="merge")
    def load_arrival_pages() -> Iterator[list[Row]]:
        with contextlib.closing(backend), store.open_batch() as store_batch:
            arrivals = scan.fetch_arrivals(FetchContext(folder_settings, backend, store_batch, container_opener))
            while page := list(islice(arrivals, PAGE_SIZE)):
                store_batch.flush()
                yield [
                    to_row(arrival)
                    | {"arrival_id": arrival.mail.message_key if arrival.mail else arrival.sightings[0].sighting_id}
                    for arrival in page
                ]
        scan.scan_state.stored_hashes |= store_batch.new_hashes

    return load_arrival_pages


@dataclass(frozen=True, slots=True)
class _NewFile:
    """A file that is not recorded with its present fingerprint, and the fingerprints that are."""

    file: ListedFile
    known_fingerprints: Collection[str]


@dataclass(frozen=True, slots=True)
class _FolderScan:
    """One scan of a folder."""

    settings: FolderSettings
    backend: FolderBackend
    lookup_fingerprints: FingerprintLookup
    scan_state: FolderScanState
    sleep: Callable[[float], None]

    def fetch_arrivals(self, context: FetchContext) -> Iterator[Arrival]:
        """Yield the arrivals of every new file, in the order of the settings."""
        for new_file in self._apply_order_and_limit(self._filter_stable_files(list(self._list_new_files()))):
            self.scan_state.record_activity(f"the file {new_file.file.location!r}")
            try:
                yield from fetch_file_arrivals(context, new_file.file, new_file.known_fingerprints)
                self._note_movable_file(new_file.file)
            except FileChangedError:
                self.scan_state.changing_files.append(new_file.file.location)
            except FileUnreadableError as error:
                self.scan_state.unreadable_files.append(f"{new_file.file.location!r} cannot be read: {error}")
            except (InvoicesError, OSError):  # of the server or of the store
                raise
            except Exception as error:  # noqa: BLE001 - the last resort: no value in a file prevents that others are fetched
                self.scan_state.failures.append((f"the file {new_file.file.location!r}", error))

    def _list_new_files(self) -> Iterator[_NewFile]:
        listed_files = self.backend.list_files()
        while batch := list(islice(listed_files, LOOKUP_BATCH_SIZE)):
            fingerprints_by_location = self.lookup_fingerprints(
                [item.location for item in batch if not isinstance(item, str)]
            )
            for item in batch:
                if isinstance(item, str):
                    self.scan_state.unreadable_files.append(item)
                elif item.fingerprint in fingerprints_by_location.get(item.location, ()):
                    self.scan_state.known_count += 1
                    self._note_movable_file(item)
                else:
                    yield _NewFile(item, fingerprints_by_location.get(item.location, ()))

    def _note_movable_file(self, file: ListedFile) -> None:
        if self.settings.after != "keep":
            self.scan_state.movable_files.append(file)

    def _filter_stable_files(self, new_files: list[_NewFile]) -> list[_NewFile]:
        """Return the files that nobody writes to: unchanged for a day, or the same before and after the wait."""
        settle_seconds = self.settings.settle_seconds
        stable_before_ns = time.time_ns() - max(int(settle_seconds * 1e9), MAX_CLOCK_SKEW_NS)
        recent_files = [item.file for item in new_files if item.file.modified_ns > stable_before_ns]
        if not (recent_files and settle_seconds and self.backend.may_list_partial_files):
            return new_files
        self.scan_state.record_activity("the wait for files that may still be written")
        self.sleep(settle_seconds)
        changed_locations = {item.location for item in self.backend.list_changed_files(recent_files)}
        self.scan_state.changing_files += sorted(changed_locations)
        return [item for item in new_files if item.file.location not in changed_locations]

    def _apply_order_and_limit(self, new_files: list[_NewFile]) -> list[_NewFile]:
        if self.settings.order != "name":
            new_files = sorted(
                new_files, key=lambda item: item.file.modified_ns, reverse=self.settings.order == "newest"
            )
        selected_files = new_files[: self.settings.files_per_run]
        self.scan_state.over_limit_count = len(new_files) - len(selected_files)
        return selected_files
