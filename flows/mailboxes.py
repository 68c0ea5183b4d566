"""Mailboxes, wired: the source gets the ledger's memory; what is safe is then marked, moved or deleted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from invoices.errors import ConfigurationError
from invoices.house import House
from invoices.ledger.messages import (
    Arrival,
    Outcome,
    Position,
    due_uids,
    known_uids,
    owed_uids,
    position,
    record_action,
    set_position,
)
from invoices.report import Report
from invoices.settings import Mailbox
from sources.arriving import from_row
from sources.mailbox import Seen, Session, account_of, act, limits_of, mailbox, open_session
from sources.mailbox.account import Account
from sources.paging import pages, patiently


def arrivals(
    house: House, source: Mailbox, report: Report, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Sequence[Arrival]]:
    """Yield in pages what the mails bring that are new, and do to those that are safe what the settings say.

    A line that breaks, or a server that is busy, gets a second visit, which goes on where the first one ended.

    Raises:
        InvoicesError: the account cannot be used now; what was yielded is sound.
    """
    seen, account = Seen(), account_of(source, house.settings.secrets_directory)
    _check_is_same(house, source)
    try:
        yield from patiently(partial(_visit, house, source, account, seen, report), sleep)
    finally:
        report.known_files += seen.known
        report.remarks += [f"source {source.name!r}: {remark}" for remark in seen.remarks]
        report.problems += [f"source {source.name!r}: {problem}" for problem in dict.fromkeys(seen.problems)]


def _visit(house: House, source: Mailbox, account: Account, seen: Seen, report: Report) -> Iterator[Sequence[Arrival]]:
    memory = Memory(house, source.name)
    with open_session(account, limits_of(source)) as session:
        house.ledger.remember(*_identity(source))
        found = mailbox(
            source.name, source, session, house.unwrappers, house.store, memory, seen, house.ledger.now
        )  # fmt: skip
        for page in pages(found):
            yield [from_row(row) for row in page]
        for folder, reached in seen.positions.items():
            with house.ledger.transaction() as tx:
                set_position(tx, source.name, folder, reached)
        _act(house, source, session, seen, report)


def _identity(source: Mailbox) -> tuple[str, str]:
    """Return under which name the ledger remembers whose mailbox a source is, and what."""
    name = hashlib.sha256(source.name.encode()).hexdigest()[:32]
    return f"mailbox:{name}", f"{source.username} at {source.host}".casefold()


def _check_is_same(house: House, source: Mailbox) -> None:
    """Raise ConfigurationError where the name has been another account: the same UIDs are other mails there."""
    name, now = _identity(source)
    before = house.ledger.recall(name)
    if before not in (None, now):
        raise ConfigurationError(
            f"mailbox {source.name!r} was {before!r} so far, and is {now!r} now: its known UIDs are other mails. "
            "Give it another name: all its mails are read then, and those that came before are known by their content"
        )


def opened(house: House, source: Mailbox) -> AbstractContextManager[Session]:
    """Return a session with the account; raises as ``sources.mailbox.open_session``."""
    return open_session(account_of(source, house.settings.secrets_directory), limits_of(source))


def listing(house: House, source: Mailbox) -> Iterator[tuple[str, str | None]]:
    """Yield every mail that the server lists, with its outcome in the ledger, or None where that has none.

    Raises:
        InvoicesError: the account cannot be used now.
    """
    _check_is_same(house, source)
    with opened(house, source) as session:
        for folder in source.folders:
            state = session.examine(folder)
            known = Memory(house, source.name).known_uids(folder, state.uidvalidity)
            for uid in session.all_uids():
                yield f"{folder} UID {uid} of {state.uidvalidity}", known.get(uid)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the ledger knows of one account."""

    house: House
    source_name: str

    def position(self, folder: str) -> Position | None:
        """Return how far a folder is."""
        with self.house.ledger.reading() as connection:
            return position(connection, self.source_name, folder)

    def known_uids(self, folder: str, uidvalidity: int, first: int = 1) -> dict[int, Outcome]:
        """Return the outcome of every known mail from the UID ``first`` on."""
        with self.house.ledger.reading() as connection:
            return known_uids(connection, self.source_name, folder, uidvalidity, first)

    def owed_uids(self, folder: str, uidvalidity: int, largest: int) -> list[int]:
        """Return the UIDs that are still to be fetched."""
        with self.house.ledger.reading() as connection:
            return owed_uids(connection, self.source_name, folder, uidvalidity, largest)


def _act(house: House, source: Mailbox, session: Session, seen: Seen, report: Report) -> None:
    """Mark, move or delete what is safe, folder by folder."""
    if source.after == "keep":
        return
    if house.rehearses:
        report.remarks.append(f"source {source.name!r}: a rehearsal leaves the mails on the server as they are.")
        return
    for folder, reached in seen.positions.items():
        with house.ledger.reading() as connection:
            due = due_uids(connection, source.name, folder, reached.uidvalidity, kept_whole=source.after == "delete")
        if due:
            done = partial(_note, house, source.name, folder, reached.uidvalidity)
            problem = act(session, source.after, folder, reached.uidvalidity, due, done)
            report.problems += [f"source {source.name!r}: {problem}"] if problem else []


def _note(house: House, source_name: str, folder: str, uidvalidity: int, uids: Sequence[int]) -> None:
    with house.ledger.transaction() as tx:
        record_action(tx, source_name, folder, uidvalidity, uids, "done")
