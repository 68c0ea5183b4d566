"""Rules, and the cap of a run, over a real server: what is left is recorded, and other rules take it after all."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest

from invoices.errors import TransientError
from sources.mailbox import Seen, account_of, open_session
from tests.integration.mailbox_desk import Desk, Watching, invoice_mail, pdf_of, with_attachment


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_rules_leave_a_mail_by_its_header_and_other_rules_take_it_after_all(desk: Desk) -> None:
    desk.user.deliver(invoice_mail(4, From="Market <NEWS@Market.example>", Message_ID="<n4@market.example>"))
    with Watching(desk.user.port) as proxy:
        desk.settings = {"port": proxy.port, "rules": ({"take": False, "sender": "*@market.example"},)}
        desk.look()
        assert desk.outcomes() == {1: "taken", 2: "taken", 3: "taken", 4: "left"}
        assert not any(b"4" in command.split(b" ")[2] for command in proxy.commands if b"BODY.PEEK[]" in command)
        assert desk.query("select message_id, sender, subject, reason from messages where uid = 4") == [
            ("<n4@market.example>", "news@market.example", "Invoice 4", "rule 1 leaves it")
        ]
        desk.look()
        assert desk.rows == []
        assert proxy.names() == ["EXAMINE"]
    desk.settings = {"rules": ({"take": False, "sender": "*@elsewhere.example"},)}
    assert desk.look().taken == 1
    assert desk.outcomes()[4] == "taken"


def test_of_a_mail_that_a_rule_takes_by_file_names_only_those_files_are_documents(desk: Desk) -> None:
    desk.settings = {"rules": ({"attachment": "*-2.PDF"},), "otherwise": "leave"}
    desk.user.deliver(invoice_mail(4, name="terms-2.pdf", content=pdf_of(2)))
    desk.look()
    assert desk.outcomes() == {1: "left", 2: "taken", 3: "left", 4: "taken"}
    assert desk.documents() == {sha256(pdf_of(2)): "collected"}


def test_files_that_fit_no_rule_are_kept_beside_the_one_that_does_and_are_no_documents(desk: Desk) -> None:
    desk.settings = {"rules": ({"attachment": "invoice*"},), "otherwise": "leave"}
    desk.user.deliver(with_attachment(invoice_mail(4), pdf_of(5), "terms.pdf"))
    desk.look()
    assert desk.documents()[sha256(pdf_of(4))] == "collected"
    assert desk.documents()[sha256(pdf_of(5))] == "unmatched"


def test_a_mail_that_is_too_young_for_a_rule_is_taken_once_it_is_old_enough(desk: Desk) -> None:
    desk.settings = {"rules": ({"older_than_days": 2},), "otherwise": "leave"}
    assert desk.look().waiting == 3
    assert desk.query("select sender, subject from messages where uid = 3") == [("shop@example.org", "Invoice 3")]
    assert desk.look().waiting == 0
    assert desk.rows == []
    desk.now += dt.timedelta(days=3)
    assert desk.look().taken == 3


def test_a_run_fetches_the_oldest_mails_and_the_next_run_goes_on(desk: Desk) -> None:
    desk.settings = {"mails_per_run": 2}
    assert desk.look().positions["INBOX"].uid_next == 3
    assert list(desk.outcomes()) == [1, 2]
    assert desk.look().positions["INBOX"].uid_next == 4
    assert list(desk.outcomes()) == [1, 2, 3]


def test_a_mail_that_was_to_be_fetched_later_and_is_gone_is_owed_no_more(desk: Desk) -> None:
    desk.settings = {"rules": ({"older_than_days": 2},), "otherwise": "leave"}
    desk.look()
    desk.user.server.doveadm("expunge", "-u", desk.user.username, "mailbox", "INBOX", "uid", "2")
    desk.look()
    assert desk.outcomes() == {1: "waiting", 2: "left", 3: "waiting"}


def test_other_rules_and_a_cap_together_leave_nothing_behind(desk: Desk) -> None:
    desk.user.deliver(invoice_mail(4))
    desk.settings = {"otherwise": "leave"}
    before = desk.look().positions["INBOX"]
    desk.user.deliver(invoice_mail(5))
    desk.settings = {"mails_per_run": 2}
    assert desk.look().positions["INBOX"] == before
    assert desk.outcomes() == {1: "taken", 2: "taken", 3: "left", 4: "left"}
    after = desk.look().positions["INBOX"]
    assert (after.uid_next, after.rules == before.rules) == (5, False)
    assert desk.look().taken == 1
    assert desk.outcomes() == dict.fromkeys(range(1, 6), "taken")


def test_a_folder_is_gone_through_before_the_cap_of_a_run_reaches_the_next_one(desk: Desk) -> None:
    desk.user.create_folder("More")
    desk.user.deliver(invoice_mail(4), "More")
    desk.settings = {"folders": ("INBOX", "More"), "mails_per_run": 3}
    seen = desk.look()
    assert {name: reached.uid_next for name, reached in seen.positions.items()} == {"INBOX": 4, "More": 1}
    assert desk.look().taken == 1
    assert desk.outcomes("More") == {1: "taken"}


def test_mails_that_rules_leave_come_in_pages_too(desk: Desk) -> None:
    for number in range(4, 451):
        desk.user.deliver(b"From: a@b.example\r\nSubject: %d\r\n\r\nx\r\n" % number)
    desk.settings = {"rules": ({"take": False, "sender": "a@b.example"},)}
    with Watching(desk.user.port, cut_after=50_000) as proxy:
        desk.settings["port"] = proxy.port
        with pytest.raises(TransientError):
            desk.look()
    recorded = len(desk.rows)
    assert 0 < recorded < 450
    del desk.settings["port"]
    desk.look()
    assert len(desk.rows) == 450 - recorded
    assert list(desk.outcomes().values()).count("left") == 447


def test_mails_that_rules_leave_are_told_before_all_headers_are_read(desk: Desk) -> None:
    for number in range(4, 451):
        desk.user.deliver(b"From: a@b.example\r\nSubject: %d\r\n\r\nx\r\n" % number)
    desk.settings = {"rules": ({"take": False, "sender": "*"},)}
    with Watching(desk.user.port) as proxy:
        desk.settings["port"] = proxy.port
        with open_session(account_of(desk.mailbox(), desk.place)) as session:
            rows = iter(desk.source(session, Seen()))
            assert next(rows)["message"]["outcome"] == "left"
            assert proxy.names().count("FETCH") == 1
            assert len(list(rows)) == 449
