"""The rate limit buckets: in a file beside a SQLite ledger, or in the PostgreSQL database of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pyrate_limiter import AbstractBucket, PostgresBucket, Rate, SQLiteBucket
from sqlalchemy import URL

from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow, translate_bucket_errors
from invoices.private_files import FILE_MODE, make_private_file

DATABASE_FILE_NAME = "budgets.sqlite"
STORE_TIMEOUT_SECONDS = 30.0  # for a database that does not answer, or a file that another process has locked


class RateLimitStore:
    """Creates the rate limiter of each account; ``close`` releases their files and connections."""

    def __init__(
        self, ledger_url: URL, directory: Path, time_scale: float, timeout_seconds: float = STORE_TIMEOUT_SECONDS
    ) -> None:
        """Store buckets where the ledger is; a SQLite ledger has its bucket file in ``directory``."""
        self._ledger_url, self._directory = ledger_url, directory
        self._time_scale, self._timeout_seconds = time_scale, timeout_seconds
        self._exit_stack = ExitStack()
        self._connection_pool: ConnectionPool | None = None

    def create_rate_limiter(self, account: str, windows: Sequence[RateWindow]) -> RateLimiter:
        """Return the rate limiter of ``account``, a name of letters, digits and underscores.

        Raises:
            ConfigurationError: the file or the database cannot be used.
        """
        if not account.replace("_", "").isalnum():
            raise ValueError(f"bucket names have letters, digits and underscores only: {account!r}")
        rates = [window.to_rate(self._time_scale) for window in windows]
        if self._ledger_url.get_backend_name() == "postgresql":
            with translate_bucket_errors():
                bucket: AbstractBucket = _ServerClockPostgresBucket(self._get_connection_pool(), account, rates)
        else:
            bucket = self._open_sqlite_bucket(account, rates)
        return RateLimiter(windows, bucket, self._time_scale)

    def close(self) -> None:
        """Close files and connections."""
        self._exit_stack.close()

    def _open_sqlite_bucket(self, account: str, rates: list[Rate]) -> AbstractBucket:
        database_path = str(self._directory / DATABASE_FILE_NAME)
        with translate_bucket_errors(f" in {database_path!r} (delete the file while no run is active)"):
            for path in (database_path, f"{database_path}.lock"):
                make_private_file(Path(path))
            bucket = SQLiteBucket.init_from_file(rates, table=account, db_path=database_path, use_file_lock=True)
        self._exit_stack.callback(bucket.close)
        lock: Any = FileLock(f"{database_path}.lock", self._timeout_seconds, FILE_MODE)
        bucket.lock = lock
        return bucket

    def _get_connection_pool(self) -> ConnectionPool:
        if self._connection_pool is None:
            database_url = self._ledger_url.set(drivername="postgresql").render_as_string(hide_password=False)
            self._connection_pool = ConnectionPool(
                database_url, min_size=1, max_size=4, open=True, timeout=self._timeout_seconds,
                configure=_set_utc_time_zone, check=ConnectionPool.check_connection,
            )  # fmt: skip
            self._exit_stack.callback(self._connection_pool.close)
        return self._connection_pool


class _ServerClockPostgresBucket(PostgresBucket):
    """Uses the server's clock only; the library falls back to this machine's clock if the server does not answer."""

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        with self.pool.connection() as connection:
            row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
        return int(row[0]) if row else 0


def _set_utc_time_zone(connection: Connection[Any]) -> None:
    """Set the session to UTC: the library stores timestamps without time zone, and server defaults differ."""
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()
