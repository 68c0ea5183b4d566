"""The ledger of these tests: on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from invoices.ledger import Ledger


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    new_ledger = Ledger(ledger_url)
    yield new_ledger
    new_ledger.close()
