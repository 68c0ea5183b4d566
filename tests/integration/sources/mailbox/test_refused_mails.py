"""Mails that a server lists but does not return: they wait, and the others are collected."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.errors import TransientError
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.scripted_imap_server import ScriptedImapServer

MAILS = {number: build_invoice_mail(number) for number in range(1, 6)}
HEADER_RESPONSES = b"".join(
    b'* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE "01-Aug-2026 10:00:00 +0000" FLAGS ())\r\n' % (n, n, len(mail))
    for n, mail in MAILS.items()
)


class RefusingImapServer(ScriptedImapServer):
    """A server with five mails that answers NO to a FETCH of bodies which includes one of ``refused_uids``."""

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


def test_a_mail_that_is_refused_alone_waits_and_is_named(harness_without_mails: MailboxHarness) -> None:
    with RefusingImapServer([2]) as server:
        harness_without_mails.settings = {"port": server.port}
        scan_state = harness_without_mails.scan_mailbox()
    assert harness_without_mails.list_outcomes_by_uid() == {
        1: "collected",
        2: "waiting",
        3: "collected",
        4: "collected",
        5: "collected",
    }
    (problem,) = scan_state.problems
    assert "UID=2" in problem
    with RefusingImapServer([]) as server:
        harness_without_mails.settings = {"port": server.port}
        assert harness_without_mails.scan_mailbox().collected == 1
    assert harness_without_mails.list_outcomes_by_uid()[2] == "collected"


def test_after_several_refusals_in_a_row_the_scan_ends(
    harness_without_mails: MailboxHarness,
) -> None:
    with RefusingImapServer([2, 3, 4, 5]) as server:
        harness_without_mails.settings = {"port": server.port}
        with pytest.raises(TransientError, match="cannot read"):
            harness_without_mails.scan_mailbox()
    assert harness_without_mails.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "waiting", 4: "waiting"}


def test_a_throttling_server_is_not_asked_for_each_mail(harness_without_mails: MailboxHarness) -> None:
    with RefusingImapServer([1], b"NO [THROTTLED] Backoff Time: 5000 milliseconds") as server:
        harness_without_mails.settings = {"port": server.port}
        with pytest.raises(TransientError) as error_info:
            harness_without_mails.scan_mailbox()
        assert sum(b"BODY.PEEK[]" in command for command in server.received_lines) == 1
    assert error_info.value.retry_after == 5.0
    assert harness_without_mails.list_outcomes_by_uid() == {}


class UnreliableOpenerPool(ContainerOpenerPool):
    """A pool in which the process of the mail with ``content`` is stopped, as by a suspended machine."""

    content: bytes | None = None

    def open_container(self, container: bytes | Path, *arguments: Any, **options: Any) -> OpenedContainer:
        if container == self.content:
            return OpenedContainer(reason_code="reader_timeout", reason="reading took too long and was stopped")
        return super().open_container(container, *arguments, **options)


@pytest.mark.parametrize(("is_repaired", "outcome"), [(True, "collected"), (False, "quarantined")])
def test_a_mail_whose_process_was_stopped_is_opened_once_more_in_a_later_run(
    harness_without_mails: MailboxHarness, is_repaired: bool, outcome: str
) -> None:
    with UnreliableOpenerPool(1) as opener_pool, RefusingImapServer([]) as server:
        opener_pool.content = MAILS[2]
        harness_without_mails.opener_pool = opener_pool
        harness_without_mails.settings = {"port": server.port}
        scan_state = harness_without_mails.scan_mailbox()
        assert harness_without_mails.list_outcomes_by_uid()[2] == "waiting"
        assert (scan_state.collected, scan_state.quarantined) == (4, 0)
        assert "the next run tries once more" in scan_state.remarks[0]
        if is_repaired:
            opener_pool.content = None
        harness_without_mails.scan_mailbox()
        assert harness_without_mails.list_outcomes_by_uid()[2] == outcome
