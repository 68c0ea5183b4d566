"""Changes: the ledger rows that the warehouse does not have yet, table by table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, func, select

from invoices.ledger import tables

LOADABLE_TABLES: Mapping[str, Table] = {
    "documents": tables.documents,
    "sightings": tables.sightings,
    "messages": tables.messages,
    "extractions": tables.extractions,
    "candidates": tables.candidates,
    "findings": tables.findings,
    "receipts": tables.receipts,
    "exported_invoices": tables.exported_invoices,
}


def get_latest_revision(connection: Connection) -> int:
    """Return the revision of the last transaction that changed a loadable row; 0 if none did."""
    return max(connection.scalar(select(func.max(table.c.revision))) or 0 for table in LOADABLE_TABLES.values())


def iter_changed_rows(
    connection: Connection, table_name: str, after_revision: int, up_to_revision: int, chunk_size: int
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows written in (``after_revision``, ``up_to_revision``], in chunks of ``chunk_size`` rows."""
    table = LOADABLE_TABLES[table_name]
    query = select(table).where(table.c.revision > after_revision, table.c.revision <= up_to_revision)
    result = connection.execution_options(yield_per=chunk_size).execute(
        query.order_by(table.c.revision, *table.primary_key)
    )
    for partition in result.mappings().partitions(chunk_size):
        yield [dict(row) for row in partition]


def count_loadable_rows(connection: Connection, up_to_revision: int) -> dict[str, int]:
    """Return how many rows of each table a warehouse has that is complete up to a revision.

    Extractions that are still open have no row there.
    """
    queries = {
        name: select(func.count()).where(table.c.revision <= up_to_revision) for name, table in LOADABLE_TABLES.items()
    }
    queries["extractions"] = queries["extractions"].where(tables.extractions.c.status.in_(("answered", "failed")))
    return {name: connection.scalar(query) or 0 for name, query in queries.items()}
