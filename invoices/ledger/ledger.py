"""The ledger's door: opening it, and the transactions in which everything is written or nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from invoices.errors import ConfigurationError
from invoices.ledger.migrations import SCHEMA_VERSION, create_schema, find_schema_version, upgrade_schema
from invoices.ledger.tables import counters, notes

LOCK_TIMEOUT_SECONDS = 30
IDLE_TRANSACTION_TIMEOUT_SECONDS = (
    900  # after which PostgreSQL ends the transaction of a machine that has gone, and its locks
)
SCHEMA_LOCK_ID = 7_263_001  # the advisory lock under which PostgreSQL's tables are made, one process at a time


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction: what is written through it carries its ``revision`` and ``at``."""

    connection: Connection
    revision: int
    timestamp: dt.datetime


class Ledger:
    """The ledger at a SQLAlchemy URL (SQLite in WAL mode, or PostgreSQL). Close it after use."""

    def __init__(self, url: str, *, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        """Open, and create what is missing.

        Raises:
            ConfigurationError: the database cannot be opened, or a later version of this project wrote it.
        """
        self.now = now
        self._engine = _create_ledger_engine(url)
        is_sqlite = self._engine.dialect.name == "sqlite"  # whose transactions are snapshots as they are
        self._snapshot_engine = (
            self._engine if is_sqlite else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        try:
            with self._engine.connect() as connection, connection.begin():
                version = _prepare_schema(connection)
        except SQLAlchemyError as error:
            self.close()
            raise ConfigurationError(f"cannot open the ledger: {getattr(error, 'orig', error)}") from error
        if version != SCHEMA_VERSION:
            self.close()
            raise ConfigurationError(
                f"the ledger has schema version {version!r} and this program knows {SCHEMA_VERSION!r}: "
                "use the newer program"
            )

    @contextmanager
    def begin_transaction(self) -> Iterator[Transaction]:
        """Write everything in the block or nothing; concurrent writers wait for each other."""
        with self._engine.connect() as connection, connection.begin():
            _begin_if_sqlite(connection, "BEGIN IMMEDIATE")
            yield Transaction(connection, _increment_counter(connection, "revision"), self.now())

    @contextmanager
    def begin_log_transaction(self) -> Iterator[Transaction]:
        """Write to the log of visits, which is no part of the books: no row carries a revision, and none is counted."""
        with self._engine.connect() as connection, connection.begin():
            _begin_if_sqlite(connection, "BEGIN IMMEDIATE")
            yield Transaction(connection, 0, self.now())

    @contextmanager
    def open_snapshot(self) -> Iterator[Connection]:
        """Read one consistent state in the block, in nobody's way."""
        with self._snapshot_engine.connect() as connection, connection.begin():
            _begin_if_sqlite(connection, "BEGIN")
            yield connection

    def find_note(self, name: str) -> str | None:
        """Return what is remembered under ``name``, or None."""
        with self.open_snapshot() as connection:
            return _find_note(connection, name)

    def get_or_record_note(self, name: str, value: str) -> str:
        """Return what is remembered under ``name``: ``value`` if nothing was yet."""
        recorded = self.find_note(name)
        if recorded is not None:
            return recorded
        with self.begin_transaction() as tx:
            return _get_or_record_note(tx.connection, name, value)

    @property
    def url(self) -> URL:
        """Where the ledger is; it may hold a password, so it is never printed."""
        return self._engine.url

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def reserve_sequence_numbers(tx: Transaction, counter_name: str, count: int) -> int:
    """Return the first of the next ``count`` numbers of the counter ``name``, from 1, without gaps between commits."""
    return _increment_counter(tx.connection, counter_name, count) - count + 1


def get_counter_value(connection: Connection, counter_name: str) -> int:
    """Return where the counter ``name`` stands; 0 if it never moved."""
    value = connection.scalar(select(counters.c.value).where(counters.c.name == counter_name))
    return int(value) if value is not None else 0


def set_counter_value(tx: Transaction, counter_name: str, value: int) -> None:
    """Set the counter ``name``."""
    if tx.connection.execute(update(counters).where(counters.c.name == counter_name).values(value=value)).rowcount == 0:
        tx.connection.execute(insert(counters).values(name=counter_name, value=value))


def _increment_counter(connection: Connection, counter_name: str, increment: int = 1) -> int:
    """Raise a counter; on PostgreSQL its row lock also makes writers commit in the order of their revisions."""
    statement = update(counters).where(counters.c.name == counter_name).values(value=counters.c.value + increment)
    if connection.execute(statement).rowcount == 0:
        connection.execute(insert(counters).values(name=counter_name, value=increment))
    return get_counter_value(connection, counter_name)


def _prepare_schema(connection: Connection) -> str:
    """Create or upgrade the tables, one process at a time, and return the version that they have."""
    _begin_if_sqlite(connection, "BEGIN IMMEDIATE")
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK_ID)))
    version = find_schema_version(connection)
    if version is None:
        create_schema(connection)
        return SCHEMA_VERSION
    return version if version == SCHEMA_VERSION else upgrade_schema(connection, version)


def _begin_if_sqlite(connection: Connection, statement: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(statement)


def _get_or_record_note(connection: Connection, name: str, value: str) -> str:
    recorded = _find_note(connection, name)
    if recorded is None:
        connection.execute(insert(notes).values(name=name, value=value))
        return value
    return recorded


def _find_note(connection: Connection, name: str) -> str | None:
    return connection.scalar(select(notes.c.value).where(notes.c.name == name))


def _create_ledger_engine(url: str) -> Engine:
    try:
        database_url = make_url(url)
        if database_url.drivername in ("postgresql", "postgres"):
            database_url = database_url.set(drivername="postgresql+psycopg")
        if database_url.get_backend_name() == "sqlite" and database_url.database:
            Path(database_url.database).parent.mkdir(exist_ok=True, mode=0o700)
        engine = create_engine(
            database_url,
            hide_parameters=True,  # errors are logged and kept; rows hold personal data
            max_overflow=-1,  # a writer that also reads must not wait for those who wait for it
            pool_pre_ping=database_url.get_backend_name() != "sqlite",
        )
    except (ArgumentError, ModuleNotFoundError, OSError) as error:
        raise ConfigurationError(f"the ledger's URL does not work: {error}") from error
    except ValueError:  # its text quotes a part of the URL, which may be one of the password
        raise ConfigurationError("the ledger's URL does not work: its port is not a number") from None
    event.listen(
        engine,
        "connect",
        _configure_sqlite_connection if engine.dialect.name == "sqlite" else _configure_postgresql_connection,
    )
    return engine


def _configure_sqlite_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that writers queue up instead of failing half-way
    for pragma in (f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _configure_postgresql_connection(connection: Any, _record: object) -> None:
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_TIMEOUT_SECONDS}s'")
    connection.commit()
