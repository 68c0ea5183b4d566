"""Servers that do not tell all: what they leave out of an answer is looked for again, and never passed over."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import AccountError, TransientError
from invoices.ledger import Ledger
from sources.mailbox import open_session
from sources.mailbox.account import Account
from tests.integration.dovecot_server import DovecotServer
from tests.integration.mailbox_desk import Desk, invoice_mail
from tests.integration.scripted_imap import ScriptedImap

WELCOME = b"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS %s] welcome\r\n"


@dataclass(slots=True)
class Office:
    """What a server holds, and what it says of it."""

    mails: dict[int, bytes] = field(default_factory=lambda: {n: invoice_mail(n) for n in range(1, 4)})
    uid_next: int | None = None
    exists: int | None = None
    without_header: set[int] = field(default_factory=set)
    without_body: dict[int, bytes] = field(default_factory=dict)  # what it says instead
    hidden: set[int] = field(default_factory=set)
    extra: bytes = b""


class Forgetful(ScriptedImap):
    """A server whose answers are those of the office, however often it is asked."""

    def __init__(self, office: Office) -> None:
        super().__init__(AUTHENTICATE=WELCOME.replace(b"%s", office.extra))
        self.office = office

    def _answer(self, line: socket.socket, command: bytes) -> None:
        tag, _, words = command.partition(b" ")
        office, uids = self.office, re.search(rb"UID (?:FETCH ([0-9,:]+)|SEARCH UID ([0-9]+))", words)
        if words.startswith(b"EXAMINE"):
            exists = len(office.mails) if office.exists is None else office.exists
            following = office.uid_next or max(office.mails, default=0) + 1
            told = f"* {exists} EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT {following}] ok\r\n".encode()
            line.sendall(told + tag + b" OK [READ-ONLY] done\r\n")
        elif words.startswith(b"UID SEARCH"):
            first = int(uids[2]) if uids else 0
            there = sorted(set(office.mails) - office.hidden)
            shown = [uid for uid in there if uid >= first] or there[-1:]
            line.sendall(b"* SEARCH " + b" ".join(b"%d" % uid for uid in shown) + b"\r\n" + tag + b" OK done\r\n")
        elif uids and uids[1]:
            for uid in map(int, uids[1].split(b",")):
                line.sendall(self._told(uid, b"BODY.PEEK[]" in words))
            line.sendall(tag + b" OK done\r\n")
        else:
            super()._answer(line, command)

    def _told(self, uid: int, is_body: bool) -> bytes:
        office, mail = self.office, self.office.mails.get(uid)
        if mail is None or (uid in office.without_header and not is_body):
            return b""
        if is_body and uid in office.without_body:
            return b"".join([b"* %d FETCH (UID %d " % (uid, uid), office.without_body[uid], b")\r\n"])
        if is_body:
            return b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(mail), mail)
        return b"* %d FETCH (UID %d RFC822.SIZE %d FLAGS ())\r\n" % (uid, uid, len(mail))


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """The process that opens mails."""
    with Unwrappers(1) as opened:
        yield opened


@pytest.fixture
def desk(dovecot: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path) -> Desk:
    """A mailbox; its server is another one in each test."""
    return Desk(dovecot.account(), ledger, DocumentStore(tmp_path / "store"), unwrappers, tmp_path)


def look(desk: Desk, office: Office) -> list[str]:
    """Look through the office's mailbox, and return the problems."""
    with Forgetful(office) as server:
        desk.settings = {**desk.settings, "port": server.port}
        return desk.look().problems


def test_a_mail_whose_header_is_left_out_of_the_answer_waits_and_is_taken_later(desk: Desk) -> None:
    office = Office(without_header={2})
    assert "UID=2" in str(look(desk, office))
    assert desk.outcomes() == {1: "taken", 2: "waiting", 3: "taken"}
    office.without_header = set()
    assert look(desk, office) == []
    assert desk.outcomes()[2] == "taken"


@pytest.mark.parametrize("instead", [b"", b"BODY[] NIL", b"BODY[] {0}\r\n"])
def test_a_mail_of_which_the_server_gives_nothing_waits_and_is_taken_later(desk: Desk, instead: bytes) -> None:
    office = Office(without_body={2: instead})
    assert "UID=2" in str(look(desk, office))
    assert desk.outcomes() == {1: "taken", 2: "waiting", 3: "taken"}
    office.without_body = {}
    assert look(desk, office) == []
    assert desk.outcomes()[2] == "taken"


def test_a_mail_that_waits_is_not_taken_for_gone_as_long_as_it_is_listed(desk: Desk) -> None:
    office = Office(without_body={2: b"BODY[] NIL"})
    look(desk, office)
    office.without_header = {2}
    look(desk, office)
    assert desk.outcomes()[2] == "waiting"
    del office.mails[2]
    assert look(desk, office) == []
    assert desk.outcomes()[2] == "left"


def test_mails_that_are_never_given_do_not_keep_the_folder_from_being_gone_through(desk: Desk) -> None:
    office = Office({n: invoice_mail(n) for n in range(1, 6)}, without_body=dict.fromkeys((1, 3, 5), b"BODY[] NIL"))
    with pytest.raises(TransientError, match="gives nothing"):
        look(desk, office)
    look(desk, office)
    assert desk.query("select uid_next from mail_folders") == [(6,)]


@pytest.mark.parametrize("uid_next", [4_000_000_000, 4, 1])
def test_what_the_server_says_of_its_next_uid_hides_no_later_mail(desk: Desk, uid_next: int) -> None:
    office = Office(uid_next=uid_next)
    look(desk, office)
    office.mails[4] = invoice_mail(4)
    office.uid_next = max(uid_next, 5) if uid_next == 4 else uid_next
    look(desk, office)
    assert desk.outcomes() == dict.fromkeys((1, 2, 3, 4), "taken")


def test_a_mail_that_shows_up_late_below_others_is_taken_with_the_next_one(desk: Desk) -> None:
    office = Office(hidden={2}, exists=2)
    look(desk, office)
    office.hidden, office.exists = set(), None
    office.mails[4] = invoice_mail(4)
    assert look(desk, office) == []
    assert desk.outcomes() == dict.fromkeys((1, 3, 4, 2), "taken")


def test_a_server_that_lists_fewer_mails_than_it_says_it_has_is_told_and_listed_again(desk: Desk) -> None:
    office = Office(hidden={2})
    assert "lists 2 of them" in str(look(desk, office))
    office.hidden = set()
    assert look(desk, office) == []
    assert desk.outcomes() == dict.fromkeys((1, 3, 2), "taken")


def test_a_next_uid_that_went_back_is_told(desk: Desk) -> None:
    office = Office()
    look(desk, office)
    del office.mails[3]
    assert "went back" in str(look(desk, office))


def test_a_server_that_offers_esearch_and_answers_in_the_old_way_is_understood(desk: Desk) -> None:
    office = Office(extra=b"ESEARCH")
    assert look(desk, office) == []
    assert desk.outcomes() == dict.fromkeys((1, 2, 3), "taken")


@pytest.mark.parametrize("filler", [b"", b"x" * 190])
def test_a_server_that_repeats_what_was_sent_puts_no_secret_into_an_error(filler: bytes) -> None:
    password = "se'cret-\"and-long"
    for sent in (f"\0me\0{password}", password, f'{password}\\"'.replace('"', '\\"')):
        shown = base64.b64encode(sent.encode()) if sent.startswith("\0") else sent.encode()
        with ScriptedImap(AUTHENTICATE=b"{tag} NO what is " + filler + shown + b"?\r\n") as server:
            account = Account("ap", "127.0.0.1", server.port, "me", "none", password=password)
            with pytest.raises(AccountError) as raised, open_session(account):
                pass
        assert "cret" not in str(raised.value)
        assert shown.decode()[:8] not in str(raised.value)


def test_a_server_that_repeats_the_access_token_does_not_put_it_into_an_error() -> None:
    saying = base64.b64encode(b"user=me\1auth=Bearer token-of-mine\1\1")
    offers = {"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n"}
    for shown in (b"token-of-mine", saying):
        with ScriptedImap(**offers, AUTHENTICATE=b"{tag} NO what is " + shown + b"?\r\n") as server:
            account = Account("ap", "127.0.0.1", server.port, "me", "none", token=Token())
            with pytest.raises(AccountError) as raised, open_session(account):
                pass
        assert shown.decode() not in str(raised.value)
        assert "hidden" in str(raised.value)


class Token:
    """An access token that is never renewed."""

    def current(self) -> str:
        """Return it."""
        return "token-of-mine"

    def discard(self, refused: str) -> None:
        """Keep it."""
        assert refused == "token-of-mine"
