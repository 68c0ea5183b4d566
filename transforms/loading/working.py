"""The working warehouse: the one DuckDB file that only the loader opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from transforms.loading.rows import TABLES


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
    if _was_cut(directory):
        return False
    try:
        with connect(path) as connection:
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


def _was_cut(directory: Path) -> bool:
    """Whether the file is shorter than the copy that was published of it; only a load changes either."""
    published = directory / "invoices.duckdb"
    return published.exists() and working_path(directory).stat().st_size < published.stat().st_size


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
