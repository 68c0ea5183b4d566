"""Runs the SQL files of this package: one file = one table = its file name, each after those it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files

import duckdb

from invoices.errors import ContractError

_NAMED = re.compile(r"\b(?:from|join)\s+([a-z0-9_.]+)", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")


def open_memory() -> duckdb.DuckDBPyConnection:
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
    for name, text in sorted(models("macros").items()):
        run(connection, name, text)
    return connection


def models(folder: str) -> dict[str, str]:
    """Return the SQL of each model in ``transforms/<folder>`` by its name; raise ContractError if there is none."""
    place = files("transforms").joinpath(*folder.split("/"))
    found = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in place.iterdir()
        if entry.name.endswith(".sql")
    }
    if not found:
        raise ContractError(f"transforms/{folder} holds no SQL file")
    return found


def build(connection: duckdb.DuckDBPyConnection, *folders: str) -> list[str]:
    """Make a table of each model in the folders, each after those it reads; return their names in that order.

    Raises ContractError for a circle, or for a model that does not run, naming it.
    """
    texts = {name: text for folder in folders for name, text in models(folder).items()}
    order = in_order(texts)
    for name in order:
        run(connection, name, f"CREATE OR REPLACE TABLE {name} AS\n{texts[name]}")
    return order


def in_order(texts: Mapping[str, str]) -> list[str]:
    """Return the names so that each comes after those its text reads from; equals in alphabetical order."""
    leans_on = {name: sorted(set(_read_by(texts[name])) & set(texts) - {name}) for name in sorted(texts)}
    try:
        return list(TopologicalSorter(leans_on).static_order())
    except CycleError as error:
        raise ContractError(f"SQL models lean on each other in a circle: {error.args[1]!r}") from error


def _read_by(text: str) -> list[str]:
    return _NAMED.findall(_COMMENT.sub("", text))


def run(connection: duckdb.DuckDBPyConnection, name: str, statement: str) -> None:
    """Run one statement; raise ContractError naming the model if it does not run."""
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        raise ContractError(f"the SQL model {name!r} does not run: {error}") from error
