"""The ledger's door: opening it, and the transactions in which everything is written or nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, inspect, make_url, select, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from invoices.errors import ConfigurationError
from invoices.ledger.migrations import SCHEMA_VERSION, migrate
from invoices.ledger.tables import counters, metadata, notes

BUSY_SECONDS = 30
IDLE_SECONDS = 900  # after which PostgreSQL ends the transaction of a machine that has gone, and its locks
OPENING = 7_263_001  # the advisory lock under which PostgreSQL's tables are made, one process at a time


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction: what is written through it carries its ``revision`` and ``at``."""

    connection: Connection
    revision: int
    at: dt.datetime


class Ledger:
    """The ledger at a SQLAlchemy URL (SQLite in WAL mode, or PostgreSQL). Close it after use."""

    def __init__(self, url: str, *, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        """Open, and create what is missing.

        Raises:
            ConfigurationError: the database cannot be opened, or a later version of this project wrote it.
        """
        self.now = now
        self._engine = _engine(url)
        is_sqlite = self._engine.dialect.name == "sqlite"  # whose transactions are snapshots as they are
        self._snapshots = (
            self._engine if is_sqlite else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        try:
            with self._engine.connect() as connection, connection.begin():
                version = _open(connection)
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
    def transaction(self) -> Iterator[Transaction]:
        """Write everything in the block or nothing; concurrent writers wait for each other."""
        with self._engine.connect() as connection, connection.begin():
            _begin(connection, "BEGIN IMMEDIATE")
            yield Transaction(connection, _next(connection, "revision"), self.now())

    @contextmanager
    def logging(self) -> Iterator[Transaction]:
        """Write to the log of visits, which is no part of the books: no row carries a revision, and none is counted."""
        with self._engine.connect() as connection, connection.begin():
            _begin(connection, "BEGIN IMMEDIATE")
            yield Transaction(connection, 0, self.now())

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read one consistent state in the block, in nobody's way."""
        with self._snapshots.connect() as connection, connection.begin():
            _begin(connection, "BEGIN")
            yield connection

    def recall(self, name: str) -> str | None:
        """Return what is remembered under ``name``, or None."""
        with self.reading() as connection:
            return _recall(connection, name)

    def remember(self, name: str, value: str) -> str:
        """Return what is remembered under ``name``: ``value`` if nothing was yet."""
        known = self.recall(name)
        if known is not None:
            return known
        with self.transaction() as tx:
            return _remember(tx.connection, name, value)

    @property
    def url(self) -> URL:
        """Where the ledger is; it may hold a password, so it is never printed."""
        return self._engine.url

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def next_numbers(tx: Transaction, name: str, count: int) -> int:
    """Return the first of the next ``count`` numbers of the counter ``name``, from 1, without gaps between commits."""
    return _next(tx.connection, name, count) - count + 1


def counter(connection: Connection, name: str) -> int:
    """Return where the counter ``name`` stands; 0 if it never moved."""
    value = connection.scalar(select(counters.c.value).where(counters.c.name == name))
    return int(value) if value is not None else 0


def set_counter(tx: Transaction, name: str, value: int) -> None:
    """Set the counter ``name``."""
    if tx.connection.execute(update(counters).where(counters.c.name == name).values(value=value)).rowcount == 0:
        tx.connection.execute(insert(counters).values(name=name, value=value))


def _next(connection: Connection, name: str, step: int = 1) -> int:
    """Raise a counter; on PostgreSQL its row lock also makes writers commit in the order of their revisions."""
    raised = update(counters).where(counters.c.name == name).values(value=counters.c.value + step)
    if connection.execute(raised).rowcount == 0:
        connection.execute(insert(counters).values(name=name, value=step))
    return counter(connection, name)


def _open(connection: Connection) -> str:
    """Make or migrate the tables, one process at a time, and return the version that they have."""
    _begin(connection, "BEGIN IMMEDIATE")
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(OPENING)))
    known = _recall(connection, "schema_version") if inspect(connection).has_table(notes.name) else None
    version = SCHEMA_VERSION if known is None else migrate(connection, known)
    if version != SCHEMA_VERSION:
        return version
    metadata.create_all(connection)
    if known is None:
        connection.execute(insert(notes).values(name="schema_version", value=version))
        connection.execute(insert(counters).values(name="revision", value=0))
    elif known != version:
        connection.execute(update(notes).where(notes.c.name == "schema_version").values(value=version))
    return version


def _begin(connection: Connection, how: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(how)


def _remember(connection: Connection, name: str, value: str) -> str:
    known = _recall(connection, name)
    if known is None:
        connection.execute(insert(notes).values(name=name, value=value))
        return value
    return known


def _recall(connection: Connection, name: str) -> str | None:
    return connection.scalar(select(notes.c.value).where(notes.c.name == name))


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(exist_ok=True, mode=0o700)
        engine = create_engine(
            parsed,
            hide_parameters=True,  # errors are logged and kept; rows hold personal data
            max_overflow=-1,  # a writer that also reads must not wait for those who wait for it
            pool_pre_ping=parsed.get_backend_name() != "sqlite",
        )
    except (ArgumentError, ModuleNotFoundError, OSError) as error:
        raise ConfigurationError(f"the ledger's URL does not work: {error}") from error
    except ValueError:  # its text quotes a part of the URL, which may be one of the password
        raise ConfigurationError("the ledger's URL does not work: its port is not a number") from None
    event.listen(engine, "connect", _set_up_sqlite if engine.dialect.name == "sqlite" else _set_up_postgresql)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that writers queue up instead of failing half-way
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_up_postgresql(connection: Any, _record: object) -> None:
    connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    connection.commit()
