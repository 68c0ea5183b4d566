"""Extraction batches: one row each, generations that only increase, and their jobs."""

from __future__ import annotations

import pytest

from invoices.ledger import Ledger
from invoices.ledger.extraction_batches import (
    ExtractionBatch,
    find_extraction_batch,
    start_extraction_batch,
    update_extraction_batch,
)
from invoices.ledger.extractions import ExtractionTerms, list_batch_jobs, record_intent, update_extraction

VENDOR = "invoicedataextraction_com"


def create_batch(ledger: Ledger, batch: str, vendor: str = VENDOR, count: int = 2) -> ExtractionBatch:
    with ledger.begin_transaction() as tx:
        return start_extraction_batch(tx, batch, vendor, "1:per_invoice", count)


def test_a_new_batch_is_of_the_first_generation(ledger: Ledger) -> None:
    batch = create_batch(ledger, "b1")
    assert (batch.status, batch.session_generation, batch.generation) == ("uploading", 1, 1)
    assert (batch.remote_id, batch.submitted_at, batch.document_count) == (None, None, 2)
    with ledger.open_snapshot() as connection:
        assert find_extraction_batch(connection, "b1") == batch
        assert find_extraction_batch(connection, "b2") is None


def test_starting_a_batch_again_starts_its_next_generation(ledger: Ledger) -> None:
    first = create_batch(ledger, "b1")
    with ledger.begin_transaction() as tx:
        update_extraction_batch(tx, "b1", "submitted", remote_id="r-1", submitted_at=tx.timestamp)
        update_extraction_batch(tx, "b1", "concluded", message="It failed.")
    again = create_batch(ledger, "b1", count=3)
    assert (again.status, again.session_generation, again.generation) == ("uploading", 2, 2)
    assert (again.remote_id, again.submitted_at, again.document_count) == (None, None, 3)
    assert again.opened_at >= first.opened_at


def test_updated_columns_of_a_batch_are_stored(ledger: Ledger) -> None:
    create_batch(ledger, "b1")
    with ledger.begin_transaction() as tx:
        batch = update_extraction_batch(tx, "b1", "submitted", remote_id="r-1", submitted_at=tx.timestamp)
    assert (batch.status, batch.remote_id, batch.submitted_at) == ("submitted", "r-1", tx.timestamp)


def test_a_batch_that_was_not_started_cannot_be_updated(ledger: Ledger) -> None:
    with pytest.raises(LookupError), ledger.begin_transaction() as tx:
        update_extraction_batch(tx, "b1", "submitted")


def test_the_jobs_of_a_batch_are_those_intended_for_it_and_not_removed(ledger: Ledger) -> None:
    terms = ExtractionTerms(VENDOR)
    with ledger.begin_transaction() as tx:
        for name in "cab":
            record_intent(tx, terms, f"x{name}", name * 64, pages=1, run_id="A", batch_id="b1", generation=1)
        update_extraction(tx, "xa", "refused", batch_id=None)
        assert [job.extraction_id for job in list_batch_jobs(tx.connection, "b1")] == ["xb", "xc"]
        record_intent(tx, terms, "xa", "a" * 64, pages=1, run_id="A", batch_id="b2", generation=2)
        (job,) = list_batch_jobs(tx.connection, "b2")
    assert (job.generation, job.status, job.is_open) == (2, "intended", True)
