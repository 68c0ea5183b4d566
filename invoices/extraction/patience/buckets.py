"""The buckets in which calls are counted: beside a SQLite ledger, or in the PostgreSQL database that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pyrate_limiter import AbstractBucket, PostgresBucket, Rate, SQLiteBucket
from sqlalchemy import URL

from invoices.extraction.patience.budget import Budget, Window, counting

FILE_NAME = "budgets.sqlite"
PATIENCE_SECONDS = 30.0  # with a database that does not answer, and with another process that has the file in hand


class Buckets:
    """Gives each account its budget; ``close`` lets go of what they hold."""

    def __init__(self, ledger_url: URL, directory: Path, scale: float, patience: float = PATIENCE_SECONDS) -> None:
        """Count where the ledger is; ``directory`` is for the file that a SQLite ledger has beside it."""
        self._url, self._directory, self._scale, self._patience = ledger_url, directory, scale, patience
        self._closing = ExitStack()
        self._pool: ConnectionPool | None = None

    def budget(self, name: str, windows: Sequence[Window]) -> Budget:
        """Return the budget of the account ``name``; ``name`` is letters, digits and underscores.

        Raises:
            ConfigurationError: the file or the database cannot be used.
        """
        if not name.replace("_", "").isalnum():
            raise ValueError(f"not a name of a bucket: {name!r}")
        rates = [window.as_rate(self._scale) for window in windows]
        is_shared = self._url.get_backend_name() == "postgresql"
        return Budget(windows, self._in_database(name, rates) if is_shared else self._in_file(name, rates), self._scale)

    def close(self) -> None:
        """Let go of files and connections."""
        self._closing.close()

    def _in_database(self, name: str, rates: list[Rate]) -> AbstractBucket:
        with counting():
            return _TableBucket(self._connections(), name, rates)

    def _in_file(self, name: str, rates: list[Rate]) -> AbstractBucket:
        place = str(self._directory / FILE_NAME)
        with counting(f" in {place!r}, which may be removed while no run is active"):
            bucket = SQLiteBucket.init_from_file(rates, table=name, db_path=place, use_file_lock=True)
        self._closing.callback(bucket.close)
        if isinstance(bucket.lock, BaseFileLock):
            bucket.lock.timeout = self._patience
        return bucket

    def _connections(self) -> ConnectionPool:
        if self._pool is None:
            address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
            self._pool = ConnectionPool(
                address, min_size=1, max_size=4, open=True, timeout=self._patience,
                configure=_in_utc, check=ConnectionPool.check_connection,
            )  # fmt: skip
            self._closing.callback(self._pool.close)
        return self._pool


class _TableBucket(PostgresBucket):
    """Counts by the server's clock alone; the library's would take this machine's where the server does not answer."""

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        with self.pool.connection() as connection:
            row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
        return int(row[0]) if row else 0


def _in_utc(connection: Connection[Any]) -> None:
    """Keep instants in UTC: the library's table has none with a zone, and each session may be set to another."""
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()
