"""Marks, flags, moves or deletes mails on the server by UID, once their documents are stored and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invoices.errors import ConfigurationError
from invoices.settings.sources import MOVE_PREFIX
from sources.mailbox.mailbox_session import MailboxSession

MAX_MAILS_PER_COMMAND = 100  # each command is confirmed and recorded on its own


def run_post_action(
    session: MailboxSession,
    post_action: str,
    folder: str,
    uidvalidity: int,
    pending_uids: Sequence[int],
    record_done: Callable[[Sequence[int]], None],
) -> str | None:
    """Apply the action of the setting ``after`` to these mails; return a sentence if it cannot be done as configured.

    ``record_done`` is called with the UIDs of each chunk once the server has confirmed it. A mail that no longer exists
    counts as done: an earlier run moved or deleted it and could not record that. If the folder has another UIDVALIDITY
    now, nothing is done. If the server refuses the action for good, the remaining mails stay as they are, for a later
    run.

    Raises TransientError and ContractError as ``MailboxSession`` does.
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
            problem = (
                "the server cannot delete single mails (UIDPLUS), so they are only marked as deleted"
                if post_action == "delete"
                else "the server can neither move nor delete single mails (MOVE, UIDPLUS), so they are only flagged"
            )
        record_done(uid_chunk)
    return problem


def _apply_post_action(session: MailboxSession, post_action: str, uids: Sequence[int]) -> bool:
    """Change these mails; return False if the server could only flag them or mark them as deleted."""
    if post_action.startswith(MOVE_PREFIX):
        return session.move_messages(uids, post_action.removeprefix(MOVE_PREFIX))
    if post_action == "delete":
        return session.delete_messages(uids)
    if post_action == "seen":
        session.mark_seen(uids)
    else:
        session.set_flag(uids)
    return True
