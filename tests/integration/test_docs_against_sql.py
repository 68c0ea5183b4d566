"""The documentation matches the views and marts, the sample queries run, and the JSON of a run is described."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows.bootstrap import open_app
from flows.reports.run_summary import get_pipeline_status, get_run_result
from invoices.run_report import RunReport
from invoices.settings import Settings
from tests.run_environment import CHECKOUT
from transforms.loading.warehouse_tables import WAREHOUSE_TABLES
from transforms.mart_builder import build_marts, build_views

DOCS = CHECKOUT / "docs"
TABLES_PAGE, COMMANDS_PAGE = (DOCS / "tables.md").read_text(), (DOCS / "commands.md").read_text()
QUERIES = [
    query
    for path in sorted(DOCS.rglob("*.md"))
    for query in re.findall(r"```sql\n(.*?)```", path.read_text(), re.DOTALL)
]


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse without rows, in memory."""
    with duckdb.connect() as connection:
        for table in WAREHOUSE_TABLES:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
            empty = table.schema.empty_table()
            connection.register("empty", empty)
            connection.execute(f"CREATE TABLE {table.layer}.{table.name} AS SELECT * FROM empty")
            connection.unregister("empty")
        build_views(connection)
        build_marts(connection, dt.date(2026, 1, 1))
        yield connection


def test_every_view_and_mart_is_described_with_its_columns_and_types(warehouse: duckdb.DuckDBPyConnection) -> None:
    loaded = {f"{table.layer}.{table.name}" for table in WAREHOUSE_TABLES}
    table_names = warehouse.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables"
    ).fetchall()
    assert {name for (name,) in table_names} == set(re.findall(r"^### `(\w+\.\w+)`$", TABLES_PAGE, re.MULTILINE))
    for name in sorted({name for (name,) in table_names} - loaded):
        columns = [
            (row[0], row[1].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"))
            for row in warehouse.execute(f"DESCRIBE {name}").fetchall()
        ]
        assert _parse_documented_columns(name) == columns, name


def _parse_documented_columns(name: str) -> list[tuple[str, str]]:
    section = TABLES_PAGE.partition(f"### `{name}`\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `(\w+)` \| (\S+) \| \S", section, re.MULTILINE)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query.split())[:60])
def test_every_sample_query_runs(warehouse: duckdb.DuckDBPyConnection, query: str) -> None:
    assert warehouse.execute(query).fetchall() == []


def test_every_key_of_the_json_objects_is_described(tmp_path: Path) -> None:
    with open_app(Settings.load(home=tmp_path / "home")) as app:
        run_outcome, standing_outcome = get_run_result(app, RunReport()), get_pipeline_status(app)
    inner = [
        key for part in (*run_outcome.values(), *standing_outcome.values()) if isinstance(part, dict) for key in part
    ]
    assert [key for key in {*run_outcome, *standing_outcome, *inner} if f"`{key}`" not in COMMANDS_PAGE] == []
    section_text = COMMANDS_PAGE.partition("### `run`, ")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section_text, re.MULTILINE)) == set(run_outcome)
