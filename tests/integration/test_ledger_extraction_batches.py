"""Batches of documents asked about together: one row each, generations that only go on, and their jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from invoices.ledger import Ledger
from invoices.ledger.extraction_batches import (
    ExtractionBatch,
    advance_batch,
    find_batch,
    open_batch,
)
from invoices.ledger.extractions import Terms, advance, batch_jobs, intend

VENDOR = "invoicedataextraction_com"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


def opened(ledger: Ledger, batch: str, vendor: str = VENDOR, count: int = 2) -> ExtractionBatch:
    with ledger.transaction() as tx:
        return open_batch(tx, batch, vendor, "1:per_invoice", count)


def test_a_new_batch_is_of_the_first_generation(ledger: Ledger) -> None:
    batch = opened(ledger, "b1")
    assert (batch.status, batch.session_generation, batch.generation) == ("uploading", 1, 1)
    assert (batch.remote_id, batch.submitted_at, batch.document_count) == (None, None, 2)
    with ledger.reading() as connection:
        assert find_batch(connection, "b1") == batch
        assert find_batch(connection, "b2") is None


def test_the_same_batch_once_more_goes_one_generation_on_and_begins_anew(ledger: Ledger) -> None:
    first = opened(ledger, "b1")
    with ledger.transaction() as tx:
        advance_batch(tx, "b1", "submitted", remote_id="r-1", submitted_at=tx.at)
        advance_batch(tx, "b1", "concluded", message="It failed.")
    again = opened(ledger, "b1", count=3)
    assert (again.status, again.session_generation, again.generation) == ("uploading", 2, 2)
    assert (again.remote_id, again.submitted_at, again.document_count) == (None, None, 3)
    assert again.opened_at >= first.opened_at


def test_what_is_learned_about_a_batch_is_kept(ledger: Ledger) -> None:
    opened(ledger, "b1")
    with ledger.transaction() as tx:
        batch = advance_batch(tx, "b1", "submitted", remote_id="r-1", submitted_at=tx.at)
    assert (batch.status, batch.remote_id, batch.submitted_at) == ("submitted", "r-1", tx.at)


def test_a_batch_that_nobody_opened_cannot_be_advanced(ledger: Ledger) -> None:
    with pytest.raises(LookupError), ledger.transaction() as tx:
        advance_batch(tx, "b1", "submitted")


def test_the_jobs_of_a_batch_are_those_intended_for_it_and_not_taken_out_again(ledger: Ledger) -> None:
    terms = Terms(VENDOR)
    with ledger.transaction() as tx:
        for name in "cab":
            intend(tx, terms, f"x{name}", name * 64, pages=1, run="A", batch="b1", generation=1)
        advance(tx, "xa", "refused", batch_id=None)
        assert [job.extraction_id for job in batch_jobs(tx.connection, "b1")] == ["xb", "xc"]
        intend(tx, terms, "xa", "a" * 64, pages=1, run="A", batch="b2", generation=2)
        (job,) = batch_jobs(tx.connection, "b2")
    assert (job.generation, job.status, job.is_open) == (2, "intended", True)
