"""The mailbox source on a real server: everything is collected exactly once, whatever fails in between."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from invoices.errors import ConfigurationError, TransientError
from sources.mailbox import ScanState, build_account, open_session
from sources.mailbox.account import MEGABYTE
from sources.paging import retry_scan_once
from tests.integration.sources.mailbox.mailbox_fixtures import (
    CommandRecordingProxy,
    MailboxHarness,
    build_invoice_mail,
    build_pdf,
)


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_attachment_is_stored_with_its_origin(mailbox_harness: MailboxHarness) -> None:
    scan_state = mailbox_harness.scan_mailbox()
    assert (scan_state.collected, scan_state.problems) == (3, [])
    assert mailbox_harness.list_reason_codes_by_document() == {
        hash_content(build_pdf(number)): "collected" for number in (1, 2, 3)
    }
    ((location, sender, subject, name, section),) = mailbox_harness.query_ledger(
        "select location, sender, subject, file_name, section from sightings where subject = 'Invoice 2'"
    )
    uidvalidity = mailbox_harness.account.get_uidvalidity()
    assert location == f"/INBOX;UIDVALIDITY={uidvalidity}/;UID=2/;SECTION=2"
    assert (sender, subject, name, section) == ("shop@example.org", "Invoice 2", "invoice-2.pdf", "2")


def test_reading_never_marks_a_mail_as_seen(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.scan_mailbox()
    assert all(r"\Seen" not in flags for flags in mailbox_harness.account.list_flags_by_uid().values())


def test_without_new_mails_the_only_command_is_one_examine(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.scan_mailbox()
    with CommandRecordingProxy(mailbox_harness.account.port) as proxy:
        mailbox_harness.settings = {"port": proxy.port}
        scan_state = mailbox_harness.scan_mailbox()
    assert proxy.list_command_names() == ["EXAMINE"]
    assert mailbox_harness.rows == []
    assert scan_state.known_count == 3


def test_only_the_new_mail_is_fetched(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.scan_mailbox()
    mailbox_harness.account.deliver_message(build_invoice_mail(4))
    with CommandRecordingProxy(mailbox_harness.account.port) as proxy:
        mailbox_harness.settings = {"port": proxy.port}
        assert mailbox_harness.scan_mailbox().collected == 1
    fetches = [command for command in proxy.commands if command.startswith(b"UID FETCH")]
    assert [command.split(b" ")[2] for command in fetches] == [b"4", b"4"]


def test_after_a_changed_uidvalidity_mails_are_fetched_again_but_no_document_twice(
    mailbox_harness: MailboxHarness,
) -> None:
    mailbox_harness.scan_mailbox()
    before = mailbox_harness.list_reason_codes_by_document()
    mailbox_harness.account.reset_uidvalidity()
    assert mailbox_harness.scan_mailbox().collected == 3
    assert mailbox_harness.list_reason_codes_by_document() == before
    assert mailbox_harness.query_ledger("select count(*) from messages") == [(6,)]


def test_a_mail_moved_away_and_back_is_not_a_second_document(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"folders": ("INBOX", "Later")}
    mailbox_harness.account.create_folder("Later")
    mailbox_harness.scan_mailbox()
    before = mailbox_harness.list_reason_codes_by_document()
    for source, target in (("INBOX", "Later"), ("Later", "INBOX")):
        mailbox_harness.account.server.run_doveadm(
            "move", "-u", mailbox_harness.account.username, target, "mailbox", source, "subject", "Invoice 2"
        )
        assert mailbox_harness.scan_mailbox().collected == 1
    assert mailbox_harness.list_reason_codes_by_document() == before


def test_a_copy_in_another_folder_is_another_sighting_of_one_document(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.account.create_folder("Rechnungen/Märkte")
    mailbox_harness.account.deliver_message(build_invoice_mail(2), "Rechnungen/Märkte")
    mailbox_harness.settings = {"folders": ("INBOX", "Rechnungen/Märkte")}
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid("Rechnungen/Märkte") == {1: "collected"}
    assert len(mailbox_harness.list_reason_codes_by_document()) == 3
    assert len(mailbox_harness.query_ledger("select * from sightings where subject = 'Invoice 2'")) == 2


def test_missing_folders_are_one_problem_and_the_others_are_scanned(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"folders": ("Nowhere", "INBOX", "Nobody")}
    scan_state = mailbox_harness.scan_mailbox()
    assert scan_state.collected == 3
    assert list(scan_state.positions) == ["INBOX"]
    (problem,) = scan_state.problems
    assert "'Nowhere'" in problem
    assert "'Nobody'" in problem


def test_after_a_disconnect_the_other_mails_are_fetched_and_none_twice(mailbox_harness: MailboxHarness) -> None:
    for number in range(4, 261):
        mailbox_harness.account.deliver_message(
            build_invoice_mail(number, content=b"%%PDF-1.4 %d " % number + b"x" * 3000)
        )
    with CommandRecordingProxy(mailbox_harness.account.port, cut_after=1_150_000) as proxy:
        mailbox_harness.settings = {"port": proxy.port}
        with pytest.raises(TransientError):
            mailbox_harness.scan_mailbox()
    first = {row["message"]["uid"] for row in mailbox_harness.rows}
    assert 200 <= len(first) < 260
    mailbox_harness.settings = {}
    mailbox_harness.scan_mailbox()
    assert {row["message"]["uid"] for row in mailbox_harness.rows} == set(range(1, 261)) - first
    assert len(mailbox_harness.list_reason_codes_by_document()) == 260


@pytest.mark.parametrize("command", ["EXAMINE", "UID SEARCH", "UID FETCH", "LOGOUT"])
def test_after_a_disconnect_at_any_command_a_later_scan_misses_nothing(
    mailbox_harness: MailboxHarness, command: str
) -> None:
    with CommandRecordingProxy(mailbox_harness.account.port, cut_at=command.encode()) as proxy:
        mailbox_harness.settings = {"port": proxy.port}
        if command == "LOGOUT":
            mailbox_harness.scan_mailbox()
        else:
            with pytest.raises(TransientError):
                mailbox_harness.scan_mailbox()
    mailbox_harness.settings = {}
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid() == dict.fromkeys((1, 2, 3), "collected")
    assert len(mailbox_harness.list_reason_codes_by_document()) == 3


def test_a_too_large_mail_is_reported_once_and_its_body_never_fetched(mailbox_harness: MailboxHarness) -> None:
    deliver_large_mail(mailbox_harness)
    with CommandRecordingProxy(mailbox_harness.account.port) as proxy:
        mailbox_harness.settings = {"megabytes": 1, "port": proxy.port}
        scan_state = mailbox_harness.scan_mailbox()
        assert (scan_state.collected, scan_state.too_large) == (3, 1)
        assert mailbox_harness.list_outcomes_by_uid()[4] == "too_large"
        assert len(scan_state.remarks) == 1
        assert "UID=4" in scan_state.remarks[0]
        assert [command.split(b" ")[2] for command in proxy.commands if b"BODY.PEEK[]" in command] == [b"1,2,3"]
        assert mailbox_harness.scan_mailbox().too_large == 0
        assert mailbox_harness.rows == []
    rows = mailbox_harness.query_ledger("select message_id, sender, subject from messages where uid = 4")
    assert rows == [("<large@example.org>", "shop@example.org", "Invoice 4")]
    mailbox_harness.settings = {"megabytes": 2}
    assert mailbox_harness.scan_mailbox().collected == 1
    assert mailbox_harness.list_outcomes_by_uid()[4] == "collected"


def test_a_disconnect_over_the_header_of_a_large_mail_blocks_no_other_mail(
    mailbox_harness: MailboxHarness,
) -> None:
    deliver_large_mail(mailbox_harness)
    scan_state = ScanState()
    with CommandRecordingProxy(mailbox_harness.account.port, cut_at=b"UID FETCH 4 ") as proxy:
        mailbox_harness.settings = {"megabytes": 1, "port": proxy.port}
        with pytest.raises(TransientError):
            mailbox_harness.scan_mailbox(scan_state)
        mailbox_harness.scan_mailbox(scan_state)
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "collected", 3: "collected", 4: "too_large"}


def deliver_large_mail(mailbox_harness: MailboxHarness) -> None:
    """Deliver a fourth mail, of more than one megabyte."""
    content = b"%PDF-1.4 " + b"x" * MEGABYTE
    mailbox_harness.account.deliver_message(build_invoice_mail(4, content=content, Message_ID="<large@example.org>"))


def test_a_mail_that_cannot_be_opened_is_itself_the_document(mailbox_harness: MailboxHarness) -> None:
    broken = b"Subject: x\r\n" + b"X-Many: y\r\n" * 1500 + b"\r\nbody\r\n"
    mailbox_harness.account.deliver_message(broken)
    assert mailbox_harness.scan_mailbox().quarantined == 1
    assert mailbox_harness.list_reason_codes_by_document()[hash_content(broken)] == "mail_limits"
    assert mailbox_harness.query_ledger("select action, reason from messages where uid = 4")[0][0] == "none"


def test_a_mail_is_opened_as_one_whatever_its_first_bytes_are(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.account.deliver_message(b"X-Only: y\r\n\r\n")
    mailbox_harness.account.deliver_message(b"\r\nno header at all\r\n")
    mailbox_harness.scan_mailbox()
    assert (mailbox_harness.list_outcomes_by_uid()[4], mailbox_harness.list_outcomes_by_uid()[5]) == (
        "no_documents",
        "no_documents",
    )


def scan_with_retry(mailbox_harness: MailboxHarness, scan_state: ScanState) -> None:
    """Scan the mailbox, and once more if the scan breaks off."""
    for _ in retry_scan_once(lambda: iter([mailbox_harness.scan_mailbox(scan_state)]), sleep=lambda _seconds: None):
        pass


def test_a_mail_over_which_the_server_disconnects_waits_and_blocks_no_other(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"mails_per_run": 1}
    mailbox_harness.scan_mailbox()
    (file,) = [
        file
        for file in mailbox_harness.account.get_folder_path("INBOX").glob("new/*")
        if b"Invoice 2" in file.read_bytes()
    ]
    file.chmod(0)
    mailbox_harness.account.create_folder("More")
    mailbox_harness.account.deliver_message(build_invoice_mail(4), "More")
    mailbox_harness.settings = {"folders": ("INBOX", "More")}
    first, second = ScanState(), ScanState()
    with pytest.raises(TransientError):
        scan_with_retry(mailbox_harness, first)
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "waiting"}
    scan_with_retry(mailbox_harness, second)
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "waiting", 3: "collected"}
    assert mailbox_harness.list_outcomes_by_uid("More") == {1: "collected"}
    assert "'INBOX';UID=2" in second.problems[0]
    file.chmod(0o600)
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.list_outcomes_by_uid() == {1: "collected", 2: "collected", 3: "collected"}


def test_the_authentication_results_of_our_own_servers_are_recorded(mailbox_harness: MailboxHarness) -> None:
    for server in ("mx.example.com", "mx.evil.example"):
        result = f"{server}; dkim=pass (x) header.d=example.org; spf=fail smtp.mailfrom=example.org"
        mailbox_harness.account.deliver_message(build_invoice_mail(7, Authentication_Results=result))
    mailbox_harness.settings = {"authserv_ids": ("mx.example.com",)}
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.query_ledger("select authentication from messages where uid > 3 order by uid") == [
        ("spf=fail dkim=pass",), ("unknown",)
    ]  # fmt: skip


def test_a_scan_is_repeated_once_after_a_transient_error() -> None:
    pauses: list[float] = []
    errors = [TransientError("busy", retry_after=900.0)]

    def start_scan() -> Iterator[str]:
        yield "some"
        if errors:
            raise errors.pop(0)

    assert list(retry_scan_once(start_scan, pauses.append)) == ["some", "some"]
    errors += [TransientError("a"), TransientError("b")]
    with pytest.raises(TransientError, match="b"):
        list(retry_scan_once(start_scan, pauses.append))
    assert pauses == [30.0, 2.0]


def test_a_configuration_error_is_not_retried() -> None:
    def start_scan() -> Iterator[str]:
        yield "some"
        raise ConfigurationError("wrong")

    with pytest.raises(ConfigurationError):
        list(retry_scan_once(start_scan, lambda _seconds: pytest.fail("it waits")))


def test_the_documents_of_a_row_are_stored_before_it_is_yielded(mailbox_harness: MailboxHarness) -> None:
    with open_session(build_account(mailbox_harness.build_settings(), mailbox_harness.directory)) as session:
        for row in mailbox_harness.build_source(session, ScanState()):
            assert all(sighting_row["document_sha256"] in mailbox_harness.store for sighting_row in row["sightings"])
            assert row["message_key"] == row["message"]["message_key"]
