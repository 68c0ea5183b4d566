"""What is done and over costs nothing: what the stages ask the ledger for does not read through its history."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from invoices.ledger import Ledger
from invoices.ledger.changes import get_latest_revision
from invoices.ledger.documents import count_pending_documents, list_pending_documents
from invoices.ledger.export_batches import list_unexported_invoice_ids
from invoices.ledger.outbox import count_unpublished_receipts, list_unpublished_receipts
from invoices.ledger.sightings import list_fingerprints_by_location

HISTORY_SIZE = 20_000
NUMBERS_CTE = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {HISTORY_SIZE}) "
HISTORY_STATEMENTS = (
    "insert into documents select printf('%064d', i), i, 'application/pdf', 1, 1, '2026-01-01', 'done', 'accepted', "
    "'accepted', 'It is.', '2026-01-01', 1 from n",
    "insert into receipts (invoice_id, publisher, receipt_id, status, changed_at, revision) "
    "select printf('%032d', i), 'smartbills_io', 'r', 'published', '2026-01-01', 1 from n",
    "insert into exported_invoices select printf('%032d', i), 'batch-000001', 1 from n",
)
LEDGER_QUERIES: dict[str, Callable[[Connection], object]] = {
    "pending": lambda connection: list_pending_documents(connection, "extract_remote", 100),
    "pending_count": lambda connection: count_pending_documents(connection, "extract_local"),
    "outgoing": lambda connection: list_unpublished_receipts(connection, "smartbills_io", 100),
    "outgoing_count": count_unpublished_receipts,
    "waiting_invoices": lambda connection: list_unexported_invoice_ids(connection, 100),
    "latest_revision": get_latest_revision,
}


@pytest.mark.parametrize("question", LEDGER_QUERIES.values(), ids=LEDGER_QUERIES)
def test_the_question_what_is_new_does_not_read_through_the_past(
    ledger: Ledger, question: Callable[[Connection], object]
) -> None:
    with ledger.begin_transaction() as tx:
        for statement in HISTORY_STATEMENTS:
            kind, _, rest = statement.partition(" select ")
            tx.connection.execute(text(f"{kind} {NUMBERS_CTE} select {rest}"))
    with ledger.open_snapshot() as connection:
        assert count_sqlite_steps(connection, question) < HISTORY_SIZE // 10


def count_sqlite_steps(connection: Connection, query: Callable[[Connection], object]) -> int:
    """Return how many instructions SQLite needs for the answer."""
    ticks = []
    sqlite = connection.connection.dbapi_connection
    assert sqlite is not None
    sqlite.set_progress_handler(lambda: ticks.append(1), 1)
    query(connection)
    sqlite.set_progress_handler(None, 0)
    return len(ticks)


def test_what_was_seen_elsewhere_does_not_slow_down_a_look_at_a_folder(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        tx.connection.execute(
            text(
                "insert into sightings (sighting_id, document_sha256, source_name, source_kind, location, seen_at, "
                f"fingerprint, revision) {NUMBERS_CTE} select printf('%032d', i), 'd', 'inbox', 'folder', '/in/' || i, "
                "'2026-01-01', 'f' || i, 1 from n"
            )
        )
    with ledger.open_snapshot() as connection:
        locations = [f"/in/{number}" for number in range(10)]
        assert (
            count_sqlite_steps(connection, lambda asked: list_fingerprints_by_location(asked, "inbox", locations))
            < HISTORY_SIZE // 10
        )
        assert list_fingerprints_by_location(connection, "inbox", locations) == {
            f"/in/{number}": {f"f{number}"} for number in range(1, 10)
        }
