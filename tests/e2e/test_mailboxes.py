"""Mailboxes through the command line and a real server: all is collected once, and no mail is changed too early."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import psutil
import pytest

from tests.e2e.fork_client import ForkServer
from tests.e2e.mail_app import (
    MailApp,
    build_mail,
    build_mail_without_document,
    build_mailbox_entry,
    build_pdf,
    get_unmeasured_fork_server,
    list_sample_paths,
    parse_message_ids,
)
from tests.servers.dovecot_server import DovecotServer, MailAccount
from tests.servers.postgres_server import PostgresServer
from tests.servers.scripted_imap_server import DisconnectingProxy

pytestmark = pytest.mark.slow


@pytest.fixture
def fork_servers() -> list[ForkServer]:
    """Two processes that fork the commands."""
    return [get_unmeasured_fork_server(number) for number in (1, 2)]


@pytest.fixture
def mail_app(tmp_path: Path) -> MailApp:
    """An application without settings yet."""
    return MailApp(tmp_path / "app", get_unmeasured_fork_server())


@pytest.fixture
def account(dovecot: DovecotServer) -> MailAccount:
    """A mailbox with three mails."""
    mailbox = dovecot.create_account()
    for number in (1, 2, 3):
        mailbox.deliver_message(build_mail(number))
    return mailbox


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hash_mail_documents(*numbers: int) -> set[str]:
    """Return the hashes of the documents in the mails with these numbers."""
    return {hash_content(build_pdf(number)) for number in numbers}


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_after_a_changed_uidvalidity_nothing_is_collected_twice_and_no_new_mail_is_missed(
    mail_app: MailApp, account: MailAccount, security: str
) -> None:
    mail_app.write_config(build_mailbox_entry(account, security=security))
    assert mail_app.run_collect()["documents"]["new"] == 3
    account.server.run_doveadm("expunge", "-u", account.username, "mailbox", "INBOX", "subject", "Invoice 1")
    account.reset_uidvalidity()
    account.deliver_message(build_mail(4))
    assert account.list_uids() == [1, 2, 3]
    assert mail_app.run_collect()["documents"]["new"] == 1
    assert set(mail_app.list_documents()) == hash_mail_documents(1, 2, 3, 4)
    assert mail_app.run_collect()["documents"]["new"] == 0
    (source_report,) = mail_app.run_reconcile()["sources"]
    assert (source_report["listed"], source_report["known"]) == (3, 3)


def test_a_moved_or_copied_mail_has_a_sighting_everywhere_and_one_document(
    mail_app: MailApp, account: MailAccount
) -> None:
    account.create_folder("Later")
    mail_app.write_config(build_mailbox_entry(account, folders=["INBOX", "Later"]))
    mail_app.run_collect()
    for source, target in (("INBOX", "Later"), ("Later", "INBOX")):
        account.server.run_doveadm("move", "-u", account.username, target, "mailbox", source, "subject", "Invoice 2")
        assert mail_app.run_collect()["documents"]["new"] == 0
    account.server.run_doveadm("copy", "-u", account.username, "Later", "mailbox", "INBOX", "subject", "Invoice 3")
    assert mail_app.run_collect()["documents"]["new"] == 0
    assert len(mail_app.list_documents()) == 3
    sighting_rows = mail_app.query_ledger("select document_sha256, location from sightings order by location")
    folders = [(row["document_sha256"], row["location"].split(";")[0]) for row in sighting_rows]
    second, third = hash_content(build_pdf(2)), hash_content(build_pdf(3))
    assert sorted(folder for document, folder in folders if document == second) == ["/INBOX", "/INBOX", "/Later"]
    assert sorted(folder for document, folder in folders if document == third) == ["/INBOX", "/Later"]
    mail_app.run_reconcile()


@pytest.mark.parametrize(("after", "flag"), [("seen", r"\Seen"), ("flag", r"\Flagged")])
def test_only_mails_with_stored_documents_are_marked(
    mail_app: MailApp, account: MailAccount, after: str, flag: str
) -> None:
    account.deliver_message(build_mail_without_document())
    mail_app.write_config(build_mailbox_entry(account, after=after))
    mail_app.run_collect()
    marked = [uid for uid, flags in account.list_flags_by_uid().items() if flag in flags]
    assert marked == [1, 2, 3]
    before = mail_app.read_ledger_tables()
    mail_app.run_collect()
    assert mail_app.read_ledger_tables() == before
    mail_app.run_reconcile()


@pytest.mark.parametrize("after", ["move:Done", "delete"])
def test_only_mails_with_stored_documents_leave_the_folder(mail_app: MailApp, account: MailAccount, after: str) -> None:
    account.create_folder("Done")
    account.deliver_message(build_mail_without_document())
    mails = account.list_messages()
    mail_app.write_config(build_mailbox_entry(account, after=after))
    mail_app.run_collect()
    assert account.list_messages() == [build_mail_without_document()]
    assert parse_message_ids(account.list_messages("Done")) == (
        parse_message_ids(mails[:3]) if after == "move:Done" else []
    )
    assert [mail_app.is_stored(hash_content(mail)) for mail in mails] == [after == "delete"] * 3 + [False]
    assert {
        row["action"] for row in mail_app.query_ledger("select action from messages where outcome = 'collected'")
    } == {"done"}
    mail_app.run_reconcile()


@pytest.mark.parametrize("after", ["move:Done", "delete"])
@pytest.mark.parametrize("moment", ["before the server acts", "before the ledger knows"])
def test_the_next_run_completes_what_a_killed_process_began(
    mail_app: MailApp, account: MailAccount, after: str, moment: str
) -> None:
    account.create_folder("Done")
    mails, command = account.list_messages(), b"UID MOVE" if after == "move:Done" else b"UID EXPUNGE"

    def is_kill_moment(sent: bytes, received: bytes) -> bool:
        position = sent.find(command)
        if moment == "before the server acts":
            return position >= 0
        tag = sent[:position].split()[-1] if position >= 0 else b""
        return bool(tag) and b"\r\n" + tag + b" OK" in received

    with ProcessKillingProxy(account.port, is_kill_moment) as proxy:
        mail_app.write_config(build_mailbox_entry(account, after=after) | {"port": proxy.port})
        assert mail_app.run_command("collect").exit_status == -9
        assert {row["action"] for row in mail_app.query_ledger("select action from messages")} == {"pending"}
        assert len(account.list_messages()) == (3 if moment == "before the server acts" else 0)
    mail_app.write_config(build_mailbox_entry(account, after=after))
    assert mail_app.run_collect()["documents"]["new"] == 0
    assert {row["action"] for row in mail_app.query_ledger("select action from messages")} == {"done"}
    assert account.list_messages() == []
    assert parse_message_ids(account.list_messages("Done")) == (
        parse_message_ids(mails) if after == "move:Done" else []
    )
    assert hash_mail_documents(1, 2, 3) <= set(mail_app.list_documents())
    mail_app.run_reconcile()


class ProcessKillingProxy(DisconnectingProxy):
    """Kills the connected processes at a chosen moment, instead of forwarding data."""

    def __init__(self, port: int, should_kill: Callable[[bytes, bytes], bool]) -> None:
        def kill_when_due(sent: bytes, received: bytes) -> bool:
            return should_kill(sent, received) and self._kill_connected_processes()

        super().__init__(port, kill_when_due)

    def _kill_connected_processes(self) -> bool:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # some end by themselves meanwhile
                if any(
                    connection.raddr and connection.raddr.port == self.port
                    for connection in child.net_connections("tcp4")
                ):
                    child.kill()
        return True


def test_of_two_collects_at_once_the_second_reports_it_and_succeeds(
    mail_app: MailApp, fork_servers: list[ForkServer], account: MailAccount
) -> None:
    is_waiting, is_released = threading.Event(), threading.Event()

    def wait_for_release(sent: bytes, received: bytes) -> bool:
        is_waiting.set()
        return not is_released.wait(60)

    with DisconnectingProxy(account.port, wait_for_release) as proxy, ThreadPoolExecutor(1) as threads:
        mail_app.write_config(build_mailbox_entry(account) | {"port": proxy.port})
        first = threads.submit(mail_app.run_collect)
        try:
            assert is_waiting.wait(60)
            second = replace(mail_app, fork_server=fork_servers[1]).run_command("collect")
        finally:
            is_released.set()
        assert first.result()["documents"]["new"] == 3
    # both write into one file, so there may also be a line about the progress of the first
    assert (second.exit_status, second.stdout.count("a run is already active")) == (0, 1)
    assert '"documents"' not in second.stdout
    mail_app.write_config(build_mailbox_entry(account))
    mail_app.run_reconcile()


def test_two_homes_with_one_ledger_and_one_store_collect_a_mailbox_once(
    tmp_path: Path, fork_servers: list[ForkServer], account: MailAccount, postgres: PostgresServer
) -> None:
    url = postgres.create_database()
    mail_apps = [
        MailApp(tmp_path / name, fork_server) for name, fork_server in zip(("one", "two"), fork_servers, strict=True)
    ]
    (tmp_path / "documents").mkdir()
    for mail_app in mail_apps:
        mail_app.write_config(build_mailbox_entry(account))
        mail_app.home.mkdir()
        (mail_app.home / "documents").symlink_to(tmp_path / "documents")
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda app: app.run_command("collect", INVOICES_LEDGER_URL=url), mail_apps))
    assert [result.exit_status for result in results] == [0, 0], [result.stdout for result in results]
    assert sum(result.json_output["documents"]["new"] for result in results) == 3
    reconciliation = mail_apps[0].run_command("reconcile", INVOICES_LEDGER_URL=url).json_output
    assert (reconciliation["missing"], reconciliation["duplicated"], reconciliation["sound"]) == (0, 0, True)


def test_a_refused_password_is_tried_once_and_blocks_no_other_mailbox(
    mail_app: MailApp, account: MailAccount, dovecot: DovecotServer
) -> None:
    locked = dovecot.create_account()
    mail_app.write_config(
        build_mailbox_entry(locked, "locked") | {"password": "wrong"}, build_mailbox_entry(account, "open")
    )
    result = mail_app.run_command("collect")
    assert result.exit_status == 1
    assert set(mail_app.list_documents()) == hash_mail_documents(1, 2, 3)
    (problem,) = result.json_output["problems"]
    for words in ("'locked'", locked.username, "AUTHENTICATIONFAILED", "check the username and the password"):
        assert words in problem
    assert "wrong" not in problem
    attempts = [line for line in dovecot.log.splitlines() if "auth failed" in line and locked.username in line]
    assert len(attempts) == 1
    assert "1 attempts" in attempts[0]
    visits = {row["source_name"]: row["problem"] for row in mail_app.query_ledger("select * from source_visits")}
    assert visits["open"] is None
    assert "AUTHENTICATIONFAILED" in str(visits["locked"])


def test_the_doctor_logs_in_previews_the_rules_and_changes_nothing(mail_app: MailApp, account: MailAccount) -> None:
    mail_app.write_config(build_mailbox_entry(account, after="flag", rules=[{"subject": "Invoice 2", "take": False}]))
    before = account.list_flags_by_uid()
    result = mail_app.run_command("doctor")
    assert result.exit_status == 0, result.stdout
    (detail,) = [check["detail"] for check in result.json_output["checks"] if "office" in check["name"]]
    assert "INBOX" in detail
    assert "2" in detail
    assert account.list_flags_by_uid() == before
    assert mail_app.run_collect()["documents"]["new"] == 2
    assert [uid for uid, flags in account.list_flags_by_uid().items() if r"\Flagged" in flags] == [1, 3]


def test_every_exported_invoice_leads_back_to_its_mail(mail_app: MailApp, dovecot: DovecotServer) -> None:
    account = dovecot.create_account()
    samples = list_sample_paths("cii EN 16931", "ubl Invoice", "pdf+cii EN 16931")
    for number, sample in enumerate(samples, start=1):
        account.deliver_message(
            build_mail(number, (sample.name, sample.read_bytes()), sender=f"shop{number}@supplier.example")
        )
    account.deliver_message(build_mail_without_document())
    mail_app.write_config(build_mailbox_entry(account, after="flag"))
    result = mail_app.run_command("run")
    assert result.exit_status == 0, result.stdout
    assert result.json_output["documents"]["by_state"]["accepted"] == result.json_output["exports"]["invoices"] == 3
    with duckdb.connect(str(mail_app.home / "warehouse" / "invoices.duckdb"), read_only=True) as connection:
        sighting_rows = connection.execute(
            "select document_sha256, sender, subject, message_id, file_name, source_name from raw.sightings "
            "join core.invoices using (document_sha256) order by subject"
        ).fetchall()
        daily = connection.execute(
            "select source_name, source_kind, message_count, collected_message_count, empty_message_count, "
            "document_count, new_document_count, accepted_count from marts.intake_daily"
        ).fetchall()
    assert sighting_rows == [
        (hash_content(sample.read_bytes()), f"shop{number}@supplier.example", f"Invoice {number}",
         f"<mail-{number}@supplier.example>", sample.name, "office")
        for number, sample in enumerate(samples, start=1)
    ]  # fmt: skip
    assert daily == [("office", "mailbox", 4, 3, 1, 3, 3, 3)]
