"""Changes: the ledger rows that the warehouse does not have yet, table by table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, func, or_, select

from invoices.ledger import tables
from invoices.ledger.documents import iter_chunks

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
HEAVY_COLUMNS = {"extractions": "payload", "candidates": "body"}  # up to megabytes in a row
MAX_CHUNK_BYTES = 8 * 1024 * 1024  # of these columns in memory at a time; a heavier row is alone


def get_latest_revision(connection: Connection) -> int:
    """Return the revision of the last transaction that changed a loadable row; 0 if none did."""
    return max(connection.scalar(select(func.max(table.c.revision))) or 0 for table in LOADABLE_TABLES.values())


def iter_changed_rows(
    connection: Connection,
    table_name: str,
    after_revision: int,
    up_to_revision: int,
    chunk_size: int,
    max_bytes: int = MAX_CHUNK_BYTES,
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows written in (``after_revision``, ``up_to_revision``], in chunks of ``chunk_size`` rows.

    A chunk of rows with answers or candidates has fewer if these have more than ``max_bytes`` together.
    """
    table = LOADABLE_TABLES[table_name]
    if table_name in HEAVY_COLUMNS:
        yield from _iter_changed_rows_by_weight(
            connection, table_name, after_revision, up_to_revision, chunk_size, max_bytes
        )
        return
    query = select(table).where(table.c.revision > after_revision, table.c.revision <= up_to_revision)
    result = connection.execution_options(yield_per=chunk_size).execute(
        query.order_by(table.c.revision, *table.primary_key)
    )
    for partition in result.mappings().partitions(chunk_size):
        yield [dict(row) for row in partition]


def _iter_changed_rows_by_weight(
    connection: Connection, table_name: str, after_revision: int, up_to_revision: int, chunk_size: int, max_bytes: int
) -> Iterator[list[Mapping[str, Any]]]:
    table = LOADABLE_TABLES[table_name]
    [key], weight = table.primary_key, func.length(table.c[HEAVY_COLUMNS[table_name]])
    last_revision, last_key = after_revision, None
    while True:
        is_next = table.c.revision > last_revision
        if last_key is not None:
            is_next = or_(is_next, and_(table.c.revision == last_revision, key > last_key))
        page = connection.execute(
            select(table.c.revision, key, func.coalesce(weight, 0))
            .where(is_next, table.c.revision <= up_to_revision)
            .order_by(table.c.revision, key)
            .limit(chunk_size)
        ).all()
        for keys in _cut_by_weight([(row[1], row[2]) for row in page], max_bytes):
            rows: list[Mapping[str, Any]] = []
            for chunk in iter_chunks(keys):
                query = select(table).where(key.in_(chunk)).order_by(table.c.revision, key)
                rows += [dict(row) for row in connection.execute(query).mappings()]
            yield rows
        if len(page) < chunk_size:
            return
        last_revision, last_key = page[-1][0], page[-1][1]


def _cut_by_weight(keys_and_bytes: Sequence[tuple[str, int]], max_bytes: int) -> Iterator[list[str]]:
    """Yield the keys in groups of at most ``max_bytes``; a heavier row is alone."""
    group: list[str] = []
    group_bytes = 0
    for key, byte_count in keys_and_bytes:
        if group and group_bytes + byte_count > max_bytes:
            yield group
            group, group_bytes = [], 0
        group.append(key)
        group_bytes += byte_count
    if group:
        yield group


def count_loadable_rows(connection: Connection, up_to_revision: int) -> dict[str, int]:
    """Return how many rows of each table a warehouse has that is complete up to a revision.

    Extractions that are still open have no row there.
    """
    queries = {
        name: select(func.count()).where(table.c.revision <= up_to_revision) for name, table in LOADABLE_TABLES.items()
    }
    queries["extractions"] = queries["extractions"].where(tables.extractions.c.status.in_(("answered", "failed")))
    return {name: connection.scalar(query) or 0 for name, query in queries.items()}
