"""Builds what analysts read: the views of the accepted invoices, the quarantine, and the marts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb

from invoices.errors import ContractError
from transforms.loading.working import connect, working_path
from transforms.running import in_order, models, run


def build(directory: Path) -> None:
    """Renew views and marts of the working warehouse in ``directory``, as of the day of its newest change.

    That day is part of the data, so building again when nothing came changes no row.
    """
    with connect(working_path(directory)) as connection:
        build_views(connection)
        build_marts(connection, newest_change_on(connection))


def newest_change_on(connection: duckdb.DuckDBPyConnection) -> dt.date | None:
    """Return the UTC day on which a document last changed its state; None in an empty warehouse."""
    row = connection.execute("SELECT max(changed_at AT TIME ZONE 'UTC')::DATE FROM core.documents").fetchone()
    return row[0] if row else None


def build_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create or replace the views of ``core`` over the tables of ``core``; raise ContractError if a column lacks."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS core")
    _build(connection, "core", "VIEW", models("core/views"))


def build_marts(connection: duckdb.DuckDBPyConnection, as_of: dt.date | None) -> None:
    """Create or replace the tables of ``marts`` in one transaction, seen from the day ``as_of`` (``marts.clock``).

    The same rows and day give the same marts. Raises ContractError if one does not run; the earlier ones stay then.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
    connection.execute("SET VARIABLE as_of_on = $1::DATE", [as_of])
    _build(connection, "marts", "TABLE", models("marts"))


def _build(connection: duckdb.DuckDBPyConnection, schema: str, kind: str, texts: dict[str, str]) -> None:
    qualified = {f"{schema}.{name}": text for name, text in texts.items()}
    connection.begin()
    try:
        for name in in_order(qualified):
            run(connection, name, f"CREATE OR REPLACE {kind} {name} AS\n{qualified[name]}")
    except ContractError:
        connection.rollback()
        raise
    connection.commit()
