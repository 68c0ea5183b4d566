"""The ledger: opening it, its snapshots, and its transactions, which write everything or nothing."""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, make_url, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from invoices.errors import ConfigurationError
from invoices.ledger.migrations import SCHEMA_VERSION, create_schema, find_schema_version, upgrade_schema
from invoices.ledger.tables import counters, notes
from invoices.private_files import make_private_directory, make_private_file

LOCK_TIMEOUT_SECONDS = 30
IDLE_TRANSACTION_TIMEOUT_SECONDS = 900  # then PostgreSQL ends the transaction of an unreachable machine, with its locks
SCHEMA_LOCK_ID = 7_263_001  # PostgreSQL's advisory lock for creating and upgrading tables, one process at a time


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction; the rows it writes carry its ``revision`` and ``timestamp``."""

    connection: Connection
    revision: int
    timestamp: dt.datetime


class Ledger:
    """The ledger at a SQLAlchemy URL (SQLite in WAL mode, or PostgreSQL). Close it after use."""

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        on_commit: Callable[[int], None] = lambda _revision: None,
    ) -> None:
        """Open the ledger; create it if it is missing, and upgrade it if it is older.

        ``on_commit`` is called with the revision of each committed transaction.

        Raises:
            ConfigurationError: the database cannot be opened, or a newer version of this program wrote it.
        """
        self.now, self._on_commit = now, on_commit
        self._engine = _create_ledger_engine(url)
        is_sqlite = self._engine.dialect.name == "sqlite"  # all transactions of SQLite in WAL mode are snapshots
        self._snapshot_engine = (
            self._engine if is_sqlite else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        try:
            with self._engine.connect() as connection, connection.begin():
                version, self.was_upgraded = _prepare_schema(connection)
        except SQLAlchemyError as error:
            self.close()
            raise ConfigurationError(f"cannot open the ledger: {getattr(error, 'orig', error)}") from error
        if version != SCHEMA_VERSION:
            self.close()
            raise ConfigurationError(
                f"the ledger has schema version {version!r}, and this program supports {SCHEMA_VERSION!r}: "
                "use the newer program that wrote it"
            )

    @contextmanager
    def begin_transaction(self) -> Iterator[Transaction]:
        """Write everything in the block or nothing, under a new revision; concurrent writers wait for each other."""
        with self._engine.connect() as connection, connection.begin():
            _begin_if_sqlite(connection, "BEGIN IMMEDIATE")
            tx = Transaction(connection, _increment_counter(connection, "revision"), self.now())
            yield tx
        self._on_commit(tx.revision)

    @contextmanager
    def begin_log_transaction(self) -> Iterator[Transaction]:
        """Write log rows such as source visits; they carry no revision and are never loaded into the warehouse."""
        with self._engine.connect() as connection, connection.begin():
            _begin_if_sqlite(connection, "BEGIN IMMEDIATE")
            yield Transaction(connection, 0, self.now())

    @contextmanager
    def open_snapshot(self) -> Iterator[Connection]:
        """Read one consistent state in the block, without blocking anybody."""
        with self._snapshot_engine.connect() as connection, connection.begin():
            _begin_if_sqlite(connection, "BEGIN")
            yield connection

    def find_note(self, name: str) -> str | None:
        """Return the note of this name, or None."""
        with self.open_snapshot() as connection:
            return find_note(connection, name)

    def get_or_record_note(self, name: str, value: str) -> str:
        """Return the note of this name; record ``value`` if there is none yet."""
        recorded = self.find_note(name)
        if recorded is not None:
            return recorded
        with self.begin_transaction() as tx:
            recorded = find_note(tx.connection, name)  # another process may have been first
            if recorded is None:
                tx.connection.execute(insert(notes).values(name=name, value=value))
            return value if recorded is None else recorded

    @property
    def url(self) -> URL:
        """The URL of the ledger; it may contain a password, so never print it."""
        return self._engine.url

    def close(self) -> None:
        """Close all connections to the database."""
        self._engine.dispose()


def reserve_sequence_numbers(tx: Transaction, counter_name: str, count: int) -> int:
    """Return the first of the next ``count`` numbers of a counter; numbers start at 1, without gaps between commits."""
    return _increment_counter(tx.connection, counter_name, count) - count + 1


def get_counter_value(connection: Connection, counter_name: str) -> int:
    """Return the value of a counter; 0 if it was never set."""
    value = connection.scalar(select(counters.c.value).where(counters.c.name == counter_name))
    return int(value) if value is not None else 0


def raise_counter_value(tx: Transaction, counter_name: str, value: int) -> None:
    """Set a counter to a value, unless it has a higher one."""
    increment = value - get_counter_value(tx.connection, counter_name)
    if increment > 0:
        _increment_counter(tx.connection, counter_name, increment)


def _increment_counter(connection: Connection, counter_name: str, increment: int = 1) -> int:
    """Increment a counter; on PostgreSQL its row lock makes writers commit in the order of their revisions."""
    statement = update(counters).where(counters.c.name == counter_name).values(value=counters.c.value + increment)
    if connection.execute(statement).rowcount == 0:
        connection.execute(insert(counters).values(name=counter_name, value=increment))
    return get_counter_value(connection, counter_name)


def _prepare_schema(connection: Connection) -> tuple[str, bool]:
    """Create or upgrade the tables, one process at a time; return their schema version, and whether it is upgraded."""
    _begin_if_sqlite(connection, "BEGIN IMMEDIATE")
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK_ID)))
    version = find_schema_version(connection)
    if version is None:
        create_schema(connection)
        return SCHEMA_VERSION, False
    if version == SCHEMA_VERSION:
        return version, False
    return upgrade_schema(connection, version), True


def _begin_if_sqlite(connection: Connection, statement: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(statement)


def find_note(connection: Connection, name: str) -> str | None:
    """Return the note of this name, or None."""
    return connection.scalar(select(notes.c.value).where(notes.c.name == name))


def set_note(tx: Transaction, name: str, value: str) -> None:
    """Record a note, in place of an earlier one of this name; two processes may do so at the same time."""
    dialect_insert = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    statement = dialect_insert(notes).values(name=name, value=value)
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def _create_ledger_engine(url: str) -> Engine:
    try:
        database_url = make_url(url)
        if database_url.drivername in ("postgresql", "postgres"):
            database_url = database_url.set(drivername="postgresql+psycopg")
        if database_url.get_backend_name() == "sqlite" and database_url.database:
            database_path = Path(database_url.database)
            if database_url.database != ":memory:" and not database_url.database.startswith("file:"):
                make_private_directory(database_path.parent)
                make_private_file(database_path)  # SQLite gives its log the same mode
        engine = create_engine(
            database_url,
            hide_parameters=True,  # errors are logged and stored; rows contain personal data
            max_overflow=-1,  # a writer that also reads must not wait for threads that wait for it
            pool_pre_ping=database_url.get_backend_name() != "sqlite",
        )
    except (ArgumentError, ModuleNotFoundError, OSError) as error:
        raise ConfigurationError(f"cannot use the ledger's URL: {error}") from error
    except ValueError:  # its text quotes part of the URL, which may be part of the password
        raise ConfigurationError("cannot use the ledger's URL: its port is not a number") from None
    event.listen(engine, "connect", partial(_configure_connection, engine.dialect.name))
    return engine


def _configure_connection(dialect_name: str, connection: Any, _record: object) -> None:
    """Set up a new connection of the database driver."""
    if dialect_name == "sqlite":
        connection.isolation_level = None  # we send BEGIN ourselves, so that writers queue instead of failing half-way
        for pragma in (f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").close()
        _switch_to_wal(connection)
    else:
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_TIMEOUT_SECONDS}s'")
        connection.commit()


def _switch_to_wal(connection: Any) -> None:
    """Switch a SQLite file to WAL; SQLite ignores ``busy_timeout`` here while another process creates the file."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
