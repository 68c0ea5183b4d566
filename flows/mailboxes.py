"""Collect from mailboxes: fetch new mails by the ledger's record, then mark, move or delete the stored ones."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from flows.unexpected_errors import describe_error
from flows.unrecorded_documents import delete_unrecorded_documents
from invoices.app import App
from invoices.errors import ConfigurationError
from invoices.ledger.mails import (
    Arrival,
    MailFolderPosition,
    MailOutcome,
    find_folder_position,
    list_mail_outcomes_by_uid,
    list_uids_to_fetch,
    list_uids_with_pending_action,
    record_mail_action,
    set_folder_position,
)
from invoices.run_report import RunReport
from invoices.settings import MailboxSettings
from sources.arrivals import from_row
from sources.mailbox import (
    MailboxSession,
    ScanState,
    build_account,
    build_limits,
    build_mailbox_source,
    open_session,
    run_post_action,
)
from sources.mailbox.account import Account
from sources.paging import iter_row_pages, retry_scan_once


def collect_mailbox_arrivals(
    app: App, source: MailboxSettings, report: RunReport, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Sequence[Arrival]]:
    """Yield pages of what new mails bring; at the end, run the configured action on the mails that are stored.

    After a broken connection, or if the server is busy, a second scan continues where the first one ended.

    Raises:
        InvoicesError: the account cannot be used now; what was yielded is complete.
    """
    scan_state = ScanState(record_activity=report.record_activity)
    account = build_account(source, app.settings.secrets_directory)
    _check_same_account(app, source)
    try:
        yield from retry_scan_once(partial(_scan_mailbox, app, source, account, scan_state, report), sleep)
        delete_unrecorded_documents(app, scan_state.stored_hashes)
    finally:
        report.known_files += scan_state.known_count
        report.remarks += [f"source {source.name!r}: {remark}" for remark in scan_state.remarks]
        report.problems += [f"source {source.name!r}: {problem}" for problem in dict.fromkeys(scan_state.problems)]
        report.problems += [
            f"source {source.name!r}: {mail} is not collected: {describe_error(app.settings, mail, error)}"
            for mail, error in scan_state.failures
        ]


def _scan_mailbox(
    app: App, source: MailboxSettings, account: Account, scan_state: ScanState, report: RunReport
) -> Iterator[Sequence[Arrival]]:
    history = LedgerMailboxHistory(app, source.name)
    with open_session(account, build_limits(source)) as session:
        app.ledger.get_or_record_note(*_build_account_note(source))
        arrival_rows = build_mailbox_source(
            source.name, source, session, app.container_opener_pool, app.store, history, scan_state, app.ledger.now
        )  # fmt: skip
        for page in iter_row_pages(arrival_rows):
            yield [from_row(row) for row in page]
        for folder, new_position in scan_state.positions.items():
            with app.ledger.begin_transaction() as tx:
                set_folder_position(tx, source.name, folder, new_position)
        _apply_post_actions(app, source, session, scan_state, report)


def _build_account_note(source: MailboxSettings) -> tuple[str, str]:
    """Return the key of the ledger's note about the account of a source, and the account as that note has it."""
    name_hash = hashlib.sha256(source.name.encode()).hexdigest()[:32]
    return f"mailbox:{name_hash}", f"{source.username} at {source.host}".casefold()


def _check_same_account(app: App, source: MailboxSettings) -> None:
    """Raise ConfigurationError if the source's name stood for another account, where the same UIDs are other mails."""
    ledger_key, account = _build_account_note(source)
    recorded_account = app.ledger.find_note(ledger_key)
    if recorded_account not in (None, account):
        raise ConfigurationError(
            f"mailbox {source.name!r} was {recorded_account!r} until now and is {account!r} in the settings, "
            "where the known UIDs are other mails. Give it another name: all its mails are then read, "
            "and known documents are recognised by their content"
        )


def list_mails_with_outcome(app: App, source: MailboxSettings) -> Iterator[tuple[str, str | None]]:
    """Yield every mail that the server lists, with its outcome in the ledger, or None if the ledger lacks it.

    Raises:
        InvoicesError: the account cannot be used now.
    """
    _check_same_account(app, source)
    account = build_account(source, app.settings.secrets_directory)
    with open_session(account, build_limits(source)) as session:
        for folder in source.folders:
            uidvalidity = session.open_folder_read_only(folder).uidvalidity
            known_outcomes = LedgerMailboxHistory(app, source.name).list_known_outcomes(folder, uidvalidity)
            for uid in session.list_all_uids():
                yield f"{folder} UID {uid} of {uidvalidity}", known_outcomes.get(uid)


@dataclass(frozen=True, slots=True)
class LedgerMailboxHistory:
    """The ledger's record of one account; implements ``MailboxHistory`` of ``sources.mailbox``."""

    app: App
    source_name: str

    def find_position(self, folder: str) -> MailFolderPosition | None:
        """Return how far a folder has been scanned, or None if it has not been."""
        with self.app.ledger.open_snapshot() as connection:
            return find_folder_position(connection, self.source_name, folder)

    def list_known_outcomes(self, folder: str, uidvalidity: int, first_uid: int = 1) -> dict[int, MailOutcome]:
        """Return the outcome of every known mail from ``first_uid`` on, by UID."""
        with self.app.ledger.open_snapshot() as connection:
            return list_mail_outcomes_by_uid(connection, self.source_name, folder, uidvalidity, first_uid)

    def list_uids_to_fetch(self, folder: str, uidvalidity: int, max_bytes: int) -> list[int]:
        """Return the UIDs of known mails of up to ``max_bytes`` that are still to be fetched."""
        with self.app.ledger.open_snapshot() as connection:
            return list_uids_to_fetch(connection, self.source_name, folder, uidvalidity, max_bytes)


def _apply_post_actions(
    app: App, source: MailboxSettings, session: MailboxSession, scan_state: ScanState, report: RunReport
) -> None:
    """Mark, move or delete the mails whose documents are stored, folder by folder."""
    if source.after == "keep":
        return
    if app.is_rehearsal:
        report.remarks.append(
            f"source {source.name!r}: no mail was changed on the server, because this is a rehearsal."
        )
        return
    for folder, new_position in scan_state.positions.items():
        with app.ledger.open_snapshot() as connection:
            actionable_uids = list_uids_with_pending_action(
                connection, source.name, folder, new_position.uidvalidity, stored_only=source.after == "delete"
            )
        if actionable_uids:
            record_done = partial(_record_done_actions, app, source.name, folder, new_position.uidvalidity)
            problem = run_post_action(
                session, source.after, folder, new_position.uidvalidity, actionable_uids, record_done
            )
            if problem:
                report.problems.append(f"source {source.name!r}: {problem}")


def _record_done_actions(app: App, source_name: str, folder: str, uidvalidity: int, uids: Sequence[int]) -> None:
    with app.ledger.begin_transaction() as tx:
        record_mail_action(tx, source_name, folder, uidvalidity, uids, "done")
