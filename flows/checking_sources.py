"""Checks of the sources, for ``invoices doctor``: each is asked what it has, and nothing is changed there."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from invoices.documents.outcomes import shown
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import InvoicesError
from invoices.settings import Folder, Mailbox, Settings
from invoices.settings.intake import MOVE

MOST_FOLDERS = 10  # that are named


def check_sources(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it can be used, and what is there, of each source."""
    for source in settings.sources:
        try:
            told = _mailbox(settings, source) if isinstance(source, Mailbox) else _folder(settings, source)
            yield source.name, True, told
        except InvoicesError as error:
            yield source.name, False, str(error)


def _mailbox(settings: Settings, source: Mailbox) -> str:
    """Log in, list the folders and say what the rules would take."""
    from sources.mailbox import account_of, limits_of, open_session, preview

    account = account_of(source, settings.secrets_directory)
    with tempfile.TemporaryDirectory() as room, Unwrappers(workers=1) as unwrappers:  # a home is not made by looking
        store = DocumentStore(Path(room))
        with open_session(account, limits_of(source)) as session:
            seen = preview(session, source, unwrappers, store, dt.datetime.now(dt.UTC))
    lines = [f"logged in as {source.username!r} at {source.host}:{source.effective_port} ({source.security})"]
    for folder in seen.folders:
        decided = "; ".join(f"{words}: {count}" for words, count in folder.decisions.items()) or "nothing to take"
        lines.append(f"{folder.name!r} has {folder.mails} mails; of the newest {folder.looked_at}: {decided}")
    lines += [f"the folder {name!r} is not there" for name in seen.missing]
    if seen.others:
        others = ", ".join(repr(shown(name)) for name in seen.others[:MOST_FOLDERS])
        lines.append(f"not looked through: {others}" + (" …" if len(seen.others) > MOST_FOLDERS else ""))
    target = source.after.removeprefix(MOVE) if source.after.startswith(MOVE) else None
    if target is not None and target not in seen.others:
        lines.append(f"the folder {target!r}, to which mails are to be moved, is not there")
    if seen.missing or (target is not None and target not in seen.others):
        raise InvoicesError("; ".join(lines))
    return "; ".join(lines)


def _folder(settings: Settings, source: Folder) -> str:
    """List the folder."""
    from flows.folders import refuse_home
    from sources.folder.places import place_of

    refuse_home(settings, source)
    is_our_own = settings.inbox.path is None and source.url == str(settings.inbox_directory)
    if is_our_own and not settings.inbox_directory.is_dir():
        return f"{source.url} (made by the first run)"
    with closing(place_of(source)) as at:
        at.check()
        listed = sum(not isinstance(one, str) for one in at.files())
    fitting = "" if source.pattern == ("*",) else f" that fit {', '.join(source.pattern)}"
    return f"{source.url}: {listed:,} files{fitting}"
