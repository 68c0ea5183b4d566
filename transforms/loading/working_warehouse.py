"""The working warehouse: the one DuckDB file that only the loader opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from invoices.private_files import FILE_MODE, make_private_directory, use_private_umask
from transforms.loading.warehouse_tables import WAREHOUSE_TABLES


def get_working_database_path(warehouse_directory: Path) -> Path:
    """Return the path of the working warehouse."""
    return warehouse_directory / "working.duckdb"


def open_warehouse(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a warehouse for our own SQL, in UTC and without installing or loading extensions."""
    with use_private_umask():
        connection = duckdb.connect(
            path, config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def is_warehouse_complete(warehouse_directory: Path, expected_row_counts: Mapping[str, int]) -> bool:
    """Return whether the working warehouse opens and has at least the rows that the ledger expects.

    A truncated DuckDB file, or one whose log is lost or truncated, opens without an error but lacks rows. So they are
    counted.
    """
    path = get_working_database_path(warehouse_directory)
    if not path.exists():
        return not any(expected_row_counts.values())
    if _is_truncated(warehouse_directory):
        return False
    try:
        with open_warehouse(path) as connection:
            existing_tables = {
                name
                for (name,) in connection.execute("select schema_name||'.'||table_name from duckdb_tables()").fetchall()
            }
            return all(
                _count_rows(connection, f"{table.layer}.{table.name}", existing_tables)
                >= expected_row_counts[table.ledger_table]
                for table in WAREHOUSE_TABLES
                if table.ledger_table == table.name
            )
    except duckdb.Error:
        return False


def _is_truncated(warehouse_directory: Path) -> bool:
    """Return whether the file is shorter than its published copy; only a load changes either of them."""
    published_database = warehouse_directory / "invoices.duckdb"
    return (
        published_database.exists()
        and get_working_database_path(warehouse_directory).stat().st_size < published_database.stat().st_size
    )


def _count_rows(connection: duckdb.DuckDBPyConnection, table: str, existing_tables: set[str]) -> int:
    if table not in existing_tables:
        return 0
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def delete_working_warehouse(warehouse_directory: Path) -> None:
    """Delete the working warehouse and its log; it is derived data, and the next load rebuilds it."""
    path = get_working_database_path(warehouse_directory)
    for file in (path, path.with_name(path.name + ".wal")):
        file.unlink(missing_ok=True)


def create_working_warehouse(warehouse_directory: Path) -> None:
    """Create the file if it is missing: under another name, then renamed, so that a kill leaves no partial database."""
    path = get_working_database_path(warehouse_directory)
    if path.exists():
        return
    make_private_directory(warehouse_directory)
    temporary_path = path.with_name("creating.duckdb")
    temporary_path.unlink(missing_ok=True)
    open_warehouse(temporary_path).close()
    temporary_path.chmod(FILE_MODE)
    temporary_path.rename(path)
