"""What is done and over costs nothing: what the stages ask the ledger for does not read through its history."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from invoices.ledger import Ledger
from invoices.ledger.batches import waiting_invoices
from invoices.ledger.changes import latest_revision
from invoices.ledger.documents import pending, pending_count
from invoices.ledger.outbox import outgoing, outgoing_count
from invoices.ledger.sightings import fingerprints

HISTORY = 20_000
NUMBERS = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {HISTORY}) "
PAST = (
    "insert into documents select printf('%064d', i), i, 'application/pdf', 1, 1, '2026-01-01', 'done', 'accepted', "
    "'accepted', 'It is.', '2026-01-01', 1 from n",
    "insert into receipts (invoice_id, publisher, receipt_id, status, changed_at, revision) "
    "select printf('%032d', i), 'smartbills_io', 'r', 'published', '2026-01-01', 1 from n",
    "insert into exported_invoices select printf('%032d', i), 'batch-000001', 1 from n",
)
QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "pending": lambda connection: pending(connection, "ask", 100),
    "pending_count": lambda connection: pending_count(connection, "read"),
    "outgoing": lambda connection: outgoing(connection, "smartbills_io", 100),
    "outgoing_count": outgoing_count,
    "waiting_invoices": lambda connection: waiting_invoices(connection, 100),
    "latest_revision": latest_revision,
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_question_what_is_new_does_not_read_through_the_past(
    ledger: Ledger, question: Callable[[Connection], object]
) -> None:
    with ledger.transaction() as tx:
        for statement in PAST:
            kind, _, rest = statement.partition(" select ")
            tx.connection.execute(text(f"{kind} {NUMBERS} select {rest}"))
    with ledger.reading() as connection:
        assert steps(connection, question) < HISTORY // 10


def steps(connection: Connection, question: Callable[[Connection], object]) -> int:
    """Return how many instructions SQLite needs for the answer."""
    counted = []
    sqlite = connection.connection.dbapi_connection
    assert sqlite is not None
    sqlite.set_progress_handler(lambda: counted.append(1), 1)
    question(connection)
    sqlite.set_progress_handler(None, 0)
    return len(counted)


def test_what_was_seen_elsewhere_does_not_slow_down_a_look_at_a_folder(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        tx.connection.execute(
            text(
                "insert into sightings (sighting_id, document_sha256, source_name, source_kind, location, seen_at, "
                f"fingerprint, revision) {NUMBERS} select printf('%032d', i), 'd', 'inbox', 'folder', '/in/' || i, "
                "'2026-01-01', 'f' || i, 1 from n"
            )
        )
    with ledger.reading() as connection:
        wanted = [f"/in/{number}" for number in range(10)]
        assert steps(connection, lambda asked: fingerprints(asked, "inbox", wanted)) < HISTORY // 10
        assert fingerprints(connection, "inbox", wanted) == {f"/in/{number}": {f"f{number}"} for number in range(1, 10)}
