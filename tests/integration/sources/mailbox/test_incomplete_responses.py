"""Servers with incomplete responses: what is missing is requested again, and never counted as done."""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import dataclass, field

import pytest

from invoices.errors import AccountError, TransientError
from sources.mailbox import open_session
from sources.mailbox.account import Account
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.scripted_imap_server import ScriptedImapServer

WELCOME_RESPONSE = b"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS %s] welcome\r\n"


@dataclass(slots=True)
class ServerMailbox:
    """The mails on a server, and how its responses differ from them."""

    mails: dict[int, bytes] = field(default_factory=lambda: {n: build_invoice_mail(n) for n in range(1, 4)})
    uid_next: int | None = None
    stated_count: int | None = None
    uids_without_header: set[int] = field(default_factory=set)
    body_replacements: dict[int, bytes] = field(default_factory=dict)  # what a FETCH returns instead
    hidden_uids: set[int] = field(default_factory=set)
    extra_capability: bytes = b""


class IncompleteImapServer(ScriptedImapServer):
    """A server that answers from a ServerMailbox, for any number of commands."""

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


def list_scan_problems(harness_without_mails: MailboxHarness, mailbox: ServerMailbox) -> list[str]:
    """Scan the mailbox of the server, and return the problems."""
    with IncompleteImapServer(mailbox) as server:
        harness_without_mails.settings = {**harness_without_mails.settings, "port": server.port}
        return harness_without_mails.scan_mailbox().problems


def test_a_mail_missing_in_the_header_response_waits_and_is_collected_later(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(uids_without_header={2})
    assert "UID=2" in str(list_scan_problems(harness_without_mails, server_mailbox))
    assert harness_without_mails.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    server_mailbox.uids_without_header = set()
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid()[2] == "collected"


@pytest.mark.parametrize("fetch_data", [b"", b"BODY[] NIL", b"BODY[] {0}\r\n"])
def test_a_mail_without_content_in_the_response_waits_and_is_collected_later(
    harness_without_mails: MailboxHarness, fetch_data: bytes
) -> None:
    server_mailbox = ServerMailbox(body_replacements={2: fetch_data})
    assert "UID=2" in str(list_scan_problems(harness_without_mails, server_mailbox))
    assert harness_without_mails.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    server_mailbox.body_replacements = {}
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid()[2] == "collected"


def test_a_waiting_mail_does_not_count_as_removed_while_it_is_listed(harness_without_mails: MailboxHarness) -> None:
    server_mailbox = ServerMailbox(body_replacements={2: b"BODY[] NIL"})
    list_scan_problems(harness_without_mails, server_mailbox)
    server_mailbox.uids_without_header = {2}
    list_scan_problems(harness_without_mails, server_mailbox)
    assert harness_without_mails.list_outcomes_by_uid()[2] == "waiting"
    del server_mailbox.mails[2]
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid()[2] == "skipped"


def test_mails_that_the_server_never_returns_do_not_block_the_folder(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(
        {n: build_invoice_mail(n) for n in range(1, 6)}, body_replacements=dict.fromkeys((1, 3, 5), b"BODY[] NIL")
    )
    with pytest.raises(TransientError, match="returns no content"):
        list_scan_problems(harness_without_mails, server_mailbox)
    list_scan_problems(harness_without_mails, server_mailbox)
    assert harness_without_mails.query_ledger("select uid_next from mail_folders") == [(6,)]


@pytest.mark.parametrize("uid_next", [4_000_000_000, 4, 1])
def test_a_wrong_next_uid_from_the_server_hides_no_later_mail(
    harness_without_mails: MailboxHarness, uid_next: int
) -> None:
    server_mailbox = ServerMailbox(uid_next=uid_next)
    list_scan_problems(harness_without_mails, server_mailbox)
    server_mailbox.mails[4] = build_invoice_mail(4)
    server_mailbox.uid_next = max(uid_next, 5) if uid_next == 4 else uid_next
    list_scan_problems(harness_without_mails, server_mailbox)
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 2, 3, 4), "collected")


def test_a_mail_that_appears_late_below_others_is_collected_with_the_next_one(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(hidden_uids={2}, stated_count=2)
    list_scan_problems(harness_without_mails, server_mailbox)
    server_mailbox.hidden_uids, server_mailbox.stated_count = set(), None
    server_mailbox.mails[4] = build_invoice_mail(4)
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 3, 4, 2), "collected")


def test_a_listing_with_too_few_mails_is_a_problem_and_is_repeated(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = ServerMailbox(hidden_uids={2})
    assert "lists only 2" in str(list_scan_problems(harness_without_mails, server_mailbox))
    server_mailbox.hidden_uids = set()
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 3, 2), "collected")


def test_a_next_uid_that_went_back_is_a_problem(harness_without_mails: MailboxHarness) -> None:
    server_mailbox = ServerMailbox()
    list_scan_problems(harness_without_mails, server_mailbox)
    del server_mailbox.mails[3]
    assert "went back" in str(list_scan_problems(harness_without_mails, server_mailbox))


def test_a_plain_search_response_from_an_esearch_server_is_accepted(harness_without_mails: MailboxHarness) -> None:
    server_mailbox = ServerMailbox(extra_capability=b"ESEARCH")
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 2, 3), "collected")


@pytest.mark.parametrize("filler", [b"", b"x" * 190])
def test_a_server_that_echoes_the_password_puts_no_secret_into_an_error(filler: bytes) -> None:
    password = "se'cret-\"and-long"
    for secret in (f"\0me\0{password}", password, f'{password}\\"'.replace('"', '\\"')):
        echoed = base64.b64encode(secret.encode()) if secret.startswith("\0") else secret.encode()
        with ScriptedImapServer(AUTHENTICATE=b"{tag} NO what is " + filler + echoed + b"?\r\n") as server:
            account = Account("ap", "127.0.0.1", server.port, "me", "none", password=password)
            with pytest.raises(AccountError) as raised, open_session(account):
                pass
        assert "cret" not in str(raised.value)
        assert echoed.decode()[:8] not in str(raised.value)


def test_a_server_that_echoes_the_access_token_does_not_put_it_into_an_error() -> None:
    sasl_response = base64.b64encode(b"user=me\1auth=Bearer token-of-mine\1\1")
    responses = {"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n"}
    for echoed in (b"token-of-mine", sasl_response):
        with ScriptedImapServer(**responses, AUTHENTICATE=b"{tag} NO what is " + echoed + b"?\r\n") as server:
            account = Account("ap", "127.0.0.1", server.port, "me", "none", token_provider=FixedTokenProvider())
            with pytest.raises(AccountError) as raised, open_session(account):
                pass
        assert echoed.decode() not in str(raised.value)
        assert "hidden" in str(raised.value)


class FixedTokenProvider:
    """Provides one access token and never renews it."""

    def get_token(self) -> str:
        """Return the token."""
        return "token-of-mine"

    def discard_token(self, rejected_token: str) -> None:
        """Do nothing: the token stays."""
        assert rejected_token == "token-of-mine"
