"""What is done to mails once their documents are safe: marked, flagged, moved or deleted, by UID alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invoices.errors import ConfigurationError
from invoices.settings.intake import MOVE
from sources.mailbox.connection import Session

AT_ONCE = 100  # mails in one command, and so between two confirmations


def act(
    session: Session,
    mailbox_after: str,
    folder: str,
    uidvalidity: int,
    due_uids: Sequence[int],
    done: Callable[[Sequence[int]], None],
) -> str | None:
    """Do to these mails what ``mailbox_after`` says; return a sentence where that cannot be done as it is meant.

    ``done`` is called with the UIDs of each chunk once the server has confirmed it. A mail that is not there any more
    counts as done: it was moved or deleted before, and whoever did it could not write that down. If the folder's UIDs
    are others now, nothing is done. Whatever is refused for good leaves the rest as it is, for a later run.

    Raises TransientError and ContractError as ``Session`` does.
    """
    if mailbox_after == "keep" or not due_uids:
        return None
    try:
        if session.select(folder).uidvalidity != uidvalidity:
            return None
        return _act(session, mailbox_after, sorted(due_uids), done)
    except ConfigurationError as error:
        if session.is_over:
            raise
        return str(error)


def _act(session: Session, after: str, due: Sequence[int], done: Callable[[Sequence[int]], None]) -> str | None:
    there = set(session.uids(due[0]))
    told = None
    for start in range(0, len(due), AT_ONCE):
        some = due[start : start + AT_ONCE]
        present = [uid for uid in some if uid in there]
        if present and not _do(session, after, present):
            told = _instead(after)
        done(some)
    return told


def _do(session: Session, after: str, uids: Sequence[int]) -> bool:
    """Change these mails; return False where something less was done, because the server cannot do more."""
    if after.startswith(MOVE):
        return session.move(uids, after.removeprefix(MOVE))
    if after == "delete":
        return session.delete(uids)
    if after == "seen":
        session.mark_seen(uids)
    else:
        session.flag(uids)
    return True


def _instead(after: str) -> str:
    if after == "delete":
        return "the server cannot delete single mails (UIDPLUS), so they are only marked as deleted"
    return "the server can neither move single mails nor delete them (MOVE, UIDPLUS), so they are only flagged"
