"""The working warehouse: the one DuckDB file that only the loader opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from transforms.loading.warehouse_tables import WAREHOUSE_TABLES


def get_working_database_path(warehouse_directory: Path) -> Path:
    """Return where the working warehouse lies."""
    return warehouse_directory / "working.duckdb"


def open_warehouse(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a warehouse for our own SQL; amounts never meet a time zone or the network from here."""
    connection = duckdb.connect(
        path, config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def is_warehouse_complete(warehouse_directory: Path, expected_row_counts: Mapping[str, int]) -> bool:
    """Return whether the working warehouse opens and has at least the rows that the ledger says it was given.

    A DuckDB file that was cut, or whose log was lost or cut, opens without a word and lacks rows, hence the counting.
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
    """Whether the file is shorter than the copy that was published of it; only a load changes either."""
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
    """Remove the working warehouse; it is derived, and the next load makes it anew."""
    path = get_working_database_path(warehouse_directory)
    for file in (path, path.with_name(path.name + ".wal")):
        file.unlink(missing_ok=True)


def create_working_warehouse(warehouse_directory: Path) -> None:
    """Create the file under another name and rename it, so that a kill never leaves half a database."""
    path = get_working_database_path(warehouse_directory)
    if path.exists():
        return
    warehouse_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary_path = path.with_name("creating.duckdb")
    temporary_path.unlink(missing_ok=True)
    open_warehouse(temporary_path).close()
    temporary_path.rename(path)
