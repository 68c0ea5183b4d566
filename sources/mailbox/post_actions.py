"""What is done to mails once their documents are safe: marked, flagged, moved or deleted, by UID alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invoices.errors import ConfigurationError
from invoices.settings.sources import MOVE_PREFIX
from sources.mailbox.mailbox_session import MailboxSession

MAX_MAILS_PER_COMMAND = 100  # mails in one command, and so between two confirmations


def run_post_action(
    session: MailboxSession,
    post_action: str,
    folder: str,
    uidvalidity: int,
    pending_uids: Sequence[int],
    record_done: Callable[[Sequence[int]], None],
) -> str | None:
    """Do to these mails what ``mailbox_after`` says; return a sentence where that cannot be done as it is meant.

    ``done`` is called with the UIDs of each chunk once the server has confirmed it. A mail that is not there any more
    counts as done: it was moved or deleted before, and whoever did it could not write that down. If the folder's UIDs
    are others now, nothing is done. Whatever is refused for good leaves the rest as it is, for a later run.

    Raises TransientError and ContractError as ``Session`` does.
    """
    if post_action == "keep" or not pending_uids:
        return None
    try:
        if session.open_folder_read_write(folder).uidvalidity != uidvalidity:
            return None
        return _run_post_action_in_chunks(session, post_action, sorted(pending_uids), record_done)
    except ConfigurationError as error:
        if session.is_closed:
            raise
        return str(error)


def _run_post_action_in_chunks(
    session: MailboxSession, post_action: str, pending_uids: Sequence[int], record_done: Callable[[Sequence[int]], None]
) -> str | None:
    existing_uids = set(session.list_uids(pending_uids[0]))
    problem = None
    for start in range(0, len(pending_uids), MAX_MAILS_PER_COMMAND):
        uid_chunk = pending_uids[start : start + MAX_MAILS_PER_COMMAND]
        present_uids = [uid for uid in uid_chunk if uid in existing_uids]
        if present_uids and not _apply_post_action(session, post_action, present_uids):
            problem = _describe_fallback(post_action)
        record_done(uid_chunk)
    return problem


def _apply_post_action(session: MailboxSession, post_action: str, uids: Sequence[int]) -> bool:
    """Change these mails; return False where something less was done, because the server cannot do more."""
    if post_action.startswith(MOVE_PREFIX):
        return session.move_messages(uids, post_action.removeprefix(MOVE_PREFIX))
    if post_action == "delete":
        return session.delete_messages(uids)
    if post_action == "seen":
        session.mark_seen(uids)
    else:
        session.set_flag(uids)
    return True


def _describe_fallback(post_action: str) -> str:
    if post_action == "delete":
        return "the server cannot delete single mails (UIDPLUS), so they are only marked as deleted"
    return "the server can neither move single mails nor delete them (MOVE, UIDPLUS), so they are only flagged"
