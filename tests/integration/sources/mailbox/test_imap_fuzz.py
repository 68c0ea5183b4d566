"""Mutated responses of an IMAP server: a scan ends with a result or with one of our errors, and soon."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from invoices.errors import InvoicesError
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.mutation import build_random, iter_case_numbers, mutate_bytes, read_kept_cases
from tests.servers.incomplete_imap_server import IncompleteImapServer, ServerMailbox

ITEMS = b'FLAGS (\\Seen $Paid) INTERNALDATE "02-Mar-2026 10:00:00 +0100"'


class MutatingConnection:
    """A connection that mutates some of what is sent; ``may_lack_end``: the client may wait for more."""

    def __init__(self, connection: socket.socket, random: Random) -> None:
        self._connection, self._random = connection, random
        self.may_lack_end = False

    def sendall(self, content: bytes) -> None:
        """Send the content, mutated in one of four cases except for its last line, with which a response ends."""
        if self._random.random() < 0.25:
            original = content
            *lines, last_line = content.rstrip(b"\r\n").split(b"\r\n")
            content = mutate_bytes(b"\r\n".join([*lines, b""]), self._random)
            has_same_literals = content.count(b"{") == original.count(b"{")
            self.may_lack_end = self.may_lack_end or not has_same_literals or not content.endswith(b"\r\n")
            content += last_line + b"\r\n"
        self._connection.sendall(content)

    def settimeout(self, seconds: float) -> None:
        """Do nothing: the client of this server reads at once."""


class MutatingImapServer(IncompleteImapServer):
    """A server whose responses are mutated after the login."""

    def __init__(self, mailbox: ServerMailbox, random: Random) -> None:
        super().__init__(mailbox)
        self._random = random

    def _send_response(self, connection: socket.socket, command: bytes) -> None:
        if b"UID" not in command and b"EXAMINE" not in command:
            super()._send_response(connection, command)
            return
        mutating_connection = MutatingConnection(connection, self._random)
        super()._send_response(mutating_connection, command)  # type: ignore[arg-type]  # has what the server calls
        connection.settimeout(0.05)
        if mutating_connection.may_lack_end:
            connection.shutdown(socket.SHUT_WR)  # otherwise the client may wait for the end of the response


@pytest.mark.sweep
def test_no_response_of_a_server_fails_a_scan(
    harness_without_mails: MailboxHarness, record_property: Callable[[str, object], None]
) -> None:
    errors = 0
    for number in iter_case_numbers(12):
        mails, random = {uid: build_invoice_mail(uid) for uid in (1, 2, 3)}, build_random("imap", number)
        items = dict.fromkeys(mails, ITEMS)
        if number % 2:  # the items of one mail only, so that the others have to be collected
            items[2] = mutate_bytes(ITEMS, random).replace(b"\r", b"").replace(b"\n", b"")
        server_type = IncompleteImapServer if number % 2 else partial(MutatingImapServer, random=random)
        with server_type(ServerMailbox(mails, summary_items=items)) as server:
            harness_without_mails.settings = {
                "port": server.port,
                "timeout_seconds": 5,
                "folders": (f"Folder{number}",),
            }
            try:
                harness_without_mails.scan_mailbox()
            except InvoicesError:
                errors += 1
            except Exception as error:
                raise AssertionError(f"case {number}: {items[2]!r}") from error
            outcomes = harness_without_mails.list_outcomes_by_uid(f"Folder{number}")
            assert number % 2 == 0 or (outcomes[1], outcomes[3]) == ("collected", "collected"), items[2]
    record_property("cases that ended with an error of ours", errors)


@pytest.mark.parametrize("items", read_kept_cases("imap"))
def test_a_response_that_once_failed_is_handled(harness_without_mails: MailboxHarness, items: bytes) -> None:
    mailbox = ServerMailbox({1: build_invoice_mail(1), 2: build_invoice_mail(2)}, summary_items={2: items})
    with IncompleteImapServer(mailbox) as server:
        harness_without_mails.settings = {"port": server.port}
        harness_without_mails.scan_mailbox()
    assert harness_without_mails.list_outcomes_by_uid()[1] == "collected"
