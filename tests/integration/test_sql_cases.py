"""Each ``tests/sql/<model>/<sentence>.yaml``: given answers or rows, the rows of that model are as expected.

``given.documents`` lists one answer per document (d1, d2, …): ``einvoice`` (changes to the sound invoice of
``tests/sql/sound_invoice.yaml``, deeply merged; null takes a key away; a list of changes makes several invoices) with
``profile`` and ``syntax``, or ``smartbills_com`` (JSON text as the vendor sends it), or ``rows`` (changes to the sound
row of invoicedataextraction.com, one each, and what else its payload has), or ``billflowai`` (changes to its sound
body), or ``extracted_by`` and ``payload``. ``known``, ``company_tax_ids`` and ``stopping_rules`` are what ``shape``
gets. For the views and marts, ``given.tables`` has rows of warehouse tables instead. ``expect`` has rows with the
columns that matter, values as text; ``where`` picks the rows to look at; their order does not matter. ``$d1.1`` is the
id of the first invoice in d1.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from stored_answers import billflowai, einvoice, rows_of, stored

from invoices.model import invoice_id
from transforms.building import build_marts, build_views
from transforms.loading.rows import TABLES
from transforms.running import build, models, open_memory
from transforms.shaping import KNOWN

CASES = Path(__file__).parents[1] / "sql"
FILES = sorted(CASES.glob("*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_model_gives_the_expected_rows(path: Path) -> None:
    case = _resolved(yaml.safe_load(path.read_text(encoding="utf-8")))
    with open_memory() as connection:
        _prepare(connection, case["given"])
        found = _rows(connection, path.parent.name, case.get("where", {}), case["expect"])
    expected = [{name: _text(value) for name, value in row.items()} for row in case["expect"]]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_every_model_with_a_rule_in_it_has_a_case() -> None:
    named = {path.parent.name for path in FILES}
    decides = {name for name in models("core") if name.startswith("checks_")} - {"checks_alone"}
    decides |= set(models("core/newness")) | set(models("core/views")) | set(models("marts")) - {"clock"}
    assert decides - {"candidate_checks", "candidate_duplicates"} <= named
    folders = ("staging", "core", "core/newness", "core/views", "marts")
    assert named <= {name for folder in folders for name in models(folder)}


def _prepare(connection: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> None:
    if "tables" in given:
        _fill_warehouse(connection, given["tables"])
        build_views(connection)
        build_marts(connection, given.get("as_of"))
        return
    answers = [_answer(number, document) for number, document in enumerate(given["documents"], start=1)]
    connection.register("extractions", stored(answers))
    connection.register("known", pa.Table.from_pylist(given.get("known", []), schema=KNOWN))
    for name, column in (("company_tax_ids", "tax_id"), ("stopping_rules", "rule_id")):
        connection.register(name, pa.table({column: pa.array(given.get(name, []), pa.string())}))
    build(connection, "staging", "core")
    build(connection, "core/newness")


def _fill_warehouse(connection: duckdb.DuckDBPyConnection, tables: dict[str, list[dict[str, Any]]]) -> None:
    for table in TABLES:
        name = f"{table.layer}.{table.name}"
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        connection.register("empty", table.schema.empty_table())
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM empty")
        for row in tables.get(name, []):
            holes = ", ".join("?" for _ in row)
            connection.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({holes})", list(row.values()))


def _answer(number: int, document: dict[str, Any]) -> tuple[str, str, str]:
    name = document.get("document", f"d{number}")
    if "einvoice" in document:
        changes = document["einvoice"] if isinstance(document["einvoice"], list) else [document["einvoice"]]
        about = {key: document[key] for key in ("profile", "syntax") if key in document}
        return name, "einvoice", einvoice(*changes, **about)
    if "smartbills_com" in document:
        return name, "smartbills_com", document["smartbills_com"]
    if "rows" in document:
        about = {key: value for key, value in document.items() if key not in ("document", "rows")}
        return name, "invoicedataextraction_com", rows_of(document["rows"], **about)
    if "billflowai" in document:
        return name, "billflowai", billflowai(document["billflowai"])
    return name, document["extracted_by"], document["payload"]


def _rows(
    connection: duckdb.DuckDBPyConnection, model: str, where: dict[str, str], expected: list[dict[str, Any]]
) -> list[dict[str, str | None]]:
    columns = list(expected[0]) if expected else ["1"]
    schema = {"core/views": "core.", "marts": "marts."}
    place = next((prefix for folder, prefix in schema.items() if model in models(folder)), "")
    conditions = " AND ".join(f"{name}::VARCHAR = ?" for name in where) or "true"
    cursor = connection.execute(
        f"SELECT {', '.join(f'{name}::VARCHAR' for name in columns)} FROM {place}{model} WHERE {conditions}",
        [str(value) for value in where.values()],
    )
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _resolved(value: Any) -> Any:
    """Return the case with each ``$d1.1`` replaced by the id of that invoice."""
    if isinstance(value, dict):
        return {key: _resolved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$(d\d+)\.(\d)", lambda found: invoice_id(found[1], int(found[2])), value)
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
