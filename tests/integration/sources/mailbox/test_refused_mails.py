"""Mails that a server lists and does not give, as no real one does on demand: they wait, and the others are taken."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.errors import TransientError
from invoices.ledger import Ledger
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.dovecot_server import DovecotServer
from tests.servers.scripted_imap_server import ScriptedImapServer

MAILS = {number: build_invoice_mail(number) for number in range(1, 6)}
HEADER_RESPONSES = b"".join(
    b'* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE "01-Aug-2026 10:00:00 +0000" FLAGS ())\r\n' % (n, n, len(mail))
    for n, mail in MAILS.items()
)


class RefusingImapServer(ScriptedImapServer):
    """A server with five mails, that says NO whenever one of ``refused`` is among those that it shall give."""

    def __init__(self, refused_uids: Collection[int], response_text: bytes = b"NO I cannot read that") -> None:
        super().__init__(
            SEARCH=b"* SEARCH 1 2 3 4 5\r\n{tag} OK done\r\n", FETCH=HEADER_RESPONSES + b"{tag} OK done\r\n"
        )
        self._refused_uids, self._response_text = refused_uids, response_text

    def _send_response(self, connection: socket.socket, command: bytes) -> None:
        if b"BODY.PEEK[]" not in command:
            super()._send_response(connection, command)
            return
        tag, _, _, uids, _ = command.split(b" ")
        requested_uids = [int(uid) for uid in uids.split(b",")]
        if set(requested_uids) & set(self._refused_uids):
            connection.sendall(tag + b" " + self._response_text + b"\r\n")
            return
        for n in requested_uids:
            connection.sendall(b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (n, n, len(MAILS[n]), MAILS[n]))
        connection.sendall(tag + b" OK done\r\n")


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


def test_one_that_is_refused_by_itself_waits_and_is_named(mailbox_harness: MailboxHarness) -> None:
    with RefusingImapServer([2]) as server:
        mailbox_harness.settings = {"port": server.port}
        scan_state = mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid() == {
        1: "collected",
        2: "waiting",
        3: "collected",
        4: "collected",
        5: "collected",
    }
    (problem,) = scan_state.problems
    assert "UID=2" in problem
    with RefusingImapServer([]) as server:
        mailbox_harness.settings = {"port": server.port}
        assert mailbox_harness.scan_mailbox().collected == 1
    assert mailbox_harness.list_outcomes_by_uid()[2] == "collected"


def test_where_one_after_another_is_refused_it_is_not_the_mails_and_the_look_ends(
    mailbox_harness: MailboxHarness,
) -> None:
    with RefusingImapServer([2, 3, 4, 5]) as server:
        mailbox_harness.settings = {"port": server.port}
        with pytest.raises(TransientError, match="cannot read"):
            mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "waiting", 4: "waiting"}


def test_a_server_that_wants_us_to_slow_down_is_not_asked_for_each_mail(mailbox_harness: MailboxHarness) -> None:
    with RefusingImapServer([1], b"NO [THROTTLED] Backoff Time: 5000 milliseconds") as server:
        mailbox_harness.settings = {"port": server.port}
        with pytest.raises(TransientError) as raised:
            mailbox_harness.scan_mailbox()
        assert sum(b"BODY.PEEK[]" in command for command in server.received_lines) == 1
    assert raised.value.retry_after == 5.0
    assert mailbox_harness.list_outcomes_by_uid() == {}
