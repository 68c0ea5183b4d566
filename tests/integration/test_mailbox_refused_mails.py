"""Mails that a server lists and does not give, as no real one does on demand: they wait, and the others are taken."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import TransientError
from invoices.ledger import Ledger
from tests.integration.dovecot_server import DovecotServer
from tests.integration.mailbox_desk import Desk, invoice_mail
from tests.integration.scripted_imap import ScriptedImap

MAILS = {number: invoice_mail(number) for number in range(1, 6)}
SIZES = b"".join(
    b'* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE "01-Aug-2026 10:00:00 +0000" FLAGS ())\r\n' % (n, n, len(mail))
    for n, mail in MAILS.items()
)


class Stubborn(ScriptedImap):
    """A server with five mails, that says NO whenever one of ``refused`` is among those that it shall give."""

    def __init__(self, refused: Collection[int], words: bytes = b"NO I cannot read that") -> None:
        super().__init__(SEARCH=b"* SEARCH 1 2 3 4 5\r\n{tag} OK done\r\n", FETCH=SIZES + b"{tag} OK done\r\n")
        self._refused, self._words = refused, words

    def _answer(self, line: socket.socket, command: bytes) -> None:
        if b"BODY.PEEK[]" not in command:
            super()._answer(line, command)
            return
        tag, _, _, uids, _ = command.split(b" ")
        asked = [int(uid) for uid in uids.split(b",")]
        if set(asked) & set(self._refused):
            line.sendall(tag + b" " + self._words + b"\r\n")
            return
        for n in asked:
            line.sendall(b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (n, n, len(MAILS[n]), MAILS[n]))
        line.sendall(tag + b" OK done\r\n")


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """The process that opens mails."""
    with Unwrappers(1) as opened:
        yield opened


@pytest.fixture
def desk(dovecot: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path) -> Desk:
    """A mailbox; its server is another one in each test."""
    return Desk(dovecot.account(), ledger, DocumentStore(tmp_path / "store"), unwrappers, tmp_path)


def test_one_that_is_refused_by_itself_waits_and_is_named(desk: Desk) -> None:
    with Stubborn([2]) as server:
        desk.settings = {"port": server.port}
        seen = desk.look()
    assert desk.outcomes() == {1: "taken", 2: "waiting", 3: "taken", 4: "taken", 5: "taken"}
    (problem,) = seen.problems
    assert "UID=2" in problem
    with Stubborn([]) as server:
        desk.settings = {"port": server.port}
        assert desk.look().taken == 1
    assert desk.outcomes()[2] == "taken"


def test_where_one_after_another_is_refused_it_is_not_the_mails_and_the_look_ends(desk: Desk) -> None:
    with Stubborn([2, 3, 4, 5]) as server:
        desk.settings = {"port": server.port}
        with pytest.raises(TransientError, match="cannot read"):
            desk.look()
    assert desk.outcomes() == {1: "taken", 2: "waiting", 3: "waiting", 4: "waiting"}


def test_a_server_that_wants_us_to_slow_down_is_not_asked_for_each_mail(desk: Desk) -> None:
    with Stubborn([1], b"NO [THROTTLED] Backoff Time: 5000 milliseconds") as server:
        desk.settings = {"port": server.port}
        with pytest.raises(TransientError) as raised:
            desk.look()
        assert sum(b"BODY.PEEK[]" in command for command in server.seen) == 1
    assert raised.value.retry_after == 5.0
    assert desk.outcomes() == {}
