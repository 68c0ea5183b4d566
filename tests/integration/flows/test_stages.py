"""Stages: suspended vendors, restored ledgers, a warehouse in use, and a ledger that cannot grow."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import typer
from pydantic import SecretStr

from flows.cli.command_runner import exit_on_known_errors
from flows.reports.doctor import CheckResult, run_health_checks
from flows.stages import extract_remote
from invoices.app import App
from invoices.errors import UnknownOutcome
from invoices.ledger.documents import set_document_state
from invoices.run_report import RunReport
from invoices.settings import Settings, SmartBillsComSettings
from tests.integration.populated_app import (
    hash_name,
    load_warehouse,
    record_document_sighting,
    record_document_validation,
)
from transforms.loading.release import get_published_database_path
from transforms.loading.working_warehouse import get_working_database_path


@pytest.fixture(scope="module")
def loaded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an application with one document, loaded; to be copied."""
    settings = Settings(home=tmp_path_factory.mktemp("loaded") / "home")
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        with app.ledger.begin_transaction() as tx:
            record_document_sighting(tx, "kept")
        load_warehouse(app)
    return settings.home


def test_a_vendor_that_is_down_is_suspended_for_all_batches(tmp_path: Path) -> None:
    unreachable_vendor = SmartBillsComSettings(base_url="http://127.0.0.1:9", api_key=SecretStr("sk_test_down"))
    settings = Settings(home=tmp_path, smartbills_com=unreachable_vendor, vendor_minute_seconds=0.01, batch_size=1)
    report = RunReport()
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        with app.ledger.begin_transaction() as tx:
            for name in ("a", "b", "c"):
                document = record_document_sighting(tx, name)
                app.store.put(name.encode())
                set_document_state(
                    tx,
                    document,
                    stage="extract_remote",
                    state="waiting",
                    reason_code="needs_extraction",
                    reason="No e-invoice.",
                )
        for batch in extract_remote.iter_pending_batches(app, report):
            extract_remote.process_batch(app, batch, report)
    assert ["is not available" in problem for problem in report.problems].count(True) == 1
    assert len(report.problems) <= 3  # also those of the documents that were tried


@pytest.mark.parametrize("loaded_before", [True, False])
def test_a_warehouse_ahead_of_a_restored_ledger_is_rebuilt(
    loaded_home: Path, app_settings: Settings, loaded_before: bool
) -> None:
    if loaded_before:
        shutil.copytree(loaded_home, app_settings.home, symlinks=True)
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as app:
        if not loaded_before:
            with app.ledger.begin_transaction() as tx:
                record_document_sighting(tx, "kept")
        with (
            closing(sqlite3.connect(app_settings.home / "ledger.sqlite")) as source,
            closing(sqlite3.connect(app_settings.home / "backup.sqlite")) as backup,
        ):
            source.backup(backup)
        with app.ledger.begin_transaction() as tx:
            record_document_sighting(tx, "after the backup")
            record_document_validation(tx, "after the backup", "accepted")
        load_warehouse(app)
    for leftover in app_settings.home.glob("ledger.sqlite*"):
        leftover.unlink()
    (app_settings.home / "backup.sqlite").rename(app_settings.home / "ledger.sqlite")
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as app:
        with app.ledger.begin_transaction() as tx:
            record_document_sighting(tx, "new")
        report = load_warehouse(app)
    with duckdb.connect(get_published_database_path(app_settings.warehouse_directory), read_only=True) as connection:
        hashes = connection.execute("select document_sha256 from core.documents order by all").fetchall()
        assert hashes == [(document,) for document in sorted((hash_name("kept"), hash_name("new")))]
        assert connection.execute("select count(*) from core.candidates").fetchone() == (0,)
    assert len(report.remarks) == 1


def test_the_doctor_does_not_open_the_warehouse_while_a_run_works_in_it(
    loaded_home: Path, app_settings: Settings
) -> None:
    shutil.copytree(loaded_home, app_settings.home, symlinks=True)
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as app:
        database_path = get_working_database_path(app_settings.warehouse_directory)
        with app.acquire_run_lock():
            database_path.rename(database_path.with_name("moved"))
            check_during_run = run_warehouse_check(app_settings)
            database_path.with_name("moved").rename(database_path)
        assert check_during_run == {"name": "warehouse", "ok": True, "detail": "not checked: a run is active"}
        assert run_warehouse_check(app_settings) == {
            "name": "warehouse",
            "ok": True,
            "detail": str(app_settings.warehouse_directory),
        }
        with app.acquire_run_lock():
            pass


def run_warehouse_check(settings: Settings) -> CheckResult:
    return next(check for check in run_health_checks(settings) if check["name"] == "warehouse")


def test_a_full_disk_under_the_ledger_is_reported_in_one_sentence(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_info, exit_on_known_errors():
        fail_write_after_vendor_error(app)
    assert exit_info.value.exit_code == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("invoices: the ledger: database or disk is full\n")
    assert "Traceback" not in stderr


def fail_write_after_vendor_error(app: App) -> None:
    """Raise the error of a full ledger while a vendor's error is being handled."""
    try:
        raise UnknownOutcome("POST somewhere answered 500")
    except UnknownOutcome:
        with app.ledger.begin_transaction() as tx:
            tx.connection.exec_driver_sql("pragma max_page_count = 1")
            for number in range(1_000):
                record_document_sighting(tx, f"document {number}")
