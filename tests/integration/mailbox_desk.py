"""A mailbox with a ledger and a store behind it: a look through it writes down all that it brings."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from dlt.extract import DltSource
from sqlalchemy import text

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.ledger import Ledger
from invoices.ledger.messages import (
    Outcome,
    Position,
    due_uids,
    known_uids,
    owed_uids,
    position,
    record_action,
    record_arrivals,
    set_position,
)
from invoices.settings.intake import Mailbox
from sources.arriving import from_row
from sources.mailbox import Seen, Session, account_of, act, limits_of, mailbox, open_session
from sources.paging import pages
from tests.integration.dovecot_server import Account
from tests.integration.scripted_imap import CuttingProxy

NAME = "office"


def invoice_mail(number: int, *, name: str = "", content: bytes = b"", **headers: str) -> bytes:
    """Return a mail with one PDF (in name at least), with CR LF, as a server gives it back byte by byte."""
    mail = EmailMessage(policy=SMTP)
    usual = {"From": "shop@example.org", "To": "office@example.com", "Subject": f"Invoice {number}"}
    for header, value in {**usual, "Date": "Sat, 01 Aug 2026 10:00:00 +0000", **headers}.items():
        mail[header.replace("_", "-")] = value
    mail.set_content("See the attachment.\n")
    pdf = content or pdf_of(number)
    mail.add_attachment(pdf, maintype="application", subtype="pdf", filename=name or f"invoice-{number}.pdf")
    return mail.as_bytes()


def with_attachment(mail: bytes, content: bytes, name: str) -> bytes:
    """Return the mail with one more PDF."""
    more = message_from_bytes(mail, EmailMessage, policy=SMTP)
    more.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return more.as_bytes()


def pdf_of(number: int) -> bytes:
    """Return what is attached to the mail of that number."""
    return b"%%PDF-1.4 invoice %d" % number


@dataclass(frozen=True, slots=True)
class Memory:
    """What the ledger knows of the mailbox."""

    ledger: Ledger

    def position(self, folder: str) -> Position | None:
        """Return how far a folder is."""
        with self.ledger.reading() as connection:
            return position(connection, NAME, folder)

    def known_uids(self, folder: str, uidvalidity: int, first: int) -> Mapping[int, Outcome]:
        """Return the outcome of every known mail by UID."""
        with self.ledger.reading() as connection:
            return known_uids(connection, NAME, folder, uidvalidity, first)

    def owed_uids(self, folder: str, uidvalidity: int, largest: int) -> Sequence[int]:
        """Return the UIDs that are still to be fetched."""
        with self.ledger.reading() as connection:
            return owed_uids(connection, NAME, folder, uidvalidity, largest)


@dataclass(slots=True)
class Desk:
    """One user's mailbox, and the house's side of it."""

    user: Account
    ledger: Ledger
    store: DocumentStore
    unwrappers: Unwrappers
    place: Path
    settings: dict[str, Any] = field(default_factory=dict)
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    rows: list[dict[str, Any]] = field(default_factory=list)

    def mailbox(self) -> Mailbox:
        """Return its settings."""
        usual = {"name": NAME, "host": self.user.host, "port": self.user.port, "security": "none"}
        login = {"username": self.user.username, "password": self.user.password}
        return Mailbox(**{**usual, **login, **self.settings})

    def look(self, seen: Seen | None = None) -> Seen:
        """Look through it once, and write down what came, also where it fails in the end; ``rows`` are all of it."""
        settings, seen, self.rows = self.mailbox(), seen or Seen(), []
        with open_session(account_of(settings, self.place), limits_of(settings)) as session:
            for page in pages(self.source(session, seen)):
                self._record(page)
            with self.ledger.transaction() as tx:
                for folder, reached in seen.positions.items():
                    set_position(tx, NAME, folder, reached)
        return seen

    def source(self, session: Session, seen: Seen) -> DltSource:
        """Return the source itself."""
        memory = Memory(self.ledger)
        return mailbox(NAME, self.mailbox(), session, self.unwrappers, self.store, memory, seen, lambda: self.now)

    def act(self, folder: str = "INBOX") -> str | None:
        """Do what is owed to the mails of a folder, as the settings say."""
        settings = self.mailbox()
        uidvalidity = self.user.uidvalidity(folder)
        with self.ledger.reading() as connection:
            due = due_uids(connection, NAME, folder, uidvalidity)

        def done(uids: Sequence[int]) -> None:
            with self.ledger.transaction() as tx:
                record_action(tx, NAME, folder, uidvalidity, uids, "done")

        with open_session(account_of(settings, self.place), limits_of(settings)) as session:
            return act(session, settings.after, folder, uidvalidity, due, done)

    def outcomes(self, folder: str = "INBOX") -> dict[int, str]:
        """Return what the ledger says of the mails of a folder, by UID."""
        rows = self.query("select uid, outcome from messages where folder = :folder order by seen_at, uid", folder)
        return dict(rows)

    def query(self, sql: str, folder: str = "") -> list[tuple[Any, ...]]:
        """Return what the ledger answers."""
        with self.ledger.reading() as connection:
            return [tuple(row) for row in connection.execute(text(sql), {"folder": folder} if folder else {})]

    def documents(self) -> dict[str, str | None]:
        """Return the reason code of every document in the ledger, by its hash; each is in the store."""
        found = dict(self.query("select document_sha256, reason_code from documents"))
        assert all(sha256 in self.store for sha256 in found)
        return found

    def _record(self, page: list[dict[str, Any]]) -> None:
        self.rows += page
        arrivals = [from_row(row) for row in page]
        assert all(one.document_sha256 in self.store for arrival in arrivals for one in arrival.sightings)
        with self.ledger.transaction() as tx:
            record_arrivals(tx, arrivals)


class Watching(CuttingProxy):
    """A line that notes the commands, and may be cut."""

    def __init__(self, port: int, cut_after: int = 10**9, cut_at: bytes = b"\0") -> None:
        self.commands: list[bytes] = []
        self._after, self._at = cut_after, cut_at
        super().__init__(port, self._is_over)

    def _is_over(self, sent: bytes, received: bytes) -> bool:
        self.commands = re.findall(rb"^[A-Z]{4}\d+ ((?:UID )?[A-Z]+.*)\r$", sent, re.MULTILINE)
        return len(received) > self._after or any(command.startswith(self._at) for command in self.commands)

    def names(self) -> list[str]:
        """Return the commands that were sent after the login, without their arguments."""
        words = [command.removeprefix(b"UID ").split(b" ")[0].decode() for command in self.commands]
        return [name for name in words if name not in ("AUTHENTICATE", "LOGIN", "CAPABILITY", "LOGOUT")]
