"""Loading by dlt into a real warehouse: the contract's types, the same rows however often, nothing left of a kill."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import prepared_house
import pytest
from prepared_house import bring_to_the_warehouse, fill, judge, see, sha

from invoices.errors import ContractError
from invoices.house import House
from invoices.ledger.changes import LOADABLE, changed_rows, latest_revision, loaded_revision
from invoices.ledger.documents import settle
from invoices.ledger.extractions import advance
from invoices.settings import Settings
from transforms.loading.accepted import accepted_invoices, money_by_currency
from transforms.loading.loading import load
from transforms.loading.release import published_path, released_revision
from transforms.loading.working import connect, working_path

LOAD_AND_DIE = """
import os, signal, sys, threading
from pathlib import Path
from invoices.ledger import Ledger
from invoices.ledger.changes import changed_rows
from transforms.loading.loading import load

ledger = Ledger(sys.argv[2])

def changed(table):
    with ledger.reading() as connection:
        yield from changed_rows(connection, table, 0, 10_000, 100)
    if table == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

load(Path(sys.argv[1]), changed)
"""


def rows(house: House, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(published_path(house.settings.warehouse_directory), read_only=True) as connection:
        return connection.execute(query).fetchall()


def everything(house: House) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, without what dlt adds to them."""
    found = {}
    with duckdb.connect(published_path(house.settings.warehouse_directory), read_only=True) as connection:
        tables = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables where table_schema in ('raw', "
            "'core', 'marts') and table_name not like '\\_dlt%' escape '\\' order by all"
        ).fetchall()
        for (name,) in tables:
            found[name] = connection.execute(
                f"select columns(c -> c not like '\\_dlt%' escape '\\') from {name} order by all"
            ).fetchall()
    return found


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of every kind of document, loaded; for tests that only look."""
    settings = Settings(home=tmp_path_factory.mktemp("house"))
    with House(settings, vendors=lambda _closing: settings) as house:
        fill(house)
        bring_to_the_warehouse(house)
        yield house


def test_columns_have_the_types_of_the_contract(loaded: House) -> None:
    described = rows(
        loaded,
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        "where table_schema in ('raw', 'core') and column_name not like '\\_dlt%' escape '\\'",
    )
    kinds = {(schema, table, column): kind for schema, table, column, kind in described}
    assert len(kinds) > 80
    fine = ("candidate_lines", "invoice_lines", "extractions")
    for (schema, table, column), kind in kinds.items():
        where = f"{schema}.{table}.{column}"
        assert kind not in ("DOUBLE", "FLOAT"), where
        if column.endswith("_rate") or "quantity" in column or (column.endswith("_amount") and table in fine):
            assert kind == "DECIMAL(18,6)", where
        elif column.endswith("_amount"):
            assert kind == "DECIMAL(18,4)", where
        elif column.endswith("_on"):
            assert kind == "DATE", where
        elif column.endswith("_at"):
            assert kind == "TIMESTAMP WITH TIME ZONE", where
    assert kinds["raw", "extractions", "payload"] == "JSON"


def test_no_column_was_split_and_no_staging_is_left(loaded: House) -> None:
    columns = rows(loaded, "select table_schema, column_name from information_schema.columns")
    assert not [name for _, name in columns if "__v_" in name]
    assert not [schema for schema, _ in columns if schema.endswith("_staging")]


def test_amounts_dates_and_instants_arrive_exactly(loaded: House) -> None:
    (row,) = rows(
        loaded,
        "select net_amount, total_amount, issued_on, epoch_us(received_at), supplier_name from core.invoices "
        f"where document_sha256 = '{sha('bill')}'",
    )
    received = int(dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp() * 1_000_000)
    assert row == (Decimal("100.1000"), Decimal("119.1200"), dt.date(2026, 2, 28), received, "M\u00fcller & S\u00f6hne")
    assert rows(loaded, "select distinct unit_price_amount from core.invoice_lines") == [(Decimal("33.366667"),)]


def test_each_table_has_the_rows_of_the_ledger(loaded: House) -> None:
    counts = {name: len(found) for name, found in everything(loaded).items()}
    assert counts | {
        "raw.documents": 6, "raw.sightings": 7, "raw.extractions": 4, "core.documents": 6, "core.candidates": 4,
        "core.candidate_lines": 4, "core.candidate_taxes": 4, "core.findings": 3, "core.receipts": 2,
        "core.exported_invoices": 2, "core.invoices": 2,
    } == counts  # fmt: skip


def test_accepted_invoices_come_back_as_they_were_judged(loaded: House) -> None:
    wanted = [prepared_house.candidate(name, "accepted").invoice_id for name in ("credit", "bill", "wrong", "absent")]
    found = {
        invoice.document_sha256: invoice for invoice in accepted_invoices(loaded.settings.warehouse_directory, wanted)
    }
    assert set(found) == {sha("bill"), sha("credit")}
    bill = found[sha("bill")]
    assert (bill.total_amount, bill.issued_on, bill.kind, bill.supplier.tax_id) == (
        Decimal("119.12"), dt.date(2026, 2, 28), "invoice", "DE123456789",
    )  # fmt: skip
    assert (bill.lines[0].quantity, bill.lines[0].description) == (Decimal(3), "=1+1")
    assert (bill.taxes[0].tax_rate, bill.taxes[0].tax_amount) == (Decimal(19), Decimal("19.02"))
    assert found[sha("credit")].sign == -1


def test_money_counts_credit_notes_negative(loaded: House) -> None:
    assert money_by_currency(loaded.settings.warehouse_directory) == [
        ("EUR", 2, Decimal(0), Decimal(0), Decimal("100.00"))
    ]


def test_before_the_first_load_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert accepted_invoices(tmp_path, ["i1"]) == money_by_currency(tmp_path) == []


def test_loading_what_is_loaded_is_not_even_begun(loaded: House) -> None:
    before = os.readlink(loaded.settings.warehouse_directory / "current")
    assert bring_to_the_warehouse(loaded).rows_loaded == 0
    assert os.readlink(loaded.settings.warehouse_directory / "current") == before


def test_an_unanswered_question_does_not_make_the_warehouse_anew(house: House) -> None:
    fill(house)  # one of its documents is submitted and not answered
    bring_to_the_warehouse(house)
    with house.ledger.transaction() as tx:
        see(tx, "another")
    report = bring_to_the_warehouse(house)
    assert report.remarks == []
    assert report.rows_loaded == 3  # its document, twice, and its sighting


def test_the_same_changes_twice_give_the_same_rows(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    before = everything(house)
    load(house.settings.warehouse_directory, all_rows_of(house))
    load_stage_again(house)
    assert everything(house) == before


def test_a_change_replaces_its_rows_and_leaves_the_others(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    with house.ledger.transaction() as tx:
        judge(tx, "wrong", "accepted", total_amount=Decimal("7.0001"))
        advance(tx, "x-scan", "answered", payload='{"total": "1.10"}', answered_at=tx.at)
        settle(tx, sha("scan"), stage="judge", state="waiting", reason_code="answered", reason="Answered.")
    report = bring_to_the_warehouse(house)
    assert rows(house, "select count(*) from core.candidate_lines") == [(4,)]
    assert rows(house, f"select total_amount from core.invoices where document_sha256 = '{sha('wrong')}'") == [
        (Decimal("7.0001"),)
    ]
    assert rows(house, "select payload->>'total' from raw.extractions where extraction_id = 'x-scan'") == [("1.10",)]
    assert report.rows_loaded < 20


def test_findings_of_an_earlier_judgement_go_with_it(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    with house.ledger.transaction() as tx:
        judge(tx, "wrong", "quarantined", "BR-16", total_amount=Decimal("1.00"))
    bring_to_the_warehouse(house)
    query = f"select rule_id from core.findings where document_sha256 = '{sha('wrong')}'"
    assert rows(house, query) == [("BR-16",)]


def test_a_candidate_judged_again_without_lines_has_none_any_more(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    with house.ledger.transaction() as tx:
        again = prepared_house.candidate("bill", "accepted")
        tx.connection.execute(
            LOADABLE["candidates"].update().where(LOADABLE["candidates"].c.invoice_id == again.invoice_id).values(
                body=again.body.replace('"lines": [', '"lines_before": ['). replace('"taxes"', '"lines": [], "taxes"'),
                revision=tx.revision,
            )
        )  # fmt: skip
    bring_to_the_warehouse(house)
    assert rows(house, f"select count(*) from core.candidate_lines where invoice_id = '{again.invoice_id}'") == [(0,)]


def test_a_lost_warehouse_is_made_anew_from_the_ledger_alone(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    before = everything(house)
    working_path(house.settings.warehouse_directory).write_bytes(b"")
    with house.ledger.transaction() as tx:
        see(tx, "bill", "/in/third.pdf")
    report = bring_to_the_warehouse(house)
    assert len(report.remarks) == 1
    after = everything(house)
    assert len(after.pop("raw.sightings")) == len(before.pop("raw.sightings")) + 1
    assert after.pop("marts.intake_daily") != before.pop("marts.intake_daily")  # shown once more
    assert after == before


def test_a_lost_published_copy_is_published_anew(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    before = everything(house)
    (house.settings.warehouse_directory / "current").unlink()
    bring_to_the_warehouse(house)
    assert everything(house) == before


@pytest.mark.parametrize("table", ["documents", "findings"])
def test_a_load_killed_half_way_is_done_again_without_a_trace(house: House, table: str) -> None:
    fill(house)
    directory = house.settings.warehouse_directory
    program = [sys.executable, "-c", LOAD_AND_DIE, str(directory), house.settings.effective_ledger_url, table]
    assert subprocess.run(program, check=False, timeout=120).returncode == -signal.SIGKILL
    assert (directory / ".dlt").exists()
    bring_to_the_warehouse(house)
    assert not (directory / ".dlt").exists()
    assert rows(house, "select count(*), count(distinct document_sha256) from raw.documents") == [(6, 6)]
    assert rows(house, "select count(*), count(distinct finding_id) from core.findings") == [(3, 3)]


def test_dlts_leftovers_are_wiped_and_never_resumed(house: House) -> None:
    fill(house)
    left = house.settings.warehouse_directory / ".dlt" / "invoices_raw" / "load" / "normalized" / "1"
    left.mkdir(parents=True)
    (left / "package_state.json").write_text("{half")
    bring_to_the_warehouse(house)
    assert not (house.settings.warehouse_directory / ".dlt").exists()
    assert rows(house, "select count(*) from raw.documents") == [(6,)]


def test_the_process_is_left_as_it_was(house: House) -> None:
    fill(house)
    before = tempfile.tempdir, list(logging.getLogger("dlt").filters)
    bring_to_the_warehouse(house)
    assert (tempfile.tempdir, list(logging.getLogger("dlt").filters)) == before


def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    with house.ledger.transaction() as tx:
        see(tx, "huge")
        judge(tx, "huge", "accepted", total_amount=Decimal("1E+20"))
    with pytest.raises(ContractError, match="core"):
        bring_to_the_warehouse(house)
    assert rows(house, "select count(*) from core.candidates") == [(4,)]
    with connect(working_path(house.settings.warehouse_directory)) as connection:
        assert connection.execute("select count(*) from core.candidates").fetchone() == (4,)
    with house.ledger.reading() as connection:
        assert loaded_revision(connection) < latest_revision(connection)


def test_the_loader_works_while_a_reader_has_the_published_file_open(house: House) -> None:
    fill(house)
    bring_to_the_warehouse(house)
    reading = subprocess.Popen(
        [
            sys.executable, "-c",
            "import duckdb, sys\n"
            "connection = duckdb.connect(sys.argv[1], read_only=True)\n"
            "count = lambda: connection.execute('select count(*) from raw.documents').fetchone()[0]\n"
            "print(count(), flush=True)\n"
            "sys.stdin.readline()\n"
            "print(count(), flush=True)\n",
            str(published_path(house.settings.warehouse_directory)),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reading.stdout is not None
    assert reading.stdout.readline() == "6\n"
    with house.ledger.transaction() as tx:
        see(tx, "new")
    bring_to_the_warehouse(house)
    assert reading.communicate("\n", timeout=60)[0] == "6\n"
    assert rows(house, "select count(*) from raw.documents") == [(7,)]


def all_rows_of(house: House) -> Callable[[str], Iterator[list[Mapping[str, Any]]]]:
    def changed(table: str) -> Iterator[list[Mapping[str, Any]]]:
        with house.ledger.reading() as connection:
            yield from changed_rows(connection, table, 0, latest_revision(connection), 2)

    return changed


def load_stage_again(house: House) -> None:
    """Publish what the working warehouse has now."""
    (house.settings.warehouse_directory / "manifest.json").unlink()
    bring_to_the_warehouse(house)
    with house.ledger.reading() as connection:
        assert released_revision(house.settings.warehouse_directory) == latest_revision(connection)
