"""Each ``tests/sql/<model>/<sentence>.yaml``: given answers or rows, the model returns the expected rows.

``given.documents`` lists one answer per document (d1, d2, …): ``einvoice`` (changes to the valid invoice of
``tests/sql/sound_invoice.yaml``, deeply merged; null removes a key; a list of changes makes several invoices) with
``profile`` and ``syntax``, or ``smartbills_com`` (JSON text as the vendor sends it), or ``rows`` (one set of changes
per row to the valid row of invoicedataextraction.com, with the rest of its payload), or ``billflowai`` (changes to its
valid body), or ``extracted_by`` and ``payload``. ``known_keys``, ``company_tax_ids``, ``critical_rules`` and
``warning_rules`` are the other arguments; ``official`` has rows of ``runs``, ``failures`` and ``rule_ids``. For views
and marts, ``given.tables`` has rows of warehouse tables instead.
``expect`` has rows with the columns to compare, values as text; ``where`` filters the rows; their order does not
matter. ``$d1.1`` is the id of the first invoice in d1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from invoices.model import compute_invoice_id
from tests.integration.extraction_payloads import (
    build_billflowai_payload,
    build_einvoice_payload,
    build_extraction_table,
    build_rows_payload,
)
from tests.run_environment import CHECKOUT
from transforms.candidate_batch import (
    KNOWN_KEYS_SCHEMA,
    OFFICIAL_FAILURES_SCHEMA,
    OFFICIAL_RULE_IDS_SCHEMA,
    OFFICIAL_RUNS_SCHEMA,
    OfficialOutcomes,
    register_official_outcomes,
)
from transforms.loading.warehouse_tables import WAREHOUSE_TABLES
from transforms.mart_builder import build_marts, build_views
from transforms.sql_runner import (
    execute_model,
    list_dependencies,
    open_in_memory_database,
    read_sql_models,
    sort_by_dependency,
)

CASE_DIRECTORY = CHECKOUT / "tests" / "sql"
CASE_FILES = sorted(CASE_DIRECTORY.glob("*/*.yaml"))


@pytest.fixture(scope="module")
def macro_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with our macros and no table; a test rolls its tables back."""
    with open_in_memory_database() as connection:
        yield connection


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_model_gives_the_expected_rows(path: Path, macro_database: duckdb.DuckDBPyConnection) -> None:
    case, model = _read_case(path), path.parent.name
    if "tables" in case["given"]:
        with open_in_memory_database() as connection:
            _build_warehouse(connection, case["given"])
            actual = _query_model(connection, model, case.get("where", {}), case["expect"])
    else:
        macro_database.begin()
        try:
            _build_candidate_models(macro_database, case["given"], _list_needed_models(model))
            actual = _query_model(macro_database, model, case.get("where", {}), case["expect"])
        finally:
            macro_database.rollback()
    expected = [{name: _format_value(value) for name, value in row.items()} for row in case["expect"]]
    assert sorted(actual, key=repr) == sorted(expected, key=repr)


def test_every_model_can_read_the_documents_of_every_case(macro_database: duckdb.DuckDBPyConnection) -> None:
    given_by_case = {path: _read_case(path)["given"] for path in CASE_FILES}
    documents = [
        document | {"document": f"{path.parent.name}/{path.stem}/{document.get('document', number)}"}
        for path, given in given_by_case.items()
        for number, document in enumerate(given.get("documents", []), start=1)
    ]
    known_keys = [key for given in given_by_case.values() for key in given.get("known_keys", [])]
    macro_database.begin()
    try:
        _build_candidate_models(
            macro_database, {"documents": documents, "known_keys": known_keys}, list(_read_candidate_models())
        )
        rows = macro_database.execute(
            "SELECT document_sha256 FROM candidates UNION SELECT document_sha256 FROM empty_answers"
        ).fetchall()
    finally:
        macro_database.rollback()
    assert {name for (name,) in rows} == {document["document"] for document in documents}


def test_every_model_with_a_rule_has_a_case() -> None:
    models_with_cases = {path.parent.name for path in CASE_FILES}
    models_with_rules = {name for name in read_sql_models("core") if name.startswith("checks_")} - {
        "checks_per_candidate"
    }
    models_with_rules |= (
        set(read_sql_models("core/duplicates"))
        | set(read_sql_models("core/views"))
        | set(read_sql_models("marts")) - {"clock"}
    )
    assert models_with_rules - {"candidate_checks", "candidate_duplicates"} <= models_with_cases
    folders = ("staging", "core", "core/duplicates", "core/views", "marts")
    assert models_with_cases <= {name for folder in folders for name in read_sql_models(folder)}


def _read_case(path: Path) -> Any:
    return _resolve_invoice_ids(yaml.safe_load(path.read_text(encoding="utf-8")))


@cache
def _read_candidate_models() -> dict[str, str]:
    """Return the SQL of the models that build candidates from answers by name, in dependency order."""
    sql_by_name = read_sql_models("staging") | read_sql_models("core") | read_sql_models("core/duplicates")
    return {name: sql_by_name[name] for name in sort_by_dependency(sql_by_name)}


@cache
def _list_needed_models(model: str) -> list[str]:
    """Return the model after those that it needs, directly or through others, in dependency order."""
    dependencies = list_dependencies(_read_candidate_models())
    needed_models, remaining = set(), [model]
    while remaining:
        name = remaining.pop()
        if name not in needed_models:
            needed_models.add(name)
            remaining += dependencies[name]
    return [name for name in _read_candidate_models() if name in needed_models]


def _build_official_outcomes(given: dict[str, Any]) -> OfficialOutcomes:
    return OfficialOutcomes(
        runs=pa.Table.from_pylist(given.get("runs", []), schema=OFFICIAL_RUNS_SCHEMA),
        failures=pa.Table.from_pylist(given.get("failures", []), schema=OFFICIAL_FAILURES_SCHEMA),
        rule_ids=pa.Table.from_pylist(given.get("rule_ids", []), schema=OFFICIAL_RULE_IDS_SCHEMA),
    )


def _build_warehouse(connection: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> None:
    _fill_warehouse(connection, given["tables"])
    build_views(connection)
    build_marts(connection, given.get("as_of"))


def _build_candidate_models(
    connection: duckdb.DuckDBPyConnection, given: dict[str, Any], models: Sequence[str]
) -> None:
    answers = [_build_answer(number, document) for number, document in enumerate(given["documents"], start=1)]
    connection.register("extractions", build_extraction_table(answers))
    connection.register("known_keys", pa.Table.from_pylist(given.get("known_keys", []), schema=KNOWN_KEYS_SCHEMA))
    for name, column in (("company_tax_ids", "tax_id"), ("critical_rules", "rule_id"), ("warning_rules", "rule_id")):
        connection.register(name, pa.table({column: pa.array(given.get(name, []), pa.string())}))
    register_official_outcomes(connection, _build_official_outcomes(given.get("official", {})))
    for name in models:
        execute_model(connection, name, f"CREATE TABLE {name} AS\n{_read_candidate_models()[name]}")


def _fill_warehouse(connection: duckdb.DuckDBPyConnection, tables: dict[str, list[dict[str, Any]]]) -> None:
    for table in WAREHOUSE_TABLES:
        name = f"{table.layer}.{table.name}"
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        connection.register("empty", table.schema.empty_table())
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM empty")
        for row in tables.get(name, []):
            placeholders = ", ".join("?" for _ in row)
            connection.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({placeholders})", list(row.values()))


def _build_answer(number: int, document: dict[str, Any]) -> tuple[str, str, str]:
    name = document.get("document", f"d{number}")
    if "einvoice" in document:
        changes = document["einvoice"] if isinstance(document["einvoice"], list) else [document["einvoice"]]
        profile, syntax = document.get("profile", "en16931"), document.get("syntax", "cii")
        return name, "einvoice", build_einvoice_payload(*changes, profile=profile, syntax=syntax)
    if "smartbills_com" in document:
        return name, "smartbills_com", document["smartbills_com"]
    if "rows" in document:
        extra_fields = {key: value for key, value in document.items() if key not in ("document", "rows")}
        return name, "invoicedataextraction_com", build_rows_payload(document["rows"], **extra_fields)
    if "billflowai" in document:
        return name, "billflowai", build_billflowai_payload(document["billflowai"])
    return name, document["extracted_by"], document["payload"]


def _query_model(
    connection: duckdb.DuckDBPyConnection, model: str, where: dict[str, str], expected: list[dict[str, Any]]
) -> list[dict[str, str | None]]:
    columns = list(expected[0]) if expected else ["1"]
    schema = {"core/views": "core.", "marts": "marts."}
    schema_prefix = next((prefix for folder, prefix in schema.items() if model in read_sql_models(folder)), "")
    conditions = " AND ".join(f"{name}::VARCHAR = ?" for name in where) or "true"
    cursor = connection.execute(
        f"SELECT {', '.join(f'{name}::VARCHAR' for name in columns)} FROM {schema_prefix}{model} WHERE {conditions}",
        [str(value) for value in where.values()],
    )
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _resolve_invoice_ids(value: Any) -> Any:
    """Return the case with each ``$d1.1`` replaced by the id of that invoice."""
    if isinstance(value, dict):
        return {key: _resolve_invoice_ids(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve_invoice_ids(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$(d\d+)\.(\d)", lambda match: compute_invoice_id(match[1], int(match[2])), value)
    return value


def _format_value(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
