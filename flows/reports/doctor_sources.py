"""Checks of the sources for ``invoices doctor``: each is listed, and nothing is changed there."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flows.plurals import format_count
from flows.unexpected_errors import describe_error
from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.outcomes import sanitise_for_display
from invoices.documents.store import DocumentStore
from invoices.errors import PROGRAM_ERRORS, InvoicesError
from invoices.settings import FolderSettings, MailboxSettings, Settings
from invoices.settings.sources import MOVE_PREFIX

MAX_FOLDERS_NAMED = 10  # folders of the mailbox that are not configured


def check_sources(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """Yield the name of each source, whether it can be used, and what it has or what is wrong."""
    for source in settings.sources:
        try:
            detail = (
                _check_mailbox(settings, source)
                if isinstance(source, MailboxSettings)
                else _check_folder(settings, source)
            )
            yield source.name, True, detail
        except InvoicesError as error:
            yield source.name, False, str(error)
        except PROGRAM_ERRORS as error:
            yield source.name, False, describe_error(settings, f"source {source.name!r}", error)


def _check_mailbox(settings: Settings, source: MailboxSettings) -> str:
    """Log in, list the folders and return what the rules would collect.

    Raises:
        InvoicesError: the mailbox cannot be used, or lacks a folder that the settings name.
    """
    from sources.mailbox import build_account, build_limits, fetch_mailbox_preview, open_session

    account = build_account(source, settings.secrets_directory)
    with tempfile.TemporaryDirectory() as directory, ContainerOpenerPool(worker_count=1) as opener_pool:
        store = DocumentStore(Path(directory))  # not in the home directory, which a check does not create
        with open_session(account, build_limits(source)) as session:
            mailbox_preview = fetch_mailbox_preview(session, source, opener_pool, store, dt.datetime.now(dt.UTC))
    lines = [f"logged in as {source.username!r} at {source.host}:{source.effective_port} ({source.security})"]
    for folder in mailbox_preview.folders:
        decisions = "; ".join(f"{decision}: {count}" for decision, count in folder.decision_counts.items())
        lines.append(
            f"{folder.name!r} has {format_count(folder.mail_count, 'mail')}; "
            f"of the newest {folder.checked_count}: {decisions or 'nothing to collect'}"
        )
    lines += [f"the folder {name!r} does not exist" for name in mailbox_preview.missing_folders]
    if mailbox_preview.other_folders:
        other_folders = ", ".join(
            repr(sanitise_for_display(name)) for name in mailbox_preview.other_folders[:MAX_FOLDERS_NAMED]
        )
        more_note = " …" if len(mailbox_preview.other_folders) > MAX_FOLDERS_NAMED else ""
        lines.append(f"other folders: {other_folders}{more_note}")
    is_complete = not mailbox_preview.missing_folders
    if source.after.startswith(MOVE_PREFIX):
        move_target = source.after.removeprefix(MOVE_PREFIX)
        if move_target not in mailbox_preview.other_folders:
            lines.append(f"the folder {move_target!r}, to which mails would be moved, does not exist")
            is_complete = False
    if not is_complete:
        raise InvoicesError("; ".join(lines))
    return "; ".join(lines)


def _check_folder(settings: Settings, source: FolderSettings) -> str:
    """List the folder and return how many files match."""
    from flows.folders import refuse_folder_containing_home
    from sources.folder.backend_factory import open_folder_backend

    refuse_folder_containing_home(settings, source)
    is_default_inbox = settings.inbox.path is None and source.url == str(settings.inbox_directory)
    if is_default_inbox and not settings.inbox_directory.is_dir():
        return f"{source.url} (created by the first run)"
    with closing(open_folder_backend(source)) as folder_backend:
        folder_backend.check_listable()
        file_count = sum(not isinstance(file, str) for file in folder_backend.list_files())
    pattern_note = "" if source.pattern == ("*",) else f" matching {', '.join(source.pattern)}"
    return f"{source.url}: {format_count(file_count, 'file')}{pattern_note}"
