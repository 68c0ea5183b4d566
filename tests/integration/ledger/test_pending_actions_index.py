"""What is owed to mails is found without going through all that ever came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from invoices.ledger import Ledger
from invoices.ledger.mails import count_uncollected_mails, list_uids_to_fetch, list_uids_with_pending_action


@pytest.mark.parametrize(
    "asked",
    [
        lambda tx: list_uids_to_fetch(tx, "ap", "INBOX", 7, 10),
        lambda tx: list_uids_with_pending_action(tx, "ap", "INBOX", 7),
        count_uncollected_mails,
    ],
)
def test_what_is_owed_is_found_by_the_index_of_what_is_owed(ledger: Ledger, asked: Callable[[Any], Any]) -> None:
    said: list[tuple[str, Any]] = []
    with ledger.open_snapshot() as connection:
        event.listen(connection, "before_cursor_execute", lambda _c, _u, sql, given, *_more: said.append((sql, given)))
        asked(connection)
        ((sql, given),) = said
        plan = connection.exec_driver_sql(f"explain query plan {sql}", given).all()
    assert "messages_pending" in str(plan)
