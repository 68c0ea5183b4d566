"""Changes: what the ledger has that the warehouse has not got yet, table by table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, func, select

from invoices.ledger import tables
from invoices.ledger.ledger import counter

WATERMARK = "loaded_revision"
LOADABLE: Mapping[str, Table] = {
    "documents": tables.documents,
    "sightings": tables.sightings,
    "messages": tables.messages,
    "extractions": tables.extractions,
    "candidates": tables.candidates,
    "findings": tables.findings,
    "receipts": tables.receipts,
    "exported_invoices": tables.exported_invoices,
}


def latest_revision(connection: Connection) -> int:
    """Return the revision of the last transaction that changed a loadable row; 0 if none did."""
    return max(connection.scalar(select(func.max(table.c.revision))) or 0 for table in LOADABLE.values())


def loaded_revision(connection: Connection) -> int:
    """Return up to which revision the warehouse has everything."""
    return counter(connection, WATERMARK)


def changed_rows(
    connection: Connection, name: str, after: int, up_to: int, size: int
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows of a table written in (after, up_to], in pieces of ``size``."""
    table = LOADABLE[name]
    wanted = select(table).where(table.c.revision > after, table.c.revision <= up_to)
    result = connection.execution_options(yield_per=size).execute(wanted.order_by(table.c.revision, *table.primary_key))
    for part in result.mappings().partitions(size):
        yield [dict(row) for row in part]


def row_counts(connection: Connection, up_to: int) -> dict[str, int]:
    """Return how many rows of each table the warehouse must have if it has everything up to a revision.

    A question that is not answered yet has no row there.
    """
    counts = {name: select(func.count()).where(table.c.revision <= up_to) for name, table in LOADABLE.items()}
    counts["extractions"] = counts["extractions"].where(tables.extractions.c.status.in_(("answered", "failed")))
    return {name: connection.scalar(count) or 0 for name, count in counts.items()}
