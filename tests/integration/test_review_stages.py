"""Stages over more than one batch: what stops a vendor stops it for the whole run, and only what must."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import typer
from prepared_house import bring_to_the_warehouse, judge, see, sha
from pydantic import SecretStr

from flows.checking import Check, examine
from flows.cli.running import plainly
from flows.stages import ask
from invoices.errors import UnknownOutcome
from invoices.house import House
from invoices.ledger.documents import settle
from invoices.report import Report
from invoices.settings import Settings, SmartBillsCom
from transforms.loading.release import published_path
from transforms.loading.working import working_path


def test_a_vendor_that_is_down_is_left_alone_for_all_batches(tmp_path: Path) -> None:
    down = SmartBillsCom(base_url="http://127.0.0.1:9", api_key=SecretStr("sk_test_down"))
    settings = Settings(home=tmp_path, smartbills_com=down, vendor_minute_seconds=0.01, batch_size=1)
    report = Report()
    with House(settings, vendors=lambda _closing: settings) as house:
        with house.ledger.transaction() as tx:
            for name in ("a", "b", "c"):
                document = see(tx, name)
                house.store.put(name.encode())
                settle(tx, document, stage="ask", state="waiting", reason_code="needs_extraction", reason="It is.")
        for batch in ask.pending(house, report):
            ask.work(house, batch, report)
    assert ["is not available" in problem for problem in report.problems].count(True) == 1
    assert len(report.problems) <= 3  # and of the documents that it was tried with


@pytest.mark.parametrize("loaded_before", [True, False])
def test_a_warehouse_ahead_of_a_restored_ledger_is_made_anew(home: Settings, loaded_before: bool) -> None:
    with House(home, vendors=lambda _closing: home) as house:
        with house.ledger.transaction() as tx:
            see(tx, "kept")
        if loaded_before:
            bring_to_the_warehouse(house)
        with (
            closing(sqlite3.connect(home.home / "ledger.sqlite")) as source,
            closing(sqlite3.connect(home.home / "backup.sqlite")) as backup,
        ):
            source.backup(backup)
        with house.ledger.transaction() as tx:
            see(tx, "after the backup")
            judge(tx, "after the backup", "accepted")
        bring_to_the_warehouse(house)
    for leftover in home.home.glob("ledger.sqlite*"):
        leftover.unlink()
    (home.home / "backup.sqlite").rename(home.home / "ledger.sqlite")
    with House(home, vendors=lambda _closing: home) as house:
        with house.ledger.transaction() as tx:
            see(tx, "new")
        report = bring_to_the_warehouse(house)
    with duckdb.connect(published_path(home.warehouse_directory), read_only=True) as connection:
        found = connection.execute("select document_sha256 from core.documents order by all").fetchall()
        assert found == [(document,) for document in sorted((sha("kept"), sha("new")))]
        assert connection.execute("select count(*) from core.candidates").fetchone() == (0,)
    assert len(report.remarks) == 1


def test_the_doctor_does_not_open_the_warehouse_while_a_run_works_in_it(home: Settings) -> None:
    with House(home, vendors=lambda _closing: home) as house:
        with house.ledger.transaction() as tx:
            see(tx, "kept")
        bring_to_the_warehouse(house)
        work = working_path(home.warehouse_directory)
        with house.exclusively():
            work.rename(work.with_name("moved"))
            busy = warehouse_check(home)
            work.with_name("moved").rename(work)
        assert busy == {"name": "warehouse", "ok": True, "detail": "not looked at: a run is at work in it"}
        assert warehouse_check(home) == {"name": "warehouse", "ok": True, "detail": str(home.warehouse_directory)}
        with house.exclusively():
            pass


def warehouse_check(settings: Settings) -> Check:
    return next(check for check in examine(settings) if check["name"] == "warehouse")


def test_a_ledger_that_cannot_grow_is_told_in_a_sentence(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left, plainly():
        fail_after_a_vendor(house)
    assert left.value.exit_code == 1
    told = capsys.readouterr().err
    assert told.startswith("invoices: the ledger: database or disk is full\n")
    assert "Traceback" not in told


def fail_after_a_vendor(house: House) -> None:
    """Fail to write into the ledger what a vendor's failure was."""
    try:
        raise UnknownOutcome("POST somewhere answered 500")
    except UnknownOutcome:
        with house.ledger.transaction() as tx:
            tx.connection.exec_driver_sql("pragma max_page_count = 1")
            for number in range(1_000):
                see(tx, f"document {number}")
