"""Servers that do not tell all: what they leave out of an answer is looked for again, and never passed over."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.errors import AccountError, TransientError
from invoices.ledger import Ledger
from sources.mailbox import open_session
from sources.mailbox.account import Account
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.dovecot_server import DovecotServer
from tests.servers.scripted_imap_server import ScriptedImapServer

WELCOME_RESPONSE = b"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS %s] welcome\r\n"


@dataclass(slots=True)
class ServerMailbox:
    """What a server holds, and what it says of it."""

    mails: dict[int, bytes] = field(default_factory=lambda: {n: build_invoice_mail(n) for n in range(1, 4)})
    uid_next: int | None = None
    stated_count: int | None = None
    uids_without_header: set[int] = field(default_factory=set)
    body_replacements: dict[int, bytes] = field(default_factory=dict)  # what it says instead
    hidden_uids: set[int] = field(default_factory=set)
    extra_capability: bytes = b""


class IncompleteImapServer(ScriptedImapServer):
    """A server whose answers are those of the office, however often it is asked."""

    def __init__(self, mailbox: ServerMailbox) -> None:
        super().__init__(AUTHENTICATE=WELCOME_RESPONSE.replace(b"%s", mailbox.extra_capability))
        self.mailbox = mailbox

    def _send_response(self, connection: socket.socket, command: bytes) -> None:
        tag, _, command_text = command.partition(b" ")
        mailbox, uids = self.mailbox, re.search(rb"UID (?:FETCH ([0-9,:]+)|SEARCH UID ([0-9]+))", command_text)
        if command_text.startswith(b"EXAMINE"):
            message_count = len(mailbox.mails) if mailbox.stated_count is None else mailbox.stated_count
            next_uid = mailbox.uid_next or max(mailbox.mails, default=0) + 1
            examine_response = (
                f"* {message_count} EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT {next_uid}] ok\r\n".encode()
            )
            connection.sendall(examine_response + tag + b" OK [READ-ONLY] done\r\n")
        elif command_text.startswith(b"UID SEARCH"):
            first_uid = int(uids[2]) if uids else 0
            listed_uids = sorted(set(mailbox.mails) - mailbox.hidden_uids)
            matching_uids = [uid for uid in listed_uids if uid >= first_uid] or listed_uids[-1:]
            connection.sendall(
                b"* SEARCH " + b" ".join(b"%d" % uid for uid in matching_uids) + b"\r\n" + tag + b" OK done\r\n"
            )
        elif uids and uids[1]:
            for uid in map(int, uids[1].split(b",")):
                connection.sendall(self._build_fetch_response(uid, b"BODY.PEEK[]" in command_text))
            connection.sendall(tag + b" OK done\r\n")
        else:
            super()._send_response(connection, command)

    def _build_fetch_response(self, uid: int, is_body: bool) -> bytes:
        mailbox, mail = self.mailbox, self.mailbox.mails.get(uid)
        if mail is None or (uid in mailbox.uids_without_header and not is_body):
            return b""
        if is_body and uid in mailbox.body_replacements:
            return b"".join([b"* %d FETCH (UID %d " % (uid, uid), mailbox.body_replacements[uid], b")\r\n"])
        if is_body:
            return b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(mail), mail)
        return b"* %d FETCH (UID %d RFC822.SIZE %d FLAGS ())\r\n" % (uid, uid, len(mail))


@pytest.fixture(scope="module")
def opener_pool() -> Iterator[ContainerOpenerPool]:
    """The process that opens mails."""
    with ContainerOpenerPool(1) as pool:
        yield pool


@pytest.fixture
def mailbox_harness(
    dovecot: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> MailboxHarness:
    """A mailbox; its server is another one in each test."""
    return MailboxHarness(dovecot.create_account(), ledger, DocumentStore(tmp_path / "store"), opener_pool, tmp_path)


def list_scan_problems(mailbox_harness: MailboxHarness, mailbox: ServerMailbox) -> list[str]:
    """Look through the office's mailbox, and return the problems."""
    with IncompleteImapServer(mailbox) as server:
        mailbox_harness.settings = {**mailbox_harness.settings, "port": server.port}
        return mailbox_harness.scan_mailbox().problems


def test_a_mail_whose_header_is_left_out_of_the_answer_waits_and_is_taken_later(
    mailbox_harness: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(uids_without_header={2})
    assert "UID=2" in str(list_scan_problems(mailbox_harness, server_mailbox))
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    server_mailbox.uids_without_header = set()
    assert list_scan_problems(mailbox_harness, server_mailbox) == []
    assert mailbox_harness.list_outcomes_by_uid()[2] == "collected"


@pytest.mark.parametrize("instead", [b"", b"BODY[] NIL", b"BODY[] {0}\r\n"])
def test_a_mail_of_which_the_server_gives_nothing_waits_and_is_taken_later(
    mailbox_harness: MailboxHarness, instead: bytes
) -> None:
    server_mailbox = ServerMailbox(body_replacements={2: instead})
    assert "UID=2" in str(list_scan_problems(mailbox_harness, server_mailbox))
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    server_mailbox.body_replacements = {}
    assert list_scan_problems(mailbox_harness, server_mailbox) == []
    assert mailbox_harness.list_outcomes_by_uid()[2] == "collected"


def test_a_mail_that_waits_is_not_taken_for_gone_as_long_as_it_is_listed(mailbox_harness: MailboxHarness) -> None:
    server_mailbox = ServerMailbox(body_replacements={2: b"BODY[] NIL"})
    list_scan_problems(mailbox_harness, server_mailbox)
    server_mailbox.uids_without_header = {2}
    list_scan_problems(mailbox_harness, server_mailbox)
    assert mailbox_harness.list_outcomes_by_uid()[2] == "waiting"
    del server_mailbox.mails[2]
    assert list_scan_problems(mailbox_harness, server_mailbox) == []
    assert mailbox_harness.list_outcomes_by_uid()[2] == "skipped"


def test_mails_that_are_never_given_do_not_keep_the_folder_from_being_gone_through(
    mailbox_harness: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(
        {n: build_invoice_mail(n) for n in range(1, 6)}, body_replacements=dict.fromkeys((1, 3, 5), b"BODY[] NIL")
    )
    with pytest.raises(TransientError, match="gives nothing"):
        list_scan_problems(mailbox_harness, server_mailbox)
    list_scan_problems(mailbox_harness, server_mailbox)
    assert mailbox_harness.query_ledger("select uid_next from mail_folders") == [(6,)]


@pytest.mark.parametrize("uid_next", [4_000_000_000, 4, 1])
def test_what_the_server_says_of_its_next_uid_hides_no_later_mail(
    mailbox_harness: MailboxHarness, uid_next: int
) -> None:
    server_mailbox = ServerMailbox(uid_next=uid_next)
    list_scan_problems(mailbox_harness, server_mailbox)
    server_mailbox.mails[4] = build_invoice_mail(4)
    server_mailbox.uid_next = max(uid_next, 5) if uid_next == 4 else uid_next
    list_scan_problems(mailbox_harness, server_mailbox)
    assert mailbox_harness.list_outcomes_by_uid() == dict.fromkeys((1, 2, 3, 4), "collected")


def test_a_mail_that_shows_up_late_below_others_is_taken_with_the_next_one(mailbox_harness: MailboxHarness) -> None:
    server_mailbox = ServerMailbox(hidden_uids={2}, stated_count=2)
    list_scan_problems(mailbox_harness, server_mailbox)
    server_mailbox.hidden_uids, server_mailbox.stated_count = set(), None
    server_mailbox.mails[4] = build_invoice_mail(4)
    assert list_scan_problems(mailbox_harness, server_mailbox) == []
    assert mailbox_harness.list_outcomes_by_uid() == dict.fromkeys((1, 3, 4, 2), "collected")


def test_a_server_that_lists_fewer_mails_than_it_says_it_has_is_told_and_listed_again(
    mailbox_harness: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(hidden_uids={2})
    assert "lists 2 of them" in str(list_scan_problems(mailbox_harness, server_mailbox))
    server_mailbox.hidden_uids = set()
    assert list_scan_problems(mailbox_harness, server_mailbox) == []
    assert mailbox_harness.list_outcomes_by_uid() == dict.fromkeys((1, 3, 2), "collected")


def test_a_next_uid_that_went_back_is_told(mailbox_harness: MailboxHarness) -> None:
    server_mailbox = ServerMailbox()
    list_scan_problems(mailbox_harness, server_mailbox)
    del server_mailbox.mails[3]
    assert "went back" in str(list_scan_problems(mailbox_harness, server_mailbox))


def test_a_server_that_offers_esearch_and_answers_in_the_old_way_is_understood(mailbox_harness: MailboxHarness) -> None:
    server_mailbox = ServerMailbox(extra_capability=b"ESEARCH")
    assert list_scan_problems(mailbox_harness, server_mailbox) == []
    assert mailbox_harness.list_outcomes_by_uid() == dict.fromkeys((1, 2, 3), "collected")


@pytest.mark.parametrize("filler", [b"", b"x" * 190])
def test_a_server_that_repeats_what_was_sent_puts_no_secret_into_an_error(filler: bytes) -> None:
    password = "se'cret-\"and-long"
    for sent in (f"\0me\0{password}", password, f'{password}\\"'.replace('"', '\\"')):
        shown = base64.b64encode(sent.encode()) if sent.startswith("\0") else sent.encode()
        with ScriptedImapServer(AUTHENTICATE=b"{tag} NO what is " + filler + shown + b"?\r\n") as server:
            account = Account("ap", "127.0.0.1", server.port, "me", "none", password=password)
            with pytest.raises(AccountError) as raised, open_session(account):
                pass
        assert "cret" not in str(raised.value)
        assert shown.decode()[:8] not in str(raised.value)


def test_a_server_that_repeats_the_access_token_does_not_put_it_into_an_error() -> None:
    saying = base64.b64encode(b"user=me\1auth=Bearer token-of-mine\1\1")
    offers = {"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n"}
    for shown in (b"token-of-mine", saying):
        with ScriptedImapServer(**offers, AUTHENTICATE=b"{tag} NO what is " + shown + b"?\r\n") as server:
            account = Account("ap", "127.0.0.1", server.port, "me", "none", token_provider=FixedTokenProvider())
            with pytest.raises(AccountError) as raised, open_session(account):
                pass
        assert shown.decode() not in str(raised.value)
        assert "hidden" in str(raised.value)


class FixedTokenProvider:
    """An access token that is never renewed."""

    def get_token(self) -> str:
        """Return it."""
        return "token-of-mine"

    def discard_token(self, rejected_token: str) -> None:
        """Keep it."""
        assert rejected_token == "token-of-mine"
