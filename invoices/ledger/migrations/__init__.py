"""The ledger's schema, kept by Alembic: a new ledger is created as it is today, an older one is upgraded step by step.

The revision ids are the schema versions. Versions 1 to 3 come from before Alembic and are noted in the table ``notes``.
That note is kept up to date, so that a program from that time refuses a newer ledger.
"""

from __future__ import annotations

from sqlalchemy import Connection, column, insert, inspect, select, table, update

from invoices.ledger.tables import counters, metadata, notes

SCHEMA_VERSION = "4"
_VERSIONS_BEFORE_ALEMBIC = ("1", "2", "3")
_ALEMBIC_VERSION = table("alembic_version", column("version_num"))


def find_schema_version(connection: Connection) -> str | None:
    """Return the schema version of a ledger; None where there is no ledger yet."""
    table_names = inspect(connection).get_table_names()
    if _ALEMBIC_VERSION.name in table_names:
        return connection.scalar(select(_ALEMBIC_VERSION.c.version_num))
    if notes.name in table_names:
        return connection.scalar(select(notes.c.value).where(notes.c.name == "schema_version"))
    return None


def create_schema(connection: Connection) -> None:
    """Create the tables of a new ledger."""
    metadata.create_all(connection)
    connection.execute(insert(notes).values(name="schema_version", value=SCHEMA_VERSION))
    connection.execute(insert(counters).values(name="revision", value=0))
    _run_alembic(connection, stamp_only=True)


def upgrade_schema(connection: Connection, version: str) -> str:
    """Upgrade a ledger to this program's version, in the caller's transaction; return the version that it has then.

    A version that this program does not know stays as it is.
    """
    if version not in _VERSIONS_BEFORE_ALEMBIC:
        return version
    _run_alembic(connection, from_version=version)
    connection.execute(update(notes).where(notes.c.name == "schema_version").values(value=SCHEMA_VERSION))
    return SCHEMA_VERSION


def _run_alembic(connection: Connection, *, from_version: str | None = None, stamp_only: bool = False) -> None:
    """Record the head version, after the steps to it from a version that Alembic has not recorded."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "invoices.ledger:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if stamp_only:
        command.stamp(config, "head")
        return
    if from_version is not None:
        command.stamp(config, from_version)
    command.upgrade(config, "head")
