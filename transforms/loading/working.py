"""The working warehouse: the one DuckDB file that only the loader opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from transforms.loading.rows import TABLES

HEADER_BYTES = 3 * 4096  # DuckDB's storage format


def working_path(directory: Path) -> Path:
    """Return where the working warehouse lies."""
    return directory / "working.duckdb"


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a warehouse for our own SQL; amounts never meet a time zone or the network from here."""
    connection = duckdb.connect(
        path, config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def is_complete(directory: Path, expected: Mapping[str, int]) -> bool:
    """Return whether the working warehouse opens and has at least the rows that the ledger says it was given.

    A DuckDB file that was cut, or whose log was lost or cut, opens without a word and lacks rows, hence the counting.
    """
    path = working_path(directory)
    if not path.exists():
        return not any(expected.values())
    try:
        size = path.stat().st_size
        with connect(path) as connection:
            if size < _whole_size(connection):
                return False
            present = {
                name
                for (name,) in connection.execute("select schema_name||'.'||table_name from duckdb_tables()").fetchall()
            }
            return all(
                _count(connection, f"{table.layer}.{table.name}", present) >= expected[table.ledger_table]
                for table in TABLES
                if table.ledger_table == table.name
            )
    except duckdb.Error:
        return False


def _whole_size(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the bytes that the file must have by its own account: three headers and its blocks."""
    row = connection.execute("select block_size * total_blocks from pragma_database_size()").fetchone()
    return HEADER_BYTES + int(row[0]) if row and row[0] else 0


def _count(connection: duckdb.DuckDBPyConnection, table: str, present: set[str]) -> int:
    if table not in present:
        return 0
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def discard(directory: Path) -> None:
    """Remove the working warehouse; it is derived, and the next load makes it anew."""
    path = working_path(directory)
    for leftover in (path, path.with_name(path.name + ".wal")):
        leftover.unlink(missing_ok=True)


def create(directory: Path) -> None:
    """Create the file under another name and rename it, so that a kill never leaves half a database."""
    path = working_path(directory)
    if path.exists():
        return
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name("creating.duckdb")
    fresh.unlink(missing_ok=True)
    connect(fresh).close()
    fresh.rename(path)
