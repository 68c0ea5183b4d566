"""The ledger's schema, kept by Alembic: a new ledger gets today's tables, an older one is upgraded step by step.

The revision ids are the schema versions. Versions 1 to 3 are older than Alembic and stand only in the table ``notes``.
That note is kept up to date, so that a program of that time refuses a newer ledger.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, insert, inspect, select, table, update

from invoices.ledger.tables import counters, metadata, notes

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA_VERSION = "7"
LEDGER_ID_NOTE = "ledger_id"
_OLDER_VERSIONS = [str(version) for version in range(1, int(SCHEMA_VERSION))]
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
    """Create the tables of a new ledger, in the caller's transaction."""
    from alembic import command

    metadata.create_all(connection)
    connection.execute(insert(notes).values(name="schema_version", value=SCHEMA_VERSION))
    connection.execute(insert(notes).values(name=LEDGER_ID_NOTE, value=uuid.uuid4().hex))
    connection.execute(insert(counters).values(name="revision", value=0))
    command.stamp(build_alembic_config(connection), "head")


def upgrade_schema(connection: Connection, version: str) -> str:
    """Upgrade a ledger of ``version``, in the caller's transaction; return the version that it has then.

    A ledger whose version this program does not know stays as it is.
    """
    if version not in _OLDER_VERSIONS:
        return version
    from alembic import command

    config = build_alembic_config(connection)
    command.stamp(config, version)  # Alembic has not recorded versions 1 to 3
    command.upgrade(config, "head")
    connection.execute(update(notes).where(notes.c.name == "schema_version").values(value=SCHEMA_VERSION))
    return SCHEMA_VERSION


def build_alembic_config(connection: Connection) -> Config:
    """Return a configuration with which Alembic's commands run on ``connection``, in its transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "invoices.ledger:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
