"""Servers with incomplete responses: what is missing is requested again, and never counted as done."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from invoices.errors import AccountError, TransientError
from sources.mailbox import open_session
from sources.mailbox.account import Account
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.incomplete_imap_server import IncompleteImapServer, ServerMailbox
from tests.servers.scripted_imap_server import ScriptedImapServer


def build_server_mailbox(**differences: Any) -> ServerMailbox:
    """Return a mailbox with three mails."""
    return ServerMailbox({number: build_invoice_mail(number) for number in range(1, 4)}, **differences)


def list_scan_problems(harness_without_mails: MailboxHarness, mailbox: ServerMailbox) -> list[str]:
    """Scan the mailbox of the server, and return the problems."""
    with IncompleteImapServer(mailbox) as server:
        harness_without_mails.settings = {**harness_without_mails.settings, "port": server.port}
        return harness_without_mails.scan_mailbox().problems


def test_a_mail_missing_in_the_header_response_waits_and_is_collected_later(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = build_server_mailbox(uids_without_header={2})
    assert "UID=2" in str(list_scan_problems(harness_without_mails, server_mailbox))
    assert harness_without_mails.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    server_mailbox.uids_without_header = set()
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid()[2] == "collected"


@pytest.mark.parametrize("fetch_data", [b"", b"BODY[] NIL", b"BODY[] {0}\r\n"])
def test_a_mail_without_content_in_the_response_waits_and_is_collected_later(
    harness_without_mails: MailboxHarness, fetch_data: bytes
) -> None:
    server_mailbox = build_server_mailbox(body_replacements={2: fetch_data})
    assert "UID=2" in str(list_scan_problems(harness_without_mails, server_mailbox))
    assert harness_without_mails.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    server_mailbox.body_replacements = {}
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid()[2] == "collected"


def test_a_waiting_mail_does_not_count_as_removed_while_it_is_listed(harness_without_mails: MailboxHarness) -> None:
    server_mailbox = build_server_mailbox(body_replacements={2: b"BODY[] NIL"})
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
    server_mailbox = build_server_mailbox(uid_next=uid_next)
    list_scan_problems(harness_without_mails, server_mailbox)
    server_mailbox.mails[4] = build_invoice_mail(4)
    server_mailbox.uid_next = max(uid_next, 5) if uid_next == 4 else uid_next
    list_scan_problems(harness_without_mails, server_mailbox)
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 2, 3, 4), "collected")


def test_a_mail_that_appears_late_below_others_is_collected_with_the_next_one(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = build_server_mailbox(hidden_uids={2}, stated_count=2)
    list_scan_problems(harness_without_mails, server_mailbox)
    server_mailbox.hidden_uids, server_mailbox.stated_count = set(), None
    server_mailbox.mails[4] = build_invoice_mail(4)
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 3, 4, 2), "collected")


def test_a_listing_with_too_few_mails_is_a_problem_and_is_repeated(
    harness_without_mails: MailboxHarness,
) -> None:
    server_mailbox = build_server_mailbox(hidden_uids={2})
    assert "lists only 2" in str(list_scan_problems(harness_without_mails, server_mailbox))
    server_mailbox.hidden_uids = set()
    assert list_scan_problems(harness_without_mails, server_mailbox) == []
    assert harness_without_mails.list_outcomes_by_uid() == dict.fromkeys((1, 3, 2), "collected")


def test_a_next_uid_that_went_back_is_a_problem(harness_without_mails: MailboxHarness) -> None:
    server_mailbox = build_server_mailbox()
    list_scan_problems(harness_without_mails, server_mailbox)
    del server_mailbox.mails[3]
    assert "went back" in str(list_scan_problems(harness_without_mails, server_mailbox))


def test_a_plain_search_response_from_an_esearch_server_is_accepted(harness_without_mails: MailboxHarness) -> None:
    server_mailbox = build_server_mailbox(extra_capability=b"ESEARCH")
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
