"""Folders, wired: the source gets the ledger's memory; what is safe is then moved, where the settings say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from invoices.app import App
from invoices.errors import ConfigurationError
from invoices.ledger.mails import Arrival
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, Settings
from sources.arrivals import from_row
from sources.folder import FolderScanState, build_folder_source, move_recorded_files
from sources.folder.backend_factory import open_folder_backend
from sources.folder.local_folder import resolve_folder_root
from sources.paging import PAGE_SIZE, iter_row_pages


def collect_folder_arrivals(app: App, source: FolderSettings, report: RunReport) -> Iterator[Sequence[Arrival]]:
    """Yield in pages what is new in a folder, and move what is safe if the settings say so.

    Raises:
        InvoicesError: the folder cannot be listed now; what was yielded is sound.
    """
    refuse_folder_containing_home(app.settings, source)
    if _is_default_inbox(app, source):
        Path(source.url).mkdir(mode=0o700, exist_ok=True)
    scan_state, read_known_fingerprints = FolderScanState(), partial(_read_known_fingerprints, app, source.name)
    for page in iter_row_pages(
        build_folder_source(source, app.store, app.container_opener_pool, read_known_fingerprints, scan_state)
    ):
        yield [from_row(row) for row in page]
    report.known_files += scan_state.known_count
    report.remarks += [
        f"{name!r} is still being written; it is taken by a later run." for name in scan_state.changing_files
    ]
    report.remarks += [f"Not taken: {reason}." for reason in scan_state.unreadable_files]
    if scan_state.over_limit_count:
        report.remarks.append(f"source {source.name!r}: {scan_state.over_limit_count} more files wait for later runs.")
    if app.is_rehearsal and scan_state.movable_files:
        report.remarks.append(f"source {source.name!r}: a rehearsal leaves the files where they are.")
    else:
        report.remarks += move_recorded_files(source, read_known_fingerprints, scan_state.movable_files)


def list_files_with_outcome(app: App, source: FolderSettings) -> Iterator[tuple[str, str | None]]:
    """Yield every file that the folder lists, with ``taken``, ``unreadable``, or None where the ledger lacks it.

    Raises:
        InvoicesError: the folder cannot be listed now.
    """
    refuse_folder_containing_home(app.settings, source)
    if _is_default_inbox(app, source) and not Path(source.url).exists():
        return  # the first run makes it
    with closing(open_folder_backend(source)) as folder_backend:
        folder_backend.check_listable()
        files = folder_backend.list_files()
        while page := list(islice(files, PAGE_SIZE)):
            known_fingerprints = _read_known_fingerprints(
                app, source.name, [file.location for file in page if not isinstance(file, str)]
            )
            for file in page:
                if isinstance(file, str):  # why it cannot be looked at
                    yield file, "unreadable"
                else:
                    yield (
                        file.location,
                        "taken" if file.fingerprint in known_fingerprints.get(file.location, ()) else None,
                    )


def refuse_folder_containing_home(settings: Settings, source: FolderSettings) -> None:
    """Raise ConfigurationError where a folder holds the home, which then would be collected itself."""
    root = resolve_folder_root(source).resolve()
    if not source.is_remote and root in (settings.home.resolve(), *settings.home.resolve().parents):
        raise ConfigurationError(
            f"the folder {source.url!r} of source {source.name!r} holds the home {str(settings.home)!r}: "
            "choose a folder in it, or a home elsewhere"
        )


def _is_default_inbox(app: App, source: FolderSettings) -> bool:
    """Return whether the folder is the inbox below the home."""
    return app.settings.inbox.path is None and source.url == str(app.settings.inbox_directory)


def _read_known_fingerprints(app: App, source_name: str, locations: Sequence[str]) -> dict[str, set[str]]:
    with app.ledger.open_snapshot() as connection:
        return list_fingerprints_by_location(connection, source_name, locations)
