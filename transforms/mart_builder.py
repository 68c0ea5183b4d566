"""Builds the views and marts for analysts: the accepted invoices, the quarantine, spend, payables, cost and intake."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb

from invoices.errors import ContractError
from invoices.private_files import use_private_umask
from transforms.loading.working_warehouse import get_working_database_path, open_warehouse
from transforms.sql_runner import execute_model, read_sql_models, sort_by_dependency


@use_private_umask()
def build_views_and_marts(warehouse_directory: Path) -> None:
    """Rebuild the views and marts of the working warehouse, as of the day of its newest change.

    That day comes from the data, so building again without new data changes no row.
    """
    with open_warehouse(get_working_database_path(warehouse_directory)) as connection:
        build_views(connection)
        build_marts(connection, find_last_change_date(connection))


def find_last_change_date(connection: duckdb.DuckDBPyConnection) -> dt.date | None:
    """Return the UTC day on which a document last changed its state; None in an empty warehouse."""
    row = connection.execute("SELECT max(changed_at AT TIME ZONE 'UTC')::DATE FROM core.documents").fetchone()
    return row[0] if row else None


def build_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create or replace the views in ``core``; raise ContractError if a column of its tables is missing."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS core")
    _create_relations(connection, "core", "VIEW", read_sql_models("core/views"))


def build_marts(connection: duckdb.DuckDBPyConnection, as_of_date: dt.date | None) -> None:
    """Create or replace the tables of ``marts`` in one transaction, as of ``as_of_date`` (see ``marts.clock``).

    The same rows and date give the same marts. Raises ContractError if one fails; then the previous marts stay.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
    connection.execute("SET VARIABLE as_of_on = $1::DATE", [as_of_date])
    _create_relations(connection, "marts", "TABLE", read_sql_models("marts"))


def _create_relations(
    connection: duckdb.DuckDBPyConnection, schema: str, relation_type: str, sql_by_name: dict[str, str]
) -> None:
    sql_by_qualified_name = {f"{schema}.{name}": sql for name, sql in sql_by_name.items()}
    connection.begin()
    try:
        for name in sort_by_dependency(sql_by_qualified_name):
            execute_model(
                connection, name, f"CREATE OR REPLACE {relation_type} {name} AS\n{sql_by_qualified_name[name]}"
            )
    except ContractError:
        connection.rollback()
        raise
    connection.commit()
