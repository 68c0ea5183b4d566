"""Runs the SQL files of this package: one file = one table = its file name, each after those it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files

import duckdb

from invoices.errors import ContractError

_TABLE_REFERENCE = re.compile(r"\b(?:from|join)\s+([a-z0-9_.]+)", re.IGNORECASE)
_MACRO_REFERENCE = re.compile(r"\b([a-z0-9_]+)\(")
_SQL_COMMENT = re.compile(r"--[^\n]*")


def open_in_memory_database() -> duckdb.DuckDBPyConnection:
    """Return an empty database in memory that can reach no file, no network and no extension; its zone is UTC."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET lock_configuration = true")
    macros = read_sql_models("macros")
    for name in sort_by_dependency(macros, _MACRO_REFERENCE):
        execute_model(connection, name, macros[name])
    return connection


def read_sql_models(folder: str) -> dict[str, str]:
    """Return the SQL of each model in ``transforms/<folder>`` by its name; raise ContractError if there is none."""
    directory = files("transforms").joinpath(*folder.split("/"))
    sql_by_name = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in directory.iterdir()
        if entry.name.endswith(".sql")
    }
    if not sql_by_name:
        raise ContractError(f"transforms/{folder} holds no SQL file")
    return sql_by_name


def build_tables(connection: duckdb.DuckDBPyConnection, *folders: str) -> list[str]:
    """Make a table of each model in the folders, each after those it reads; return their names in that order.

    Raises ContractError for a circle, or for a model that does not run, naming it.
    """
    sql_by_name = {name: sql for folder in folders for name, sql in read_sql_models(folder).items()}
    ordered_names = sort_by_dependency(sql_by_name)
    for name in ordered_names:
        execute_model(connection, name, f"CREATE OR REPLACE TABLE {name} AS\n{sql_by_name[name]}")
    return ordered_names


def sort_by_dependency(
    sql_by_name: Mapping[str, str], reference_pattern: re.Pattern[str] = _TABLE_REFERENCE
) -> list[str]:
    """Return the names so that each comes after those that its SQL refers to; equals in alphabetical order."""
    references = {
        name: set(reference_pattern.findall(_SQL_COMMENT.sub("", sql_by_name[name]))) for name in sorted(sql_by_name)
    }
    dependencies = {name: sorted(found & set(sql_by_name) - {name}) for name, found in references.items()}
    try:
        return list(TopologicalSorter(dependencies).static_order())
    except CycleError as error:
        raise ContractError(f"SQL models lean on each other in a circle: {error.args[1]!r}") from error


def execute_model(connection: duckdb.DuckDBPyConnection, name: str, statement: str) -> None:
    """Run one statement; raise ContractError naming the model if it does not run."""
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        raise ContractError(f"the SQL model {name!r} does not run: {error}") from error
