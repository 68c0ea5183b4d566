"""Runs the SQL files of this package. Each file defines the table of its name, built after the tables that it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files

import duckdb

from invoices.errors import ContractError
from invoices.model.currencies import MINOR_DIGITS

_TABLE_REFERENCE = re.compile(r"\b(?:from|join)\s+([a-z0-9_.]+)", re.IGNORECASE)
_MACRO_REFERENCE = re.compile(r"\b([a-z0-9_]+)\(")
_SQL_COMMENT = re.compile(r"--[^\n]*")


def open_in_memory_database(*, thread_count: int | None = None) -> duckdb.DuckDBPyConnection:
    """Return an empty in-memory database with our macros; no files, network or extensions; its time zone is UTC.

    ``thread_count`` is the number of threads, by default one per core; for few rows one is fastest.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if thread_count is not None:
        config["threads"] = thread_count
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(
        "SET VARIABLE minor_digits = MAP($1::VARCHAR[], $2::INTEGER[])",  # the macro format_money reads it
        [list(MINOR_DIGITS), list(MINOR_DIGITS.values())],
    )
    connection.execute("SET lock_configuration = true")
    macros = read_sql_models("macros")
    for name in sort_by_dependency(macros, _MACRO_REFERENCE):
        execute_model(connection, name, macros[name])
    return connection


def read_sql_models(folder: str) -> dict[str, str]:
    """Return the SQL of each model in ``transforms/<folder>`` by its name; raise ContractError if it is empty."""
    return dict(_load_sql_models(folder))


@cache
def _load_sql_models(folder: str) -> Mapping[str, str]:
    directory = files("transforms").joinpath(*folder.split("/"))
    sql_by_name = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in directory.iterdir()
        if entry.name.endswith(".sql")
    }
    if not sql_by_name:
        raise ContractError(f"transforms/{folder} contains no SQL file; reinstall the package")
    return sql_by_name


def build_models(connection: duckdb.DuckDBPyConnection, sql_by_name: Mapping[str, str]) -> list[str]:
    """Create a table for each model, in dependency order; return their names in that order.

    Raises ContractError, naming the models, if they depend on each other in a circle or if one fails.
    """
    ordered_names = sort_by_dependency(sql_by_name)
    for name in ordered_names:
        execute_model(connection, name, f"CREATE OR REPLACE TABLE {name} AS\n{sql_by_name[name]}")
    return ordered_names


def drop_unread_tables(connection: duckdb.DuckDBPyConnection, remaining_models: Mapping[str, str]) -> None:
    """Drop the tables that none of the models still to be built reads."""
    table_names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    read_names = {name for sql in remaining_models.values() for name in _find_references(sql, _TABLE_REFERENCE)}
    for name in set(table_names) - read_names - {"empty_answers"}:
        connection.execute(f"DROP TABLE {name}")


def sort_by_dependency(
    sql_by_name: Mapping[str, str], reference_pattern: re.Pattern[str] = _TABLE_REFERENCE
) -> list[str]:
    """Return the names in dependency order: each after the names that its SQL refers to, else alphabetically."""
    try:
        return list(TopologicalSorter(list_dependencies(sql_by_name, reference_pattern)).static_order())
    except CycleError as error:
        raise ContractError(f"SQL models depend on each other in a circle: {error.args[1]!r}") from error


def list_dependencies(
    sql_by_name: Mapping[str, str], reference_pattern: re.Pattern[str] = _TABLE_REFERENCE
) -> dict[str, list[str]]:
    """Return for each name the other names that its SQL refers to; names and dependencies are sorted."""
    return {
        name: sorted(_find_references(sql_by_name[name], reference_pattern) & set(sql_by_name) - {name})
        for name in sorted(sql_by_name)
    }


@cache
def _find_references(sql: str, reference_pattern: re.Pattern[str]) -> frozenset[str]:
    return frozenset(reference_pattern.findall(_SQL_COMMENT.sub("", sql)))


def execute_model(connection: duckdb.DuckDBPyConnection, name: str, statement: str) -> None:
    """Run one statement; raise ContractError with the name of the model if it fails."""
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        raise ContractError(f"the SQL model {name!r} failed: {error}") from error
