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

from invoices.documents.landing import Landing
from invoices.ledger.messages import Arrival
from invoices.settings.intake import Folder
from sources.arriving import as_row
from sources.folder.places import Changed, FolderAt, Found, Unreadable, place_of
from sources.folder.taking import Desk, Unwraps, take

PAGE_SIZE = 200  # arrivals per page, and so per transaction of whoever records them
LOOKED_UP_TOGETHER = 500  # files
CLOCKS_DIFFER_NS = 24 * 60 * 60 * 10**9  # how far the clock of a share may be from ours, wrong time zones included

Known = Callable[[Sequence[str]], Mapping[str, Collection[str]]]  # locations → fingerprints that were taken there


class Store(Protocol):
    """Where documents are kept."""

    def landing(self) -> Landing:
        """Return what many documents are put into to be made durable together."""
        ...


@dataclass(slots=True)
class Seen:
    """What a pass over the folder saw and did not take."""

    known: int = 0
    growing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    beyond_cap: int = 0  # new files that are left for later runs
    movable: list[Found] = field(default_factory=list)  # with ``after = move:…``: what is to be moved once it is safe


@dlt.source(name="folder", max_table_nesting=0)
def folder(
    folder_settings: Folder,
    store: Store,
    unwrappers: Unwraps,
    known: Known | None = None,
    seen: Seen | None = None,
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
    at = place_of(folder_settings)
    at.check()
    visit = _Visit(folder_settings, at, known or _nothing, seen if seen is not None else Seen(), sleep)

    @dlt.resource(name="arrivals", primary_key="arrival_id", write_disposition="merge")
    def arrivals() -> Iterator[list[dict[str, Any]]]:
        with contextlib.closing(at), store.landing() as landing:
            shown = visit.arrivals(Desk(folder_settings, at, landing, unwrappers))
            while page := [_row(arrival) for arrival in islice(shown, PAGE_SIZE)]:
                landing.settle()
                yield page

    return arrivals


def _row(arrival: Arrival) -> dict[str, Any]:
    key = arrival.message.message_key if arrival.message else arrival.sightings[0].sighting_id
    return as_row(arrival) | {"arrival_id": key}


def _nothing(_locations: Sequence[str]) -> Mapping[str, Collection[str]]:
    return {}


@dataclass(frozen=True, slots=True)
class _New:
    """A file that is not known as it is now, and what was taken from it before."""

    found: Found
    taken_there: Collection[str]


@dataclass(frozen=True, slots=True)
class _Visit:
    """One pass over a folder."""

    settings: Folder
    at: FolderAt
    known: Known
    seen: Seen
    sleep: Callable[[float], None]

    def arrivals(self, desk: Desk) -> Iterator[Arrival]:
        """Yield what every new file brings, in the order of the settings."""
        for new in self._chosen(self._at_rest(list(self._new()))):
            try:
                yield from take(desk, new.found, new.taken_there)
                self._remember(new.found)
            except Changed:
                self.seen.growing.append(new.found.location)
            except Unreadable as error:
                self.seen.unreadable.append(f"{new.found.location!r} cannot be read: {error}")

    def _new(self) -> Iterator[_New]:
        found = self.at.files()
        while some := list(islice(found, LOOKED_UP_TOGETHER)):
            taken = self.known([each.location for each in some if not isinstance(each, str)])
            for each in some:
                if isinstance(each, str):
                    self.seen.unreadable.append(each)
                elif each.fingerprint in taken.get(each.location, ()):
                    self.seen.known += 1
                    self._remember(each)
                else:
                    yield _New(each, taken.get(each.location, ()))

    def _remember(self, found: Found) -> None:
        if self.settings.after != "keep":
            self.seen.movable.append(found)

    def _at_rest(self, new: list[_New]) -> list[_New]:
        """Return what nobody writes to: what has been the same for long, or before and after the wait."""
        settle_seconds = self.settings.settle_seconds
        newest = time.time_ns() - max(int(settle_seconds * 1e9), CLOCKS_DIFFER_NS)
        young = [each.found for each in new if each.found.modified_ns > newest]
        if not (young and settle_seconds and self.at.may_grow):
            return new
        self.sleep(settle_seconds)
        changed = {each.location for each in self.at.changed(young)}
        self.seen.growing += sorted(changed)
        return [each for each in new if each.found.location not in changed]

    def _chosen(self, new: list[_New]) -> list[_New]:
        if self.settings.order != "name":
            new = sorted(new, key=lambda each: each.found.modified_ns, reverse=self.settings.order == "newest")
        some = new[: self.settings.files_per_run]
        self.seen.beyond_cap = len(new) - len(some)
        return some
