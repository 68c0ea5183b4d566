"""Query cost: the queries of the stages do not read through the ledger's history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from invoices.ledger import Ledger
from invoices.ledger.changes import get_latest_revision
from invoices.ledger.documents import count_pending_documents, list_pending_documents
from invoices.ledger.export_batches import list_unexported_invoice_ids
from invoices.ledger.mails import count_uncollected_mails, list_uids_to_fetch, list_uids_with_pending_action
from invoices.ledger.outbox import count_unpublished_receipts, list_unpublished_receipts
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.settings import Settings

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


@pytest.fixture
def ledger(app_settings: Settings) -> Iterator[Ledger]:
    """An empty ledger on SQLite, whose query plans these tests measure."""
    new_ledger = Ledger(app_settings.effective_ledger_url)
    yield new_ledger
    new_ledger.close()


@pytest.mark.parametrize("query", LEDGER_QUERIES.values(), ids=LEDGER_QUERIES)
def test_a_query_for_pending_work_does_not_read_the_history(
    ledger: Ledger, query: Callable[[Connection], object]
) -> None:
    with ledger.begin_transaction() as tx:
        for statement in HISTORY_STATEMENTS:
            insertion, _, columns = statement.partition(" select ")
            tx.connection.execute(text(f"{insertion} {NUMBERS_CTE} select {columns}"))
    with ledger.open_snapshot() as connection:
        assert count_sqlite_steps(connection, query) < HISTORY_SIZE // 10


def count_sqlite_steps(connection: Connection, query: Callable[[Connection], object]) -> int:
    """Return how many instructions SQLite executes for a query."""
    ticks = []
    sqlite = connection.connection.dbapi_connection
    assert sqlite is not None
    sqlite.set_progress_handler(lambda: ticks.append(1), 1)
    query(connection)
    sqlite.set_progress_handler(None, 0)
    return len(ticks)


def test_other_sightings_do_not_slow_down_the_scan_of_a_folder(ledger: Ledger) -> None:
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
        steps = count_sqlite_steps(connection, lambda tx: list_fingerprints_by_location(tx, "inbox", locations))
        assert steps < HISTORY_SIZE // 10
        assert list_fingerprints_by_location(connection, "inbox", locations) == {
            f"/in/{number}": {f"f{number}"} for number in range(1, 10)
        }


@pytest.mark.parametrize(
    "query",
    [
        lambda connection: list_uids_to_fetch(connection, "ap", "INBOX", 7, 10),
        lambda connection: list_uids_with_pending_action(connection, "ap", "INBOX", 7),
        count_uncollected_mails,
    ],
)
def test_pending_mails_are_found_by_their_index(ledger: Ledger, query: Callable[[Connection], object]) -> None:
    statements: list[tuple[str, Any]] = []
    with ledger.open_snapshot() as connection:
        event.listen(
            connection, "before_cursor_execute", lambda _c, _u, sql, values, *_more: statements.append((sql, values))
        )
        query(connection)
        ((sql, values),) = statements
        plan = connection.exec_driver_sql(f"explain query plan {sql}", values).all()
    assert "messages_pending" in str(plan)
