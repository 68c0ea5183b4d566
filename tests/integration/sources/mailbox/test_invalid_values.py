"""A value that makes no sense, in the response to one mail, affects this mail at most: the others are collected."""

from __future__ import annotations

import pytest

from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.incomplete_imap_server import IncompleteImapServer, ServerMailbox

INVALID_DATES = [
    b'"02-Mar-2026 10:00:00 +2500"',
    b'"02-Mar-2026 10:00:00 -9999"',
    b'"02-Mar-2026 10:00:00 +99999999999999999999"',
    b'"31-Dec-9999 23:59:59 -2359"',
    b'"02-Mar-99999999999999999999 10:00:00 +0000"',
    b'"31-Feb-2026 10:00:00 +0000"',
    b'"02-Mar-2026 25:61:61 +0000"',
    b'""',
    b'"-"',
    b"20260302",
    b"NIL",
    b"never",
    b'"02-Mar-2026 10:00:00 +0000',
]
INVALID_ITEMS = [
    b"FLAGS 5",
    b"FLAGS NIL",
    b"FLAGS (5 (6) NIL)",
    b"5 6",
    b"BODYSTRUCTURE 7",
    b"ENVELOPE (7)",
    b"ENVELOPE NIL",
    b"INTERNALDATE (1 2)",
    b"RFC822.SIZE large",
    b"RFC822.SIZE -1",
    b"RFC822.SIZE 99999999999999999999",
    b"UID one",
    b"FLAGS",
    b"((((",
    b"(" * 5_000 + b")" * 5_000,
    b'"',
    b"\xff\x00 \x80",
]


def scan_server_mailbox(harness: MailboxHarness, server_mailbox: ServerMailbox) -> list[str]:
    """Scan the mailbox of the server, and return the problems."""
    with IncompleteImapServer(server_mailbox) as server:
        harness.settings = {**harness.settings, "port": server.port}
        return harness.scan_mailbox().problems


def build_server_mailbox(items_of_second: bytes) -> ServerMailbox:
    """Return a mailbox with three mails; the response to the second contains these items."""
    mails = {number: build_invoice_mail(number) for number in (1, 2, 3)}
    return ServerMailbox(mails, summary_items={2: items_of_second})


@pytest.mark.parametrize("date", INVALID_DATES)
def test_a_mail_with_an_invalid_date_is_collected_without_it(
    harness_without_mails: MailboxHarness, date: bytes
) -> None:
    problems = scan_server_mailbox(harness_without_mails, build_server_mailbox(b"INTERNALDATE " + date))
    outcomes = harness_without_mails.list_outcomes_by_uid()
    if date.endswith(b"+0000") and not date.endswith(b'"'):  # the quote does not end, so the whole response is invalid
        assert outcomes == {1: "collected", 2: "waiting", 3: "collected"}
        assert "UID=2" in str(problems)
    else:
        assert outcomes == {1: "collected", 2: "collected", 3: "collected"}
        assert problems == []
        query = "select received_at from messages where uid = 2"
        assert harness_without_mails.query_ledger(query) == [(None,)]


@pytest.mark.parametrize("items", INVALID_ITEMS)
def test_an_invalid_item_affects_its_mail_only(harness_without_mails: MailboxHarness, items: bytes) -> None:
    problems = scan_server_mailbox(harness_without_mails, build_server_mailbox(items))
    outcomes = harness_without_mails.list_outcomes_by_uid()
    assert (outcomes[1], outcomes[3]) == ("collected", "collected")
    assert outcomes[2] in ("collected", "waiting")
    assert ("UID=2" in str(problems)) == (outcomes[2] == "waiting")
    assert scan_server_mailbox(harness_without_mails, build_server_mailbox(b"FLAGS ()")) == []
    assert harness_without_mails.list_outcomes_by_uid()[2] == "collected"
