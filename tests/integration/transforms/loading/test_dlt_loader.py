"""Loading with dlt into a real warehouse: declared types, repeatable loads, and no traces of a killed load."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from invoices.app import App
from invoices.errors import ContractError
from invoices.ledger.changes import LOADABLE_TABLES, get_latest_revision, iter_changed_rows
from invoices.ledger.documents import set_document_state
from invoices.ledger.extractions import update_extraction
from invoices.settings import Settings
from tests.integration import populated_app
from tests.integration.populated_app import (
    add_documents_of_each_kind,
    hash_name,
    load_warehouse,
    record_document_sighting,
    record_document_validation,
)
from transforms.loading.accepted_invoice_reader import read_accepted_invoices, sum_accepted_amounts_by_currency
from transforms.loading.dlt_loader import load_changed_rows
from transforms.loading.release import find_published_watermark, get_published_database_path
from transforms.loading.working_warehouse import get_working_database_path, open_warehouse

LOAD_AND_DIE_SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from invoices.ledger import Ledger
from invoices.ledger.changes import iter_changed_rows
from transforms.loading.dlt_loader import load_changed_rows

ledger = Ledger(sys.argv[2])

def read_changed_rows(table):
    with ledger.open_snapshot() as connection:
        yield from iter_changed_rows(connection, table, 0, 10_000, 100)
    if table == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

load_changed_rows(Path(sys.argv[1]), read_changed_rows)
"""


def query_warehouse(app: App, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(get_published_database_path(app.settings.warehouse_directory), read_only=True) as connection:
        return connection.execute(query).fetchall()


def read_all_tables(app: App) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, without the tables and columns that dlt adds."""
    rows_by_table = {}
    with duckdb.connect(get_published_database_path(app.settings.warehouse_directory), read_only=True) as connection:
        tables = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables where table_schema in ('raw', "
            "'core', 'marts') and table_name not like '\\_dlt%' escape '\\' order by all"
        ).fetchall()
        for (name,) in tables:
            rows_by_table[name] = connection.execute(
                f"select columns(c -> c not like '\\_dlt%' escape '\\') from {name} order by all"
            ).fetchall()
    return rows_by_table


@pytest.fixture(scope="module")
def home_after_first_load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with loaded documents of each kind; no test changes it."""
    settings = Settings(home=tmp_path_factory.mktemp("first-load") / "home")
    with App(settings, prepare_vendor_settings=lambda _closing: settings) as app:
        add_documents_of_each_kind(app)
        load_warehouse(app)
    return settings.home


@pytest.fixture(scope="module")
def loaded_app(home_after_first_load: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An application with loaded documents of each kind, for tests that only read."""
    settings = Settings(home=tmp_path_factory.mktemp("read-only") / "home")
    shutil.copytree(home_after_first_load, settings.home, symlinks=True)
    with App(settings, prepare_vendor_settings=lambda _closing: settings) as app:
        yield app


@pytest.fixture
def app_after_first_load(home_after_first_load: Path, app_settings: Settings) -> Iterator[App]:
    """An application with loaded documents of each kind, for a test that changes them."""
    shutil.copytree(home_after_first_load, app_settings.home, symlinks=True)
    with App(app_settings, prepare_vendor_settings=lambda _closing: app_settings) as app:
        yield app


def test_columns_have_the_types_of_the_contract(loaded_app: App) -> None:
    described = query_warehouse(
        loaded_app,
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


def test_no_column_was_split_and_no_staging_is_left(loaded_app: App) -> None:
    columns = query_warehouse(loaded_app, "select table_schema, column_name from information_schema.columns")
    assert not [name for _, name in columns if "__v_" in name]
    assert not [schema for schema, _ in columns if schema.endswith("_staging")]


def test_amounts_dates_and_instants_arrive_exactly(loaded_app: App) -> None:
    (row,) = query_warehouse(
        loaded_app,
        "select net_amount, total_amount, issued_on, epoch_us(received_at), supplier_name from core.invoices "
        f"where document_sha256 = '{hash_name('bill')}'",
    )
    received = int(dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp() * 1_000_000)
    assert row == (Decimal("100.1000"), Decimal("119.1200"), dt.date(2026, 2, 28), received, "M\u00fcller & S\u00f6hne")
    assert query_warehouse(loaded_app, "select distinct unit_price_amount from core.invoice_lines") == [
        (Decimal("33.366667"),)
    ]


def test_each_table_has_the_rows_of_the_ledger(loaded_app: App) -> None:
    counts = {name: len(table_rows) for name, table_rows in read_all_tables(loaded_app).items()}
    assert counts | {
        "raw.documents": 6, "raw.sightings": 7, "raw.extractions": 4, "core.documents": 6, "core.candidates": 4,
        "core.candidate_lines": 4, "core.candidate_taxes": 4, "core.findings": 3, "core.receipts": 2,
        "core.exported_invoices": 2, "core.invoices": 2,
    } == counts  # fmt: skip


def test_accepted_invoices_come_back_as_they_were_validated(loaded_app: App) -> None:
    invoice_ids = [
        populated_app.build_candidate(name, "accepted").invoice_id for name in ("credit", "bill", "wrong", "absent")
    ]
    invoice_by_document = {
        invoice.document_sha256: invoice
        for invoice in read_accepted_invoices(loaded_app.settings.warehouse_directory, invoice_ids)
    }
    assert set(invoice_by_document) == {hash_name("bill"), hash_name("credit")}
    bill = invoice_by_document[hash_name("bill")]
    assert (bill.total_amount, bill.issued_on, bill.kind, bill.supplier.tax_id) == (
        Decimal("119.12"), dt.date(2026, 2, 28), "invoice", "DE123456789",
    )  # fmt: skip
    assert (bill.lines[0].quantity, bill.lines[0].description) == (Decimal(3), "=1+1")
    assert (bill.taxes[0].tax_rate, bill.taxes[0].tax_amount) == (Decimal(19), Decimal("19.02"))
    assert invoice_by_document[hash_name("credit")].booking_sign == -1


def test_money_counts_credit_notes_negative(loaded_app: App) -> None:
    assert sum_accepted_amounts_by_currency(loaded_app.settings.warehouse_directory) == [
        ("EUR", 2, Decimal(0), Decimal(0), Decimal("100.00"))
    ]


def test_before_the_first_load_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read_accepted_invoices(tmp_path, ["i1"]) == []
    assert sum_accepted_amounts_by_currency(tmp_path) == []


def test_nothing_is_loaded_when_nothing_changed(loaded_app: App) -> None:
    before = os.readlink(loaded_app.settings.warehouse_directory / "current")
    assert load_warehouse(loaded_app).rows_loaded == 0
    assert os.readlink(loaded_app.settings.warehouse_directory / "current") == before


def test_an_open_extraction_does_not_rebuild_the_warehouse(app_after_first_load: App) -> None:
    app = app_after_first_load  # one of its documents is submitted and not answered
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "another")
    report = load_warehouse(app)
    assert report.remarks == []
    assert report.rows_loaded == 3  # its document, twice, and its sighting


def test_the_same_changes_twice_give_the_same_rows(app_after_first_load: App) -> None:
    app = app_after_first_load
    before = read_all_tables(app)
    load_changed_rows(app.settings.warehouse_directory, build_row_reader(app))
    publish_warehouse_again(app)
    assert read_all_tables(app) == before


def test_a_change_replaces_its_rows_and_leaves_the_others(app_after_first_load: App) -> None:
    app = app_after_first_load
    with app.ledger.begin_transaction() as tx:
        record_document_validation(tx, "wrong", "accepted", total_amount=Decimal("7.0001"))
        update_extraction(tx, "x-scan", "answered", payload='{"total": "1.10"}', answered_at=tx.timestamp)
        set_document_state(
            tx, hash_name("scan"), stage="validate", state="waiting", reason_code="answered", reason="Answered."
        )
    report = load_warehouse(app)
    assert query_warehouse(app, "select count(*) from core.candidate_lines") == [(4,)]
    assert query_warehouse(
        app, f"select total_amount from core.invoices where document_sha256 = '{hash_name('wrong')}'"
    ) == [(Decimal("7.0001"),)]
    assert query_warehouse(app, "select payload->>'total' from raw.extractions where extraction_id = 'x-scan'") == [
        ("1.10",)
    ]
    assert report.rows_loaded < 20


def test_findings_of_an_earlier_validation_go_with_it(app_after_first_load: App) -> None:
    app = app_after_first_load
    with app.ledger.begin_transaction() as tx:
        record_document_validation(tx, "wrong", "quarantined", "BR-16", total_amount=Decimal("1.00"))
    load_warehouse(app)
    query = f"select rule_id from core.findings where document_sha256 = '{hash_name('wrong')}'"
    assert query_warehouse(app, query) == [("BR-16",)]


def test_a_candidate_validated_again_without_lines_has_none_any_more(app_after_first_load: App) -> None:
    app = app_after_first_load
    with app.ledger.begin_transaction() as tx:
        again = populated_app.build_candidate("bill", "accepted")
        candidates = LOADABLE_TABLES["candidates"]
        tx.connection.execute(
            candidates.update().where(candidates.c.invoice_id == again.invoice_id).values(
                body=again.body.replace('"lines": [', '"lines_before": ['). replace('"taxes"', '"lines": [], "taxes"'),
                revision=tx.revision,
            )
        )  # fmt: skip
    load_warehouse(app)
    assert query_warehouse(
        app, f"select count(*) from core.candidate_lines where invoice_id = '{again.invoice_id}'"
    ) == [(0,)]


def test_a_lost_warehouse_is_made_anew_from_the_ledger_alone(app_after_first_load: App) -> None:
    app = app_after_first_load
    before = read_all_tables(app)
    get_working_database_path(app.settings.warehouse_directory).write_bytes(b"")
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill", "/in/third.pdf")
    report = load_warehouse(app)
    assert len(report.remarks) == 1
    after = read_all_tables(app)
    assert len(after.pop("raw.sightings")) == len(before.pop("raw.sightings")) + 1
    assert after.pop("marts.intake_daily") != before.pop("marts.intake_daily")  # shown once more
    assert after == before


def test_a_lost_published_copy_is_published_anew(app_after_first_load: App) -> None:
    app = app_after_first_load
    before = read_all_tables(app)
    (app.settings.warehouse_directory / "current").unlink()
    load_warehouse(app)
    assert read_all_tables(app) == before


@pytest.mark.parametrize("table", ["documents", "findings"])
def test_a_killed_load_is_repeated_without_a_trace(app: App, table: str) -> None:
    add_documents_of_each_kind(app)
    directory = app.settings.warehouse_directory
    program = [sys.executable, "-c", LOAD_AND_DIE_SCRIPT, str(directory), app.settings.effective_ledger_url, table]
    assert subprocess.run(program, check=False, timeout=120).returncode == -signal.SIGKILL
    assert (directory / ".dlt").exists()
    load_warehouse(app)
    assert not (directory / ".dlt").exists()
    assert query_warehouse(app, "select count(*), count(distinct document_sha256) from raw.documents") == [(6, 6)]
    assert query_warehouse(app, "select count(*), count(distinct finding_id) from core.findings") == [(3, 3)]


def test_dlts_leftovers_are_wiped_and_never_resumed(app: App) -> None:
    add_documents_of_each_kind(app)
    left = app.settings.warehouse_directory / ".dlt" / "invoices_raw" / "load" / "normalized" / "1"
    left.mkdir(parents=True)
    (left / "package_state.json").write_text("{half")
    load_warehouse(app)
    assert not (app.settings.warehouse_directory / ".dlt").exists()
    assert query_warehouse(app, "select count(*) from raw.documents") == [(6,)]


def test_a_load_restores_the_temporary_directory_and_the_log_filters(app: App) -> None:
    add_documents_of_each_kind(app)
    before = tempfile.tempdir, list(logging.getLogger("dlt").filters)
    load_warehouse(app)
    assert (tempfile.tempdir, list(logging.getLogger("dlt").filters)) == before


def test_a_value_that_does_not_fit_is_rejected_and_changes_nothing(app_after_first_load: App) -> None:
    app = app_after_first_load
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "huge")
        record_document_validation(tx, "huge", "accepted", total_amount=Decimal("1E+20"))
    with pytest.raises(ContractError, match="core"):
        load_warehouse(app)
    assert query_warehouse(app, "select count(*) from core.candidates") == [(4,)]
    with open_warehouse(get_working_database_path(app.settings.warehouse_directory)) as connection:
        assert connection.execute("select count(*) from core.candidates").fetchone() == (4,)
    assert get_published_revision(app) < get_ledger_revision(app)


def test_the_loader_works_while_a_reader_has_the_published_file_open(app_after_first_load: App) -> None:
    app = app_after_first_load
    reading = subprocess.Popen(
        [
            sys.executable, "-c",
            "import duckdb, sys\n"
            "connection = duckdb.connect(sys.argv[1], read_only=True)\n"
            "count = lambda: connection.execute('select count(*) from raw.documents').fetchone()[0]\n"
            "print(count(), flush=True)\n"
            "sys.stdin.readline()\n"
            "print(count(), flush=True)\n",
            str(get_published_database_path(app.settings.warehouse_directory)),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reading.stdout is not None
    assert reading.stdout.readline() == "6\n"
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "new")
    load_warehouse(app)
    assert reading.communicate("\n", timeout=60)[0] == "6\n"
    assert query_warehouse(app, "select count(*) from raw.documents") == [(7,)]


def build_row_reader(app: App) -> Callable[[str], Iterator[list[Mapping[str, Any]]]]:
    def iterate_changed_rows(table: str) -> Iterator[list[Mapping[str, Any]]]:
        with app.ledger.open_snapshot() as connection:
            yield from iter_changed_rows(connection, table, 0, get_latest_revision(connection), 2)

    return iterate_changed_rows


def publish_warehouse_again(app: App) -> None:
    """Publish the working warehouse again."""
    (app.settings.warehouse_directory / "manifest.json").unlink()
    load_warehouse(app)
    assert get_published_revision(app) == get_ledger_revision(app)


def get_published_revision(app: App) -> int:
    watermark = find_published_watermark(app.settings.warehouse_directory)
    assert watermark is not None
    return watermark.revision


def get_ledger_revision(app: App) -> int:
    with app.ledger.open_snapshot() as connection:
        return get_latest_revision(connection)
