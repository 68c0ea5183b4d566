"""Source visits: when each source was last scanned, and whether that succeeded."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import source_visits


@dataclass(frozen=True, slots=True)
class SourceVisit:
    """The last visit to a source; ``problem`` is the reason for a failure."""

    source_name: str
    visited_at: dt.datetime
    succeeded_at: dt.datetime | None
    problem: str | None


def record_source_visit(tx: Transaction, source_name: str, problem: str | None = None) -> None:
    """Record a visit to a source now, with the reason if it failed; two processes may do so at the same time."""
    values = {"visited_at": tx.timestamp, "problem": problem} | ({} if problem else {"succeeded_at": tx.timestamp})
    insert = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(source_visits).values(source_name=source_name, **values)
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["source_name"], set_=values))


def list_source_visits(connection: Connection) -> dict[str, SourceVisit]:
    """Return the last visit to each source, by source name."""
    rows = connection.execute(select(*(source_visits.c[name] for name in SourceVisit.__slots__)))
    return {row.source_name: SourceVisit(*row) for row in rows}
