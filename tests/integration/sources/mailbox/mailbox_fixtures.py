"""A mailbox with a ledger and a store: scanning it records everything that the source yields."""

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

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.ledger.mails import (
    MailFolderPosition,
    MailOutcome,
    find_folder_position,
    list_mail_outcomes_by_uid,
    list_uids_to_fetch,
    list_uids_with_pending_action,
    record_arrivals,
    record_mail_action,
    set_folder_position,
)
from invoices.settings.sources import MailboxSettings
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
from sources.paging import iter_row_pages
from tests.servers.dovecot_server import MailAccount
from tests.servers.scripted_imap_server import DisconnectingProxy

MAILBOX_NAME = "office"


def build_invoice_mail(number: int, *, name: str = "", content: bytes = b"", **headers: str) -> bytes:
    """Return a mail with one attachment that is named as a PDF, with CR LF, as a server returns it unchanged."""
    mail = EmailMessage(policy=SMTP)
    default_headers = {"From": "shop@example.org", "To": "office@example.com", "Subject": f"Invoice {number}"}
    for header, value in {**default_headers, "Date": "Sat, 01 Aug 2026 10:00:00 +0000", **headers}.items():
        mail[header.replace("_", "-")] = value
    mail.set_content("See the attachment.\n")
    pdf = content or build_pdf(number)
    mail.add_attachment(pdf, maintype="application", subtype="pdf", filename=name or f"invoice-{number}.pdf")
    return mail.as_bytes()


def add_attachment(mail: bytes, content: bytes, name: str) -> bytes:
    """Return the mail with one more PDF."""
    message = message_from_bytes(mail, EmailMessage, policy=SMTP)
    message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()


def build_pdf(number: int) -> bytes:
    """Return the attachment of the mail with this number."""
    return b"%%PDF-1.4 invoice %d" % number


@dataclass(frozen=True, slots=True)
class LedgerMailboxHistory:
    """The recorded state of the mailbox, from the ledger."""

    ledger: Ledger

    def find_position(self, folder: str) -> MailFolderPosition | None:
        """Return how far a folder is."""
        with self.ledger.open_snapshot() as connection:
            return find_folder_position(connection, MAILBOX_NAME, folder)

    def list_known_outcomes(self, folder: str, uidvalidity: int, first_uid: int) -> Mapping[int, MailOutcome]:
        """Return the outcome of every known mail by UID."""
        with self.ledger.open_snapshot() as connection:
            return list_mail_outcomes_by_uid(connection, MAILBOX_NAME, folder, uidvalidity, first_uid)

    def list_uids_to_fetch(self, folder: str, uidvalidity: int, max_bytes: int) -> Sequence[int]:
        """Return the UIDs to fetch again."""
        with self.ledger.open_snapshot() as connection:
            return list_uids_to_fetch(connection, MAILBOX_NAME, folder, uidvalidity, max_bytes)


@dataclass(slots=True)
class MailboxHarness:
    """One user's mailbox, with the ledger, store and settings that scan it."""

    account: MailAccount
    ledger: Ledger
    store: DocumentStore
    opener_pool: ContainerOpenerPool
    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    rows: list[dict[str, Any]] = field(default_factory=list)

    def build_settings(self) -> MailboxSettings:
        """Return its settings."""
        defaults = {"name": MAILBOX_NAME, "host": self.account.host, "port": self.account.port, "security": "none"}
        login = {"username": self.account.username, "password": self.account.password}
        return MailboxSettings(**{**defaults, **login, **self.settings})

    def scan_mailbox(self, scan_state: ScanState | None = None) -> ScanState:
        """Scan it once and record what is yielded, even if the scan fails in the end; ``rows`` has all of it."""
        settings, scan_state, self.rows = self.build_settings(), scan_state or ScanState(), []
        with open_session(build_account(settings, self.directory), build_limits(settings)) as session:
            for page in iter_row_pages(self.build_source(session, scan_state)):
                self._record_page(page)
            with self.ledger.begin_transaction() as tx:
                for folder, position in scan_state.positions.items():
                    set_folder_position(tx, MAILBOX_NAME, folder, position)
        return scan_state

    def build_source(self, session: MailboxSession, scan_state: ScanState) -> DltSource:
        """Return the dlt source."""
        history = LedgerMailboxHistory(self.ledger)
        return build_mailbox_source(
            MAILBOX_NAME,
            self.build_settings(),
            session,
            self.opener_pool,
            self.store,
            history,
            scan_state,
            lambda: self.now,
        )

    def apply_pending_actions(self, folder: str = "INBOX") -> str | None:
        """Run the pending actions on the mails of a folder; return the problem, if there is one."""
        settings = self.build_settings()
        uidvalidity = self.account.get_uidvalidity(folder)
        with self.ledger.open_snapshot() as connection:
            pending_uids = list_uids_with_pending_action(connection, MAILBOX_NAME, folder, uidvalidity)

        def record_done(uids: Sequence[int]) -> None:
            with self.ledger.begin_transaction() as tx:
                record_mail_action(tx, MAILBOX_NAME, folder, uidvalidity, uids, "done")

        with open_session(build_account(settings, self.directory), build_limits(settings)) as session:
            return run_post_action(session, settings.after, folder, uidvalidity, pending_uids, record_done)

    def list_outcomes_by_uid(self, folder: str = "INBOX") -> dict[int, str]:
        """Return the recorded outcome of the mails of a folder, by UID."""
        rows = self.query_ledger(
            "select uid, outcome from messages where folder = :folder order by seen_at, uid", folder
        )
        return dict(rows)

    def query_ledger(self, sql: str, folder: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a query on the ledger."""
        with self.ledger.open_snapshot() as connection:
            return [tuple(row) for row in connection.execute(text(sql), {"folder": folder} if folder else {})]

    def list_reason_codes_by_document(self) -> dict[str, str | None]:
        """Return the reason code of every document in the ledger, by its hash; each is in the store."""
        reason_codes = dict(self.query_ledger("select document_sha256, reason_code from documents"))
        assert all(sha256 in self.store for sha256 in reason_codes)
        return reason_codes

    def _record_page(self, page: list[dict[str, Any]]) -> None:
        self.rows += page
        arrivals = [from_row(row) for row in page]
        assert all(sighting.document_sha256 in self.store for arrival in arrivals for sighting in arrival.sightings)
        with self.ledger.begin_transaction() as tx:
            record_arrivals(tx, arrivals)


class CommandRecordingProxy(DisconnectingProxy):
    """A proxy that records the commands, and can close the connection after some bytes or at a command."""

    def __init__(self, port: int, cut_after: int = 10**9, cut_at: bytes = b"\0") -> None:
        self.commands: list[bytes] = []
        self._cut_after, self._cut_at = cut_after, cut_at
        super().__init__(port, self._is_cut_due)

    def _is_cut_due(self, sent: bytes, received: bytes) -> bool:
        self.commands = re.findall(rb"^[A-Z]{4}\d+ ((?:UID )?[A-Z]+.*)\r$", sent, re.MULTILINE)
        return len(received) > self._cut_after or any(command.startswith(self._cut_at) for command in self.commands)

    def list_command_names(self) -> list[str]:
        """Return the commands that were sent after the login, without their arguments."""
        names = [command.removeprefix(b"UID ").split(b" ")[0].decode() for command in self.commands]
        return [name for name in names if name not in ("AUTHENTICATE", "LOGIN", "CAPABILITY", "LOGOUT")]
