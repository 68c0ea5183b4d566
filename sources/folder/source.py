"""The dlt source over a directory: lands each document in the store, then tells of its sighting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import dlt
from dlt.extract import DltResource

from invoices.documents.sniffing import HEAD, media_type
from invoices.errors import ConfigurationError
from invoices.ledger.sightings import Sighting
from invoices.model import sighting_id
from sources.folder.listing import Entry, list_files, look_at, open_plainly

SOURCE_KIND = "folder"
PAGE_SIZE = 200  # sightings per page, and so per transaction of whoever records them
LOOKED_UP_TOGETHER = 500  # files

Known = Callable[[Sequence[str]], Mapping[str, Collection[str]]]  # locations → fingerprints that were taken there


class Store(Protocol):
    """Where documents are kept."""

    def put_file(self, source: BinaryIO) -> tuple[str, int]:
        """Keep what can be read from the open file; return its SHA-256 and its size."""
        ...


@dataclass(slots=True)
class Seen:
    """What a pass over the directory saw and did not take."""

    known: int = 0
    growing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


@dlt.source(name="folder", max_table_nesting=0)
def folder(
    source_name: str,
    root_directory: Path,
    store: Store,
    known: Known | None = None,
    settle_seconds: float = 2.0,
    seen: Seen | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> DltResource:
    """Load the sightings of every document below ``root_directory`` that is not ``known``.

    ``known`` is asked, for some locations at a time, which fingerprints were taken there before.

    The bytes are in ``store``, flushed to disk, before their sighting is told. A file changed within the last
    ``settle_seconds`` is looked at again after that time and taken only if it stayed as it was; else it is left for the
    next run and named in ``seen``, as is what cannot be read.

    Raises:
        ConfigurationError: ``root_directory`` is not there or cannot be listed.
    """
    _check(root_directory)
    known, seen = known or _nothing, seen if seen is not None else Seen()

    @dlt.resource(name="sightings", primary_key="sighting_id", write_disposition="merge")
    def sightings() -> Iterator[list[dict[str, Any]]]:
        page: list[dict[str, Any]] = []
        for entry in _settled(_new(root_directory, known, seen), settle_seconds, seen, sleep):
            taken = _take(source_name, entry, store, seen)
            if taken is not None:
                page.append(asdict(taken))
            if len(page) == PAGE_SIZE:
                yield page
                page = []
        if page:
            yield page

    return sightings


def _check(root: Path) -> None:
    """Refuse a folder that cannot be listed here, where dlt does not wrap the error yet."""
    try:
        os.scandir(root).close()
    except OSError as error:
        raise ConfigurationError(f"the folder {str(root)!r} cannot be listed: {error.strerror}") from error


def _nothing(_locations: Sequence[str]) -> Mapping[str, Collection[str]]:
    return {}


def _new(root: Path, known: Known, seen: Seen) -> Iterator[Entry]:
    found = list_files(root)
    while some := list(islice(found, LOOKED_UP_TOGETHER)):
        taken = known([entry.location for entry in some if isinstance(entry, Entry)])
        for entry in some:
            if isinstance(entry, str):
                seen.unreadable.append(entry)
            elif entry.fingerprint in taken.get(entry.location, ()):
                seen.known += 1
            else:
                yield entry


def _settled(
    entries: Iterator[Entry], settle_seconds: float, seen: Seen, sleep: Callable[[float], None]
) -> Iterator[Entry]:
    """Yield what is at rest, then what is still at rest after the wait; all in the order of the listing."""
    settled: list[Entry] = []
    young: list[Entry] = []
    newest_at_rest = time.time_ns() - int(settle_seconds * 1e9)
    for entry in entries:
        (settled if entry.modified_ns <= newest_at_rest else young).append(entry)
    if young:
        sleep(settle_seconds)
    for entry in young:
        if look_at(entry.path) == entry:
            settled.append(entry)
        else:
            seen.growing.append(entry.location)
    yield from sorted(settled, key=lambda entry: entry.path)


def _take(source_name: str, entry: Entry, store: Store, seen: Seen) -> Sighting | None:
    """Keep the bytes of one file, read through one descriptor; None if it changed meanwhile or cannot be read."""
    try:
        opened = open_plainly(entry.path)
    except OSError as error:
        seen.unreadable.append(f"{entry.location!r} cannot be read: {error.strerror}")
        return None
    with opened:
        if look_at(entry.path) != entry:  # also what became a pipe, which would have no end
            seen.growing.append(entry.location)
            return None
        document, size = store.put_file(opened)
        head = os.pread(opened.fileno(), HEAD, 0)
    if look_at(entry.path) != entry or size != entry.size:
        seen.growing.append(entry.location)
        return None
    return Sighting(
        sighting_id=sighting_id(source_name, entry.location, document),
        document_sha256=document,
        media_type=media_type(head),
        byte_count=size,
        source_name=source_name,
        source_kind=SOURCE_KIND,
        location=entry.location,
        file_name=entry.location.rpartition("/")[2],
        fingerprint=entry.fingerprint,
    )
