"""Folders, wired: the source gets the ledger's memory; what is safe is then moved, where the settings say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from invoices.errors import ConfigurationError
from invoices.house import House
from invoices.ledger.messages import Arrival
from invoices.ledger.sightings import fingerprints
from invoices.report import Report
from invoices.settings import Folder, Settings
from sources.arriving import from_row
from sources.folder import Seen, folder, move_taken
from sources.folder.places import place_of, root_of
from sources.paging import PAGE_SIZE, pages


def arrivals(house: House, source: Folder, report: Report) -> Iterator[Sequence[Arrival]]:
    """Yield in pages what is new in a folder, and move what is safe if the settings say so.

    Raises:
        InvoicesError: the folder cannot be listed now; what was yielded is sound.
    """
    refuse_home(house.settings, source)
    if _is_our_own(house, source):
        Path(source.url).mkdir(mode=0o700, exist_ok=True)
    seen, known = Seen(), partial(_known, house, source.name)
    for page in pages(folder(source, house.store, house.unwrappers, known, seen)):
        yield [from_row(row) for row in page]
    report.known_files += seen.known
    report.remarks += [f"{name!r} is still being written; it is taken by a later run." for name in seen.growing]
    report.remarks += [f"Not taken: {reason}." for reason in seen.unreadable]
    if seen.beyond_cap:
        report.remarks.append(f"source {source.name!r}: {seen.beyond_cap} more files wait for later runs.")
    if house.rehearses and seen.movable:
        report.remarks.append(f"source {source.name!r}: a rehearsal leaves the files where they are.")
    else:
        report.remarks += move_taken(source, known, seen.movable)


def listing(house: House, source: Folder) -> Iterator[tuple[str, str | None]]:
    """Yield every file that the folder lists, with ``taken``, ``unreadable``, or None where the ledger lacks it.

    Raises:
        InvoicesError: the folder cannot be listed now.
    """
    refuse_home(house.settings, source)
    if _is_our_own(house, source) and not Path(source.url).exists():
        return  # the first run makes it
    with closing(place_of(source)) as at:
        at.check()
        found = at.files()
        while some := list(islice(found, PAGE_SIZE)):
            taken = _known(house, source.name, [one.location for one in some if not isinstance(one, str)])
            for one in some:
                if isinstance(one, str):  # why it cannot be looked at
                    yield one, "unreadable"
                else:
                    yield one.location, "taken" if one.fingerprint in taken.get(one.location, ()) else None


def refuse_home(settings: Settings, source: Folder) -> None:
    """Raise ConfigurationError where a folder holds the home, which then would be collected itself."""
    root = root_of(source).resolve()
    if not source.is_remote and root in (settings.home.resolve(), *settings.home.resolve().parents):
        raise ConfigurationError(
            f"the folder {source.url!r} of source {source.name!r} holds the home {str(settings.home)!r}: "
            "choose a folder in it, or a home elsewhere"
        )


def _is_our_own(house: House, source: Folder) -> bool:
    """Return whether the folder is the inbox below the home."""
    return house.settings.inbox.path is None and source.url == str(house.settings.inbox_directory)


def _known(house: House, source_name: str, locations: Sequence[str]) -> dict[str, set[str]]:
    with house.ledger.reading() as connection:
        return fingerprints(connection, source_name, locations)
