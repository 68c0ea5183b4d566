"""Mails in the ledger: actions stay done, waiting mails stay pending, old UIDs have no pending actions."""

from __future__ import annotations

from dataclasses import replace

from invoices.ledger import Ledger
from invoices.ledger.mails import (
    Arrival,
    MailFolderPosition,
    MailMessage,
    find_folder_position,
    list_mail_outcomes_by_uid,
    list_mail_rows,
    list_mails_by_name,
    list_uids_to_fetch,
    list_uids_with_pending_action,
    record_arrivals,
    record_mail_action,
    set_folder_position,
)
from invoices.model import compute_message_key


def build_message(uid: int, **values: object) -> MailMessage:
    defaults = {"outcome": "collected", "uidvalidity": 7, "uid": uid, "action": "pending", "byte_count": 10} | values
    return MailMessage(compute_message_key("ap", f"/INBOX;UIDVALIDITY=7/;UID={uid}"), "ap", "INBOX", **defaults)  # type: ignore[arg-type]


def record_mails(ledger: Ledger, *mails: MailMessage) -> None:
    with ledger.begin_transaction() as tx:
        record_arrivals(tx, [Arrival([], message) for message in mails])


def test_an_action_stays_done_when_the_mail_is_recorded_again(ledger: Ledger) -> None:
    record_mails(ledger, build_message(1), build_message(2))
    with ledger.begin_transaction() as tx:
        record_mail_action(tx, "ap", "INBOX", 7, [1], "done")
    record_mails(ledger, build_message(1), build_message(2))
    with ledger.open_snapshot() as connection:
        assert list_uids_with_pending_action(connection, "ap", "INBOX", 7) == [2]


def test_a_waiting_mail_is_to_fetch_until_it_is_collected(ledger: Ledger) -> None:
    record_mails(
        ledger,
        build_message(1, outcome="waiting", action="none"),
        build_message(2, outcome="too_large", byte_count=99, action="none"),
    )
    with ledger.open_snapshot() as connection:
        assert list_uids_to_fetch(connection, "ap", "INBOX", 7, 50) == [1]
        assert list_uids_to_fetch(connection, "ap", "INBOX", 7, 100) == [1, 2]
    record_mails(ledger, build_message(1))
    with ledger.open_snapshot() as connection:
        assert list_uids_to_fetch(connection, "ap", "INBOX", 7, 50) == []
        assert list_mail_outcomes_by_uid(connection, "ap", "INBOX", 7) == {1: "collected", 2: "too_large"}


def test_recorded_header_fields_stay_when_a_later_record_has_none(ledger: Ledger) -> None:
    before = replace(build_message(1, outcome="waiting", action="none"), subject="Invoice 1", sender="a@b.example")
    record_mails(ledger, before)
    record_mails(ledger, replace(before, outcome="skipped", subject=None, sender=None))
    with ledger.open_snapshot() as connection:
        (row,) = list_mail_rows(connection, [before.message_key])
    assert (row["outcome"], row["subject"], row["sender"]) == ("skipped", "Invoice 1", "a@b.example")


def test_mails_with_an_old_uidvalidity_have_no_pending_action(ledger: Ledger) -> None:
    record_mails(ledger, build_message(1))
    with ledger.begin_transaction() as tx:
        set_folder_position(tx, "ap", "INBOX", MailFolderPosition(7, 2, "rules"))
    with ledger.begin_transaction() as tx:
        set_folder_position(tx, "ap", "INBOX", MailFolderPosition(8, 2, "rules"))
    with ledger.open_snapshot() as connection:
        assert list_uids_with_pending_action(connection, "ap", "INBOX", 7) == []
        assert find_folder_position(connection, "ap", "INBOX") == MailFolderPosition(8, 2, "rules")


def test_a_mail_is_found_by_its_message_id_with_and_without_brackets(ledger: Ledger) -> None:
    record_mails(ledger, replace(build_message(1), message_id="<a@b>"), replace(build_message(2), message_id="c@d"))
    with ledger.open_snapshot() as connection:
        assert [row["uid"] for row in list_mails_by_name(connection, "a@b")] == [1]
        assert [row["uid"] for row in list_mails_by_name(connection, "<c@d>")] == [2]
