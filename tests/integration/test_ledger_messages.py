"""Mails in the ledger: what was done stays done, what waits is owed, and nothing is owed under UIDs that are gone."""

from __future__ import annotations

from dataclasses import replace

from invoices.ledger import Ledger
from invoices.ledger.messages import (
    Arrival,
    Message,
    Position,
    due_uids,
    known_uids,
    message_rows,
    messages_named,
    owed_uids,
    position,
    record_action,
    record_arrivals,
    set_position,
)
from invoices.model import message_key


def mail(uid: int, **values: object) -> Message:
    told = {"outcome": "taken", "uidvalidity": 7, "uid": uid, "action": "due", "byte_count": 10} | values
    return Message(message_key("ap", f"/INBOX;UIDVALIDITY=7/;UID={uid}"), "ap", "INBOX", **told)  # type: ignore[arg-type]


def record(ledger: Ledger, *mails: Message) -> None:
    with ledger.transaction() as tx:
        record_arrivals(tx, [Arrival([], one) for one in mails])


def test_what_was_done_on_the_server_stays_done_when_the_mail_is_seen_again(ledger: Ledger) -> None:
    record(ledger, mail(1), mail(2))
    with ledger.transaction() as tx:
        record_action(tx, "ap", "INBOX", 7, [1], "done")
    record(ledger, mail(1), mail(2))
    with ledger.reading() as connection:
        assert due_uids(connection, "ap", "INBOX", 7) == [2]


def test_a_mail_that_waited_is_owed_until_it_is_taken(ledger: Ledger) -> None:
    record(
        ledger, mail(1, outcome="waiting", action="none"), mail(2, outcome="too_large", byte_count=99, action="none")
    )
    with ledger.reading() as connection:
        assert owed_uids(connection, "ap", "INBOX", 7, 50) == [1]
        assert owed_uids(connection, "ap", "INBOX", 7, 100) == [1, 2]
    record(ledger, mail(1))
    with ledger.reading() as connection:
        assert owed_uids(connection, "ap", "INBOX", 7, 50) == []
        assert known_uids(connection, "ap", "INBOX", 7) == {1: "taken", 2: "too_large"}


def test_what_a_mail_said_of_itself_stays_where_later_nothing_more_is_heard_of_it(ledger: Ledger) -> None:
    before = replace(mail(1, outcome="waiting", action="none"), subject="Invoice 1", sender="a@b.example")
    record(ledger, before)
    record(ledger, replace(before, outcome="left", subject=None, sender=None))
    with ledger.reading() as connection:
        (row,) = message_rows(connection, [before.message_key])
    assert (row["outcome"], row["subject"], row["sender"]) == ("left", "Invoice 1", "a@b.example")


def test_nothing_is_owed_to_mails_under_uids_that_are_gone(ledger: Ledger) -> None:
    record(ledger, mail(1))
    with ledger.transaction() as tx:
        set_position(tx, "ap", "INBOX", Position(7, 2, "rules"))
    with ledger.transaction() as tx:
        set_position(tx, "ap", "INBOX", Position(8, 2, "rules"))
    with ledger.reading() as connection:
        assert due_uids(connection, "ap", "INBOX", 7) == []
        assert position(connection, "ap", "INBOX") == Position(8, 2, "rules")


def test_a_mail_is_found_by_its_message_id_with_and_without_brackets(ledger: Ledger) -> None:
    record(ledger, replace(mail(1), message_id="<a@b>"), replace(mail(2), message_id="c@d"))
    with ledger.reading() as connection:
        assert [row["uid"] for row in messages_named(connection, "a@b")] == [1]
        assert [row["uid"] for row in messages_named(connection, "<c@d>")] == [2]
