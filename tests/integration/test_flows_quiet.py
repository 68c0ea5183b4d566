"""Who has gone quiet is told by everyone's own rhythm, from the published warehouse."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from flows.quiet import quiet

TODAY = dt.date(2026, 3, 1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
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


def test_a_source_is_quiet_after_more_than_twice_its_usual_pause(directory: Path) -> None:
    assert [one.name for one in quiet(directory, TODAY, 2.0)] == ["ap"]
    assert quiet(directory, dt.date(2026, 2, 28), 2.0) == []


def test_a_monthly_supplier_may_be_silent_for_longer(directory: Path) -> None:
    found = quiet(directory, dt.date(2026, 3, 24), 2.0)
    assert [(one.kind, one.usual_pause_days) for one in found] == [("source", 2), ("supplier", 31)]


def test_the_warning_is_a_plain_line_and_a_plain_object(directory: Path) -> None:
    supplier = quiet(directory, dt.date(2026, 3, 24), 2.0)[1]
    assert str(supplier) == "supplier 'Acme\\\\x1b[2J': the last document came on 2026-01-20, usually one every 31 days"
    assert supplier.record()["last_on"] == "2026-01-20"


def test_nobody_is_quiet_without_a_warehouse_or_in_one_of_an_earlier_version(tmp_path: Path) -> None:
    assert quiet(tmp_path, TODAY, 2.0) == []
    duckdb.connect(tmp_path / "invoices.duckdb").close()
    assert quiet(tmp_path, TODAY, 2.0) == []
