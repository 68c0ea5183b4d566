"""A restored ledger forgets documents: the store still has them, and they are named and collected again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from flows.reports.doctor import run_health_checks
from flows.reports.reconcile import format_reconciliation, reconcile_sources
from flows.runner import run_stages
from flows.stages import collect
from invoices.app import App
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, MailboxSettings, MailRule, Settings
from invoices.settings.settings import ReadingSettings
from tests.integration.sources.mailbox.mailbox_fixtures import build_pdf
from tests.servers.dovecot_server import MailAccount


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a real home, whose folder moves what is collected."""
    (tmp_path / "in").mkdir()
    folder = FolderSettings(name="scans", url=str(tmp_path / "in"), settle_seconds=0, after="move:done")
    settings = Settings(home=tmp_path / "home", folders=(folder,), reading=ReadingSettings(workers=1))
    vendor_settings = settings.smartbills_com.model_copy(update={"api_key": SecretStr("unused")})
    return settings.model_copy(update={"smartbills_com": vendor_settings})


def open_app(settings: Settings) -> App:
    """Return the application; no vendor is called."""
    return App(settings, prepare_vendor_settings=lambda _exit_stack: settings)


def collect_documents(settings: Settings) -> RunReport:
    """Collect, and return the report."""
    with open_app(settings) as app:
        return run_stages(app, (collect,), RunReport())


def set_back_stored_at(settings: Settings) -> None:
    """Let all documents in the store be from the day before."""
    for path in settings.documents_directory.glob("??/*"):
        os.utime(path, (time.time() - 86_400,) * 2)


@pytest.fixture
def restored_settings(settings: Settings, tmp_path: Path) -> Settings:
    """The settings of a home whose ledger was restored: it lacks two documents that were collected and moved."""
    (tmp_path / "in" / "1.pdf").write_bytes(build_pdf(1))
    assert collect_documents(settings).new_documents == 1
    ledger_path, backup_path = settings.home / "ledger.sqlite", tmp_path / "backup.sqlite"
    shutil.copy(ledger_path, backup_path)
    for number in (2, 3):
        (tmp_path / "in" / f"{number}.pdf").write_bytes(build_pdf(number))
    assert collect_documents(settings).new_documents == 2
    set_back_stored_at(settings)
    for path in settings.home.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(backup_path, ledger_path)
    return settings


def list_sources_by_document(settings: Settings) -> list[tuple[str, str]]:
    """Return the first location and the state of each document."""
    with open_app(settings) as app, app.ledger.open_snapshot() as connection:
        query = "select s.source_kind, d.state from documents d join sightings s using (document_sha256) order by 1, 2"
        return [(row[0], row[1]) for row in connection.execute(text(query))]


def test_a_restored_ledger_gets_the_documents_of_the_store_again(restored_settings: Settings) -> None:
    report = collect_documents(restored_settings)
    assert report.new_documents == 2
    assert "2 documents in the store had no record" in str(report.remarks)
    assert report.problems == []
    assert list_sources_by_document(restored_settings) == [("folder", "waiting"), *[("store", "waiting")] * 2]
    assert collect_documents(restored_settings).new_documents == 0


def test_what_a_killed_scan_of_a_new_ledger_stored_is_not_adopted(settings: Settings) -> None:
    with open_app(settings) as app:
        sha256 = app.store.put(b"%PDF-1.4 of a scan that was killed")
    assert collect_documents(settings).new_documents == 0
    with open_app(settings) as app:
        assert reconcile_sources(app)["unrecorded"] == [sha256]
        os.utime(app.store.get_path(sha256), (4_000_000_000, 4_000_000_000))  # the clock was ahead
        app.begin_recovery()
    assert collect_documents(settings).new_documents == 1


def test_reconcile_and_doctor_name_documents_without_a_record(settings: Settings) -> None:
    assert collect_documents(settings).problems == []
    with open_app(settings) as app:
        sha256 = app.store.put(b"%PDF-1.4 unrecorded")
        reconciliation = reconcile_sources(app)
    assert (reconciliation["sound"], reconciliation["unrecorded"]) == (False, [sha256])
    assert "1 document in the store without a record" in format_reconciliation(reconciliation)
    (check,) = [check for check in run_health_checks(settings) if check["name"] == "documents"]
    assert (check["ok"], "invoices collect --adopt" in check["detail"]) == (False, True)
    set_back_stored_at(settings)
    with open_app(settings) as app:
        app.begin_recovery()
    assert collect_documents(settings).new_documents == 1
    with open_app(settings) as app:
        assert reconcile_sources(app)["sound"]


@pytest.fixture
def mail_settings(account: MailAccount, settings: Settings) -> Settings:
    """The settings of a home that collects one attachment of a mailbox by its name, and skips the others."""
    mailbox = MailboxSettings(
        name="ap", host=account.host, port=account.port, security="none", username=account.username,
        password=SecretStr(account.password), rules=(MailRule(attachment="invoice-1*", take=True),), otherwise="leave",
    )  # fmt: skip
    return settings.model_copy(update={"mailboxes": (mailbox,)})


def test_what_a_rule_skips_by_its_file_name_leaves_nothing_in_the_store(mail_settings: Settings) -> None:
    assert collect_documents(mail_settings).new_documents == 1
    with open_app(mail_settings) as app:
        assert len(list(app.store.iter_hashes())) == 1
        assert reconcile_sources(app)["unrecorded"] == []


def test_nothing_is_deleted_from_a_store_that_another_home_may_use(mail_settings: Settings) -> None:
    ledger_url = SecretStr(mail_settings.effective_ledger_url)
    shared_settings = mail_settings.model_copy(update={"ledger_url": ledger_url})
    assert collect_documents(shared_settings).new_documents == 1
    with open_app(shared_settings) as app:
        assert len(list(app.store.iter_hashes())) > 1
