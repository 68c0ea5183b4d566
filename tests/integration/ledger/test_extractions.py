"""Extractions: the latest answer of each document, and jobs by vendor and by remote id."""

from __future__ import annotations

from typing import Any

from invoices.ledger import Ledger, Transaction
from invoices.ledger.documents import set_document_state
from invoices.ledger.extractions import (
    ExtractionTerms,
    filter_known_remote_ids,
    list_document_jobs_of_vendor,
    list_extraction_rows,
    list_latest_answers,
    record_free_answer,
    record_intent,
    update_extraction,
)
from invoices.ledger.retries import mark_for_retry
from tests.integration.ledger.validation_fixtures import DOCUMENT, record_sightings


def record_intent_for(tx: Transaction, extraction: str, document: str, **values: Any) -> None:
    record_intent(tx, ExtractionTerms("smartbills_com"), extraction, document, pages=1, run_id="a run", **values)


def test_a_free_answer_is_recorded_once(ledger: Ledger) -> None:
    for payload in ("{}", '{"other": 1}'):
        with ledger.begin_transaction() as tx:
            record_free_answer(tx, "x1", DOCUMENT, "einvoice", payload)
    with ledger.open_snapshot() as connection:
        (row,) = list_extraction_rows(connection, DOCUMENT)
    assert (row["payload"], row["status"], row["pages_charged"]) == ("{}", "answered", 0)


def test_a_retry_replaces_a_free_answer_once(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_sightings(tx, DOCUMENT)
        record_free_answer(tx, "x1", DOCUMENT, "einvoice", "1")
        set_document_state(tx, DOCUMENT, stage="done", state="review", reason_code="BR-02", reason="It is broken.")
    with ledger.begin_transaction() as tx:
        assert mark_for_retry(tx, [DOCUMENT]) == [DOCUMENT]
    for payload in ("2", "3"):
        with ledger.begin_transaction() as tx:
            record_free_answer(tx, "x1", DOCUMENT, "einvoice", payload)
    with ledger.open_snapshot() as connection:
        (row,) = list_extraction_rows(connection, DOCUMENT)
    assert (row["payload"], row["is_superseded"]) == ("2", False)


def test_the_latest_answer_of_each_document_is_listed_in_order_of_arrival(ledger: Ledger) -> None:
    first, second = "f" * 64, "a" * 64
    with ledger.begin_transaction() as tx:
        record_sightings(tx, first)
        record_sightings(tx, second)
        record_free_answer(tx, "x2", second, "einvoice", '"2"')
        record_intent_for(tx, "x1", first)
        update_extraction(tx, "x1", "failed", answered_at=tx.timestamp)
        record_intent_for(tx, "x1b", first, generation=2)
        assert [a.payload for a in list_latest_answers(tx.connection, [first, second])] == ['"2"']
        update_extraction(tx, "x1b", "answered", payload='"1"', answered_at=tx.timestamp)
    with ledger.open_snapshot() as connection:
        assert [a.payload for a in list_latest_answers(connection, [second, first])] == ['"1"', '"2"']
        assert [job.generation for job in list_document_jobs_of_vendor(connection, first, "smartbills_com")] == [1, 2]


def test_recording_the_same_intent_again_updates_the_same_job(ledger: Ledger) -> None:
    for _ in range(2):
        with ledger.begin_transaction() as tx:
            record_intent_for(tx, "x1", DOCUMENT)
    with ledger.open_snapshot() as connection:
        assert [job.status for job in list_document_jobs_of_vendor(connection, DOCUMENT, "smartbills_com")] == [
            "intended"
        ]


def test_only_recorded_remote_ids_are_returned_as_known(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_intent_for(tx, "x1", DOCUMENT)
        update_extraction(tx, "x1", "submitted", remote_id="job-1")
    with ledger.open_snapshot() as connection:
        assert filter_known_remote_ids(connection, "smartbills_com", ["job-1", "job-2"]) == {"job-1"}
        assert (
            filter_known_remote_ids(connection, "other", ["job-1"])
            == filter_known_remote_ids(connection, "smartbills_com", [])
            == set()
        )
