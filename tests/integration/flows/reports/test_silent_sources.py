"""Silent sources are found by the usual pause of each, from the published warehouse."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from flows.reports.silent_sources import query_silent_sources

TODAY = dt.date(2026, 3, 1)


@pytest.fixture
def warehouse_directory(tmp_path: Path) -> Path:
    """A published warehouse with a daily source, a monthly supplier, and a supplier without a rhythm."""
    with duckdb.connect(tmp_path / "invoices.duckdb") as connection:
        connection.execute("create schema marts")
        connection.execute(
            "create table marts.arrival_rhythm (kind varchar, key varchar, name varchar, last_on date, "
            "day_count bigint, usual_pause_day_count bigint)"
        )
        connection.execute(
            "insert into marts.arrival_rhythm values ('source', 'ap', 'ap', '2026-02-24', 99, 2), "
            "('supplier', 'acme', 'Acme\x1b[2J', '2026-01-20', 12, 31), "
            "('supplier', 'new', 'New', '2020-01-01', 2, null)"
        )
    return tmp_path


def test_a_source_is_silent_after_more_than_twice_its_usual_pause(warehouse_directory: Path) -> None:
    assert [silent_source.name for silent_source in query_silent_sources(warehouse_directory, TODAY, 2.0)] == ["ap"]
    assert query_silent_sources(warehouse_directory, dt.date(2026, 2, 28), 2.0) == []


def test_a_monthly_supplier_may_pause_for_longer(warehouse_directory: Path) -> None:
    silent_sources = query_silent_sources(warehouse_directory, dt.date(2026, 3, 24), 2.0)
    assert [(silent_source.kind, silent_source.usual_pause_days) for silent_source in silent_sources] == [
        ("source", 2),
        ("supplier", 31),
    ]


def test_a_silent_source_is_one_printable_line_and_a_json_object(warehouse_directory: Path) -> None:
    supplier = query_silent_sources(warehouse_directory, dt.date(2026, 3, 24), 2.0)[1]
    assert str(supplier) == "supplier 'Acme\\\\x1b[2J': last document on 2026-01-20, usually one every 31 days"
    assert supplier.to_json()["last_on"] == "2026-01-20"


def test_no_source_is_silent_without_a_warehouse_or_in_one_of_an_earlier_version(tmp_path: Path) -> None:
    assert query_silent_sources(tmp_path, TODAY, 2.0) == []
    duckdb.connect(tmp_path / "invoices.duckdb").close()
    assert query_silent_sources(tmp_path, TODAY, 2.0) == []
