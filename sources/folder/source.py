"""The dlt source over a folder: lands what is new in the store, then tells of its arrival."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import dlt
from dlt.extract import DltResource

from invoices.documents.store_batch import StoreBatch
from invoices.ledger.mails import Arrival
from invoices.settings.sources import FolderSettings
from sources.arrivals import to_row
from sources.folder.fetch import ContainerOpener, FetchContext, fetch_file_arrivals
from sources.folder.local_folder import (
    FileChangedError,
    FileUnreadableError,
    FolderBackend,
    ListedFile,
    open_folder_backend,
)

PAGE_SIZE = 200  # arrivals per page, and so per transaction of whoever records them
LOOKUP_BATCH_SIZE = 500  # files
MAX_CLOCK_SKEW_NS = 24 * 60 * 60 * 10**9  # how far the clock of a share may be from ours, wrong time zones included

FingerprintLookup = Callable[
    [Sequence[str]], Mapping[str, Collection[str]]
]  # locations → fingerprints that were taken there


class BatchStore(Protocol):
    """Where documents are kept."""

    def open_batch(self) -> StoreBatch:
        """Return what many documents are put into to be made durable together."""
        ...


@dataclass(slots=True)
class FolderScanState:
    """What a pass over the folder saw and did not take."""

    known_count: int = 0
    changing_files: list[str] = field(default_factory=list)
    unreadable_files: list[str] = field(default_factory=list)
    over_limit_count: int = 0  # new files that are left for later runs
    movable_files: list[ListedFile] = field(
        default_factory=list
    )  # with ``after = move:…``: what is to be moved once it is safe


@dlt.source(name="folder", max_table_nesting=0)
def build_folder_source(
    folder_settings: FolderSettings,
    store: BatchStore,
    container_opener: ContainerOpener,
    lookup_fingerprints: FingerprintLookup | None = None,
    scan_state: FolderScanState | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> DltResource:
    """Load the arrivals of every file in the folder that is not ``known``: pages of at most 200.

    ``known`` is asked, for some locations at a time, which fingerprints were taken there before.

    The bytes are in ``store``, flushed to disk, before their arrival is told. A file changed within the last day, or
    in the future, is looked at again after ``settle_seconds``, all such files in one wait, and taken only if it stayed
    as it was; else it is left for the next run and named in ``seen``, as is what cannot be read.

    Raises:
        ConfigurationError: the folder is not there, cannot be listed, or lets nobody in with these settings.
        TransientError: the server of a remote folder cannot be reached.
    """
    backend = open_folder_backend(folder_settings)
    backend.check_listable()
    scan = _FolderScan(
        folder_settings,
        backend,
        lookup_fingerprints or _find_no_fingerprints,
        scan_state if scan_state is not None else FolderScanState(),
        sleep,
    )

    @dlt.resource(name="arrivals", primary_key="arrival_id", write_disposition="merge")
    def load_arrival_pages() -> Iterator[list[dict[str, Any]]]:
        with contextlib.closing(backend), store.open_batch() as store_batch:
            arrivals = scan.fetch_arrivals(FetchContext(folder_settings, backend, store_batch, container_opener))
            while page := [_build_resource_row(arrival) for arrival in islice(arrivals, PAGE_SIZE)]:
                store_batch.flush()
                yield page

    return load_arrival_pages


def _build_resource_row(arrival: Arrival) -> dict[str, Any]:
    key = arrival.mail.message_key if arrival.mail else arrival.sightings[0].sighting_id
    return to_row(arrival) | {"arrival_id": key}


def _find_no_fingerprints(_locations: Sequence[str]) -> Mapping[str, Collection[str]]:
    return {}


@dataclass(frozen=True, slots=True)
class _NewFile:
    """A file that is not known as it is now, and what was taken from it before."""

    file: ListedFile
    known_fingerprints: Collection[str]


@dataclass(frozen=True, slots=True)
class _FolderScan:
    """One pass over a folder."""

    settings: FolderSettings
    backend: FolderBackend
    lookup_fingerprints: FingerprintLookup
    scan_state: FolderScanState
    sleep: Callable[[float], None]

    def fetch_arrivals(self, context: FetchContext) -> Iterator[Arrival]:
        """Yield what every new file brings, in the order of the settings."""
        for new_file in self._apply_order_and_limit(self._filter_stable_files(list(self._list_new_files()))):
            try:
                yield from fetch_file_arrivals(context, new_file.file, new_file.known_fingerprints)
                self._note_movable_file(new_file.file)
            except FileChangedError:
                self.scan_state.changing_files.append(new_file.file.location)
            except FileUnreadableError as error:
                self.scan_state.unreadable_files.append(f"{new_file.file.location!r} cannot be read: {error}")

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
        """Return what nobody writes to: what has been the same for long, or before and after the wait."""
        settle_seconds = self.settings.settle_seconds
        stable_before_ns = time.time_ns() - max(int(settle_seconds * 1e9), MAX_CLOCK_SKEW_NS)
        recent_files = [item.file for item in new_files if item.file.modified_ns > stable_before_ns]
        if not (recent_files and settle_seconds and self.backend.may_list_partial_files):
            return new_files
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
