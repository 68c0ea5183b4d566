"""Collect from folders: list new files by the ledger's record, then move the stored ones where the settings say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from flows.container_attempts import RetryingContainerOpener
from flows.plurals import format_count
from flows.unexpected_errors import describe_error
from flows.unrecorded_documents import delete_unrecorded_documents
from invoices.app import App
from invoices.errors import ConfigurationError
from invoices.ledger.mails import Arrival
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.private_files import make_private_directory
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, Settings
from sources.arrivals import from_row
from sources.folder import FolderScanState, build_folder_source, move_recorded_files
from sources.folder.backend_factory import open_folder_backend
from sources.folder.listing import NOT_REGULAR_REASON
from sources.folder.local_folder import resolve_folder_root
from sources.paging import PAGE_SIZE, iter_row_pages


def collect_folder_arrivals(app: App, source: FolderSettings, report: RunReport) -> Iterator[Sequence[Arrival]]:
    """Yield pages of what is new in a folder; at the end, move the recorded files if the settings say so.

    Raises:
        InvoicesError: the folder cannot be listed now; what was yielded is complete.
    """
    refuse_folder_containing_home(app.settings, source)
    if _is_default_inbox(app, source):
        make_private_directory(Path(source.url))
    scan_state = FolderScanState(record_activity=report.record_activity)
    read_known_fingerprints = partial(_read_known_fingerprints, app, source.name)
    for page in iter_row_pages(
        build_folder_source(source, app.store, RetryingContainerOpener(app), read_known_fingerprints, scan_state)
    ):
        yield [from_row(row) for row in page]
    report.known_files += scan_state.known_count
    report.remarks += [
        f"{name!r} is still being written; a later run will collect it." for name in scan_state.changing_files
    ]
    delete_unrecorded_documents(app, scan_state.stored_hashes)
    report_uncollected_files(app, source, scan_state, report)
    if scan_state.over_limit_count:
        report.remarks.append(
            f"source {source.name!r}: {format_count(scan_state.over_limit_count, 'file')} over the limit of one run; "
            "later runs will collect them."
        )
    if app.is_rehearsal and scan_state.movable_files:
        report.remarks.append(f"source {source.name!r}: no file was moved, because this is a rehearsal.")
    else:
        report.remarks += move_recorded_files(source, read_known_fingerprints, scan_state.movable_files)


def report_uncollected_files(app: App, source: FolderSettings, scan_state: FolderScanState, report: RunReport) -> None:
    """Add a problem for each file that cannot be read, and a remark for each link or pipe, which nobody collects."""
    for reason in scan_state.unreadable_files:
        if reason.endswith(NOT_REGULAR_REASON):
            report.remarks.append(f"Not collected: {reason}.")
        else:
            report.problems.append(f"source {source.name!r}: not collected: {reason}; a later run tries again")
    for file, error in scan_state.failures:
        cause = describe_error(app.settings, file, error)
        report.problems.append(f"source {source.name!r}: {file} is not collected: {cause}")


def list_files_with_outcome(app: App, source: FolderSettings) -> Iterator[tuple[str, str | None]]:
    """Yield every file that the folder lists, with ``collected``, ``unreadable``, or None if the ledger lacks it.

    Raises:
        InvoicesError: the folder cannot be listed now.
    """
    refuse_folder_containing_home(app.settings, source)
    if _is_default_inbox(app, source) and not Path(source.url).exists():
        return  # the first run creates it
    with closing(open_folder_backend(source)) as folder_backend:
        folder_backend.check_listable()
        files = folder_backend.list_files()
        while page := list(islice(files, PAGE_SIZE)):
            locations = [file.location for file in page if not isinstance(file, str)]
            known_fingerprints = _read_known_fingerprints(app, source.name, locations)
            for file in page:
                if isinstance(file, str):  # the reason why it cannot be read
                    yield file, "unreadable"
                elif file.fingerprint in known_fingerprints.get(file.location, ()):
                    yield file.location, "collected"
                else:
                    yield file.location, None


def refuse_folder_containing_home(settings: Settings, source: FolderSettings) -> None:
    """Raise ConfigurationError if a folder holds the home directory, which would then be collected itself."""
    root = resolve_folder_root(source).resolve()
    if not source.is_remote and root in (settings.home.resolve(), *settings.home.resolve().parents):
        raise ConfigurationError(
            f"the folder {source.url!r} of source {source.name!r} holds the home directory {str(settings.home)!r}: "
            "choose a folder inside it, or another home directory"
        )


def _is_default_inbox(app: App, source: FolderSettings) -> bool:
    """Return whether the folder is the inbox in the home directory, which a run creates."""
    return app.settings.inbox.path is None and source.url == str(app.settings.inbox_directory)


def _read_known_fingerprints(app: App, source_name: str, locations: Sequence[str]) -> dict[str, set[str]]:
    with app.ledger.open_snapshot() as connection:
        return list_fingerprints_by_location(connection, source_name, locations)
