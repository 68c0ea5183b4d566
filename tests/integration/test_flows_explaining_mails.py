"""The stories of mails: under which names each is found, and in which words what became of it is told."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from flows.explaining import as_text, stories
from flows.telling import standing, summary
from invoices.house import House
from invoices.ledger.messages import Arrival, Message, Position, record_arrivals, set_position
from invoices.ledger.sightings import Sighting
from invoices.model import message_key, sighting_id
from invoices.settings import Mailbox, Settings
from sources.arriving import settled_for

ACCOUNT = {"name": "ap", "host": "h.example", "username": "u", "password": "x", "after": "move:Done"}
MAILDIR = "/in/Post/;UNIQUE=1700000001.M2P1.host"
PARTS = {
    "1": ("text/plain", None, None), "2": ("application/pdf", "bill.pdf", None),
    "3": ("application/pdf", "terms.pdf", "unmatched"), "4": ("application/zip", "more.zip", "container"),
    "5": ("image/png", "logo.png", "decoration"),
}  # fmt: skip


@pytest.fixture
def house(home: Settings) -> Iterator[House]:
    """A house with a mailbox that nobody asks."""
    settings = home.model_copy(update={"mailboxes": (Mailbox(**ACCOUNT),)})
    with House(settings, vendors=lambda _closing: settings) as opened:
        yield opened


def record(house: House, uid: int | None = 8, place: str = "INBOX", sections: Sequence[str] = (), **said: Any) -> None:
    """Record a mail of the account, or of the file ``place`` where it has no UID, with these of the parts."""
    name = "ap" if uid else "inbox"
    usual = {"outcome": "taken", "message_id": "<m8@shop.example>", "sender": "ann@shop.example", "subject": "Bill"}
    key = message_key(name, f"{place}{uid}")
    message = Message(key, name, place, uid=uid, uidvalidity=1700 if uid else None, **(usual | said))
    sightings = [part(section, message) for section in sections]
    with house.ledger.transaction() as tx:
        record_arrivals(tx, [Arrival(sightings, message)])


def part(section: str, message: Message) -> Sighting:
    """Return how a part of a mail was seen."""
    (kind, name, left_out), location = PARTS[section], f"{message.folder}/{message.uid}/;SECTION={section}"
    return Sighting(
        sighting_id(message.source_name, location, section), sha(section), kind, 10, message.source_name, "mailbox",
        location, name, message_key=message.message_key, message_id=message.message_id, section=section,
        declared_type=kind, settled=settled_for(left_out) if left_out else None,
    )  # fmt: skip


def sha(section: str) -> str:
    return hashlib.sha256(section.encode()).hexdigest()


def test_a_mail_comes_first_and_then_what_was_in_it_with_what_fits_no_rule_and_archives(house: House) -> None:
    record(house, sections=["1", "2", "3", "4", "5"])
    mail, *documents = stories(house, "m8@shop.example")
    assert as_text(mail).startswith("Mail <m8@shop.example> of ann@shop.example: 'Bill'")
    assert [one["document"]["document_sha256"] for one in documents] == [sha(section) for section in "1234"]
    assert json.loads(json.dumps(mail, default=str))["mail"]["uid"] == 8


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("INBOX", ["<m8@shop.example>", "INBOX UID 8 of 1700", "INBOX UID 8 of 1700 (waiting)"]),
        ("/in/a_b.eml", ["a_b.eml", "/in/a_b.eml"]),
        (MAILDIR, ["1700000001.M2P1.host", "1700000001.M2P1.host:2,FS", "/in/Post/cur/1700000001.M2P1.host:2,S"]),
    ],
)
def test_a_mail_that_brought_nothing_is_found_by_its_names(house: House, place: str, names: list[str]) -> None:
    record(house, 8 if place == "INBOX" else None, place, outcome="nothing")
    record(house, 9, "INBOX", message_id="<m9@shop.example>")
    record(house, None, "/in/axb.eml", message_id=None)
    for name in names:
        assert [story["mail"]["folder"] for story in stories(house, name)] == [place]


def test_the_text_of_a_mail_and_a_file_in_it_are_told_in_words(house: House) -> None:
    received = dt.datetime(2026, 8, 1, 10, tzinfo=dt.UTC)
    record(house, sections=["1", "2"], received_at=received, action="done", left_out='{"body": 1, "decoration": 2}')
    mail, text, bill = map(as_text, stories(house, "m8@shop.example"))
    assert "the text of a mail of ann@shop.example: 'Bill'" in text
    assert "as 'bill.pdf' in a mail of ann@shop.example" in bill
    assert "received 2026-08-01 10:00:00Z, authentication unknown, moved to 'Done' on the server" in bill
    assert "left out: 1 text, 2 pictures of the text" in mail


def test_of_a_mail_in_a_file_no_time_is_told_that_nobody_knows(house: House) -> None:
    record(house, None, "/in/a.eml", ["2"], sender=None)
    mail, bill = map(as_text, stories(house, "a.eml"))
    assert "received" not in mail + bill
    assert "as 'bill.pdf' in a mail of an unknown sender: 'Bill'" in bill


@pytest.mark.parametrize(("action", "words"), [("done", "done on the server"), ("failed", "failed on the server")])
def test_what_was_done_by_settings_that_are_gone_is_not_guessed(home: Settings, action: str, words: str) -> None:
    with House(home, vendors=lambda _closing: home) as house:
        record(house, action=action)
        assert words in as_text(stories(house, "m8@shop.example")[0])


def test_the_standing_counts_mails_that_wait_but_not_those_whose_uids_are_gone(house: House) -> None:
    assert "Mails that wait" not in summary(house, None)
    for uid, outcome in enumerate(["too_large", "waiting", "waiting", "left"], 1):
        record(house, uid, outcome=outcome)
    assert standing(house)["mails_waiting"] == {"too_large": 1, "waiting": 2}
    assert "Mails that wait: 1 too_large, 2 waiting (invoices reconcile names them)" in summary(house, None)
    with house.ledger.transaction() as tx:
        set_position(tx, "ap", "INBOX", Position(1701, 1, "rules"))
    assert standing(house)["mails_waiting"] == {"too_large": 0, "waiting": 0}
