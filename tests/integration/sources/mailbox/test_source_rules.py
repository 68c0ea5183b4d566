"""Rules and the limit of a run on a real server: skipped mails are recorded, and other rules can collect them later."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest

from invoices.errors import TransientError
from sources.mailbox import ScanState, build_account, open_session
from tests.integration.sources.mailbox.mailbox_fixtures import (
    CommandRecordingProxy,
    MailboxHarness,
    add_attachment,
    build_invoice_mail,
    build_pdf,
)


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_mail_skipped_by_its_header_is_collected_under_other_rules(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.account.deliver_message(
        build_invoice_mail(4, From="Market <NEWS@Market.example>", Message_ID="<n4@market.example>")
    )
    with CommandRecordingProxy(mailbox_harness.account.port) as proxy:
        mailbox_harness.settings = {"port": proxy.port, "rules": ({"take": False, "sender": "*@market.example"},)}
        mailbox_harness.scan_mailbox()
        assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "collected", 3: "collected", 4: "skipped"}
        assert not any(b"4" in command.split(b" ")[2] for command in proxy.commands if b"BODY.PEEK[]" in command)
        assert mailbox_harness.query_ledger(
            "select message_id, sender, subject, reason from messages where uid = 4"
        ) == [("<n4@market.example>", "news@market.example", "Invoice 4", "rule 1 skips it")]
        mailbox_harness.scan_mailbox()
        assert mailbox_harness.rows == []
        assert proxy.list_command_names() == ["EXAMINE"]
    mailbox_harness.settings = {"rules": ({"take": False, "sender": "*@elsewhere.example"},)}
    assert mailbox_harness.scan_mailbox().collected == 1
    assert mailbox_harness.list_outcomes_by_uid()[4] == "collected"


def test_a_rule_on_file_names_makes_only_matching_files_documents(
    mailbox_harness: MailboxHarness,
) -> None:
    mailbox_harness.settings = {"rules": ({"attachment": "*-2.PDF"},), "otherwise": "leave"}
    mailbox_harness.account.deliver_message(build_invoice_mail(4, name="terms-2.pdf", content=build_pdf(2)))
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid() == {1: "skipped", 2: "collected", 3: "skipped", 4: "collected"}
    assert mailbox_harness.list_reason_codes_by_document() == {hash_content(build_pdf(2)): "collected"}


def test_files_that_match_no_rule_are_stored_but_not_documents(
    mailbox_harness: MailboxHarness,
) -> None:
    mailbox_harness.settings = {"rules": ({"attachment": "invoice*"},), "otherwise": "leave"}
    mailbox_harness.account.deliver_message(add_attachment(build_invoice_mail(4), build_pdf(5), "terms.pdf"))
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_reason_codes_by_document()[hash_content(build_pdf(4))] == "collected"
    assert mailbox_harness.list_reason_codes_by_document()[hash_content(build_pdf(5))] == "unmatched"


def test_a_mail_too_young_for_a_rule_is_collected_once_it_is_old_enough(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"rules": ({"older_than_days": 2},), "otherwise": "leave"}
    assert mailbox_harness.scan_mailbox().waiting == 3
    assert mailbox_harness.query_ledger("select sender, subject from messages where uid = 3") == [
        ("shop@example.org", "Invoice 3")
    ]
    assert mailbox_harness.scan_mailbox().waiting == 0
    assert mailbox_harness.rows == []
    mailbox_harness.now += dt.timedelta(days=3)
    assert mailbox_harness.scan_mailbox().collected == 3


def test_a_run_fetches_the_oldest_mails_and_the_next_run_continues(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"mails_per_run": 2}
    assert mailbox_harness.scan_mailbox().positions["INBOX"].uid_next == 3
    assert list(mailbox_harness.list_outcomes_by_uid()) == [1, 2]
    assert mailbox_harness.scan_mailbox().positions["INBOX"].uid_next == 4
    assert list(mailbox_harness.list_outcomes_by_uid()) == [1, 2, 3]


def test_a_waiting_mail_that_is_removed_is_no_longer_waiting(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"rules": ({"older_than_days": 2},), "otherwise": "leave"}
    mailbox_harness.scan_mailbox()
    mailbox_harness.account.server.run_doveadm(
        "expunge", "-u", mailbox_harness.account.username, "mailbox", "INBOX", "uid", "2"
    )
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid() == {1: "waiting", 2: "skipped", 3: "waiting"}


def test_new_rules_together_with_a_limit_miss_no_mail(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.account.deliver_message(build_invoice_mail(4))
    mailbox_harness.settings = {"otherwise": "leave"}
    before = mailbox_harness.scan_mailbox().positions["INBOX"]
    mailbox_harness.account.deliver_message(build_invoice_mail(5))
    mailbox_harness.settings = {"mails_per_run": 2}
    assert mailbox_harness.scan_mailbox().positions["INBOX"] == before
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "collected", 3: "skipped", 4: "skipped"}
    after = mailbox_harness.scan_mailbox().positions["INBOX"]
    assert (after.uid_next, after.rules == before.rules) == (5, False)
    assert mailbox_harness.scan_mailbox().collected == 1
    assert mailbox_harness.list_outcomes_by_uid() == dict.fromkeys(range(1, 6), "collected")


def test_the_limit_of_a_run_applies_across_folders_in_order(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.account.create_folder("More")
    mailbox_harness.account.deliver_message(build_invoice_mail(4), "More")
    mailbox_harness.settings = {"folders": ("INBOX", "More"), "mails_per_run": 3}
    scan_state = mailbox_harness.scan_mailbox()
    assert {name: position.uid_next for name, position in scan_state.positions.items()} == {"INBOX": 4, "More": 1}
    assert mailbox_harness.scan_mailbox().collected == 1
    assert mailbox_harness.list_outcomes_by_uid("More") == {1: "collected"}


def test_skipped_mails_are_recorded_in_pages_too(mailbox_harness: MailboxHarness) -> None:
    for number in range(4, 451):
        mailbox_harness.account.deliver_message(b"From: a@b.example\r\nSubject: %d\r\n\r\nx\r\n" % number)
    mailbox_harness.settings = {"rules": ({"take": False, "sender": "a@b.example"},)}
    with CommandRecordingProxy(mailbox_harness.account.port, cut_after=50_000) as proxy:
        mailbox_harness.settings["port"] = proxy.port
        with pytest.raises(TransientError):
            mailbox_harness.scan_mailbox()
    recorded = len(mailbox_harness.rows)
    assert 0 < recorded < 450
    del mailbox_harness.settings["port"]
    mailbox_harness.scan_mailbox()
    assert len(mailbox_harness.rows) == 450 - recorded
    assert list(mailbox_harness.list_outcomes_by_uid().values()).count("skipped") == 447


def test_skipped_mails_are_yielded_before_all_headers_are_read(mailbox_harness: MailboxHarness) -> None:
    for number in range(4, 451):
        mailbox_harness.account.deliver_message(b"From: a@b.example\r\nSubject: %d\r\n\r\nx\r\n" % number)
    mailbox_harness.settings = {"rules": ({"take": False, "sender": "*"},)}
    with CommandRecordingProxy(mailbox_harness.account.port) as proxy:
        mailbox_harness.settings["port"] = proxy.port
        with open_session(build_account(mailbox_harness.build_settings(), mailbox_harness.directory)) as session:
            rows = iter(mailbox_harness.build_source(session, ScanState()))
            assert next(rows)["message"]["outcome"] == "skipped"
            assert proxy.list_command_names().count("FETCH") == 1
            assert len(list(rows)) == 449
