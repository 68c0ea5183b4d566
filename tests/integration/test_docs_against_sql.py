"""The words keep up with what SQL and a house really give: views, marts, sample queries, and the JSON of a run."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows.opening import open_house
from flows.telling import outcome, standing
from invoices.report import Report
from invoices.settings import Settings
from transforms.building import build_marts, build_views
from transforms.loading.rows import TABLES

DOCS = Path(__file__).parents[2] / "docs"
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
        for table in TABLES:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
            empty = table.schema.empty_table()
            connection.register("empty", empty)
            connection.execute(f"CREATE TABLE {table.layer}.{table.name} AS SELECT * FROM empty")
            connection.unregister("empty")
        build_views(connection)
        build_marts(connection, dt.date(2026, 1, 1))
        yield connection


def test_every_view_and_mart_is_described_with_its_columns_and_types(warehouse: duckdb.DuckDBPyConnection) -> None:
    loaded = {f"{table.layer}.{table.name}" for table in TABLES}
    found = warehouse.execute("SELECT table_schema || '.' || table_name FROM information_schema.tables").fetchall()
    assert {name for (name,) in found} == set(re.findall(r"^### `(\w+\.\w+)`$", TABLES_PAGE, re.MULTILINE))
    for name in sorted({name for (name,) in found} - loaded):
        columns = [(row[0], _short(row[1])) for row in warehouse.execute(f"DESCRIBE {name}").fetchall()]
        assert _described(name) == columns, name


def _short(kind: str) -> str:
    return kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


def _described(name: str) -> list[tuple[str, str]]:
    told = TABLES_PAGE.partition(f"### `{name}`\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `(\w+)` \| (\S+) \| \S", told, re.MULTILINE)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query.split())[:60])
def test_every_sample_query_runs(warehouse: duckdb.DuckDBPyConnection, query: str) -> None:
    assert warehouse.execute(query).fetchall() == []


def test_every_key_of_the_json_objects_is_described(tmp_path: Path) -> None:
    with open_house(Settings.load(home=tmp_path / "house")) as house:
        ran, stands = outcome(house, Report()), standing(house)
    inner = [key for part in (*ran.values(), *stands.values()) if isinstance(part, dict) for key in part]
    assert [key for key in {*ran, *stands, *inner} if f"`{key}`" not in COMMANDS_PAGE] == []
    told = COMMANDS_PAGE.partition("### `run`, ")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == set(ran)
