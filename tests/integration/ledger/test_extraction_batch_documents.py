"""Many documents in one statement: the ledger is the same as if each had been written alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import LEASE_DURATION, claim_all_or_none
from invoices.ledger.documents import set_document_state
from invoices.ledger.extraction_batch_documents import (
    CompletedExtraction,
    PlannedExtraction,
    filter_claimed_hashes,
    list_documents_by_hash,
    list_open_document_hashes,
    mark_documents_submitted,
    record_answers_and_charges,
    record_intents,
)
from invoices.ledger.extractions import ExtractionTerms, record_intent, update_extraction
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.spending import CapReached, PageCaps
from invoices.ledger.tables import documents, extractions, spending

NOW = dt.datetime(2026, 3, 31, 23, 0, tzinfo=dt.UTC)
TERMS = ExtractionTerms("v", PageCaps(run=100, day=100, month=100), Decimal("0.10"), "EUR")
EXTRACTIONS = [PlannedExtraction(f"x{number}", f"d{number}", number) for number in range(1, 6)]


@pytest.fixture
def ledger_pair(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two ledgers with the same documents: one for statements about many, one for statements about one."""
    ledgers = [Ledger(f"sqlite:///{tmp_path}/{name}.sqlite", now=lambda: NOW) for name in ("many", "single")]
    for ledger in ledgers:
        with ledger.begin_transaction() as tx:
            for extraction in EXTRACTIONS:
                sighting = Sighting(
                    extraction.extraction_id, extraction.document_sha256, "application/pdf", 1, "inbox", "folder", "/x"
                )
                record_sighting(tx, sighting)
    yield ledgers[0], ledgers[1]
    for ledger in ledgers:
        ledger.close()


def read_tables(ledger: Ledger) -> list[list[dict[str, Any]]]:
    """Return the rows of the tables that are written."""
    with ledger.open_snapshot() as connection:
        return [
            [dict(row) for row in connection.execute(table.select().order_by(table.c[key])).mappings()]
            for table, key in ((extractions, "extraction_id"), (documents, "document_sha256"), (spending, "period"))
        ]


def record_intents_one_by_one(tx: Transaction, wanted: list[PlannedExtraction], generation: int = 1) -> None:
    for extraction in wanted:
        values = {"pages": extraction.pages, "run_id": "run", "batch_id": "b", "generation": generation}
        record_intent(tx, TERMS, extraction.extraction_id, extraction.document_sha256, **values)  # type: ignore[arg-type]  # keywords from a dict


def test_many_intents_are_recorded_as_if_each_had_been_recorded_alone(ledger_pair: tuple[Ledger, Ledger]) -> None:
    many, single = ledger_pair
    for extractions_to_record, generation in (
        (EXTRACTIONS[:3], 1),
        (EXTRACTIONS, 2),
    ):  # the second time, three are there already
        with many.begin_transaction() as tx:
            record_intents(tx, TERMS, extractions_to_record, run_id="run", batch_id="b", generation=generation)
        with single.begin_transaction() as tx:
            record_intents_one_by_one(tx, extractions_to_record, generation)
        assert read_tables(many) == read_tables(single)


def test_intents_that_exceed_a_cap_are_refused_together(ledger_pair: tuple[Ledger, Ledger]) -> None:
    terms = ExtractionTerms("v", PageCaps(run=14))
    with pytest.raises(CapReached, match="leaves 14, but 15 are needed"), ledger_pair[0].begin_transaction() as tx:
        record_intents(tx, terms, EXTRACTIONS, run_id="run", batch_id="b", generation=1)
    assert read_tables(ledger_pair[0])[0] == read_tables(ledger_pair[0])[2] == []


@pytest.mark.parametrize("charged", [0, 1, 7])
def test_many_answers_are_recorded_as_if_each_had_been_recorded_alone(
    ledger_pair: tuple[Ledger, Ledger], charged: int
) -> None:
    many, single = ledger_pair
    for ledger in ledger_pair:
        with ledger.begin_transaction() as tx:
            record_intents_one_by_one(tx, EXTRACTIONS)
            update_extraction(tx, "x2", "unknown", possible_double_charge=True)
    with many.begin_transaction() as tx:
        answers = [
            CompletedExtraction(extraction.extraction_id, extraction.document_sha256, "{}", charged)
            for extraction in EXTRACTIONS[1:]
        ]
        record_answers_and_charges(tx, answers, "Answered.")
    with single.begin_transaction() as tx:
        for extraction in EXTRACTIONS[1:]:
            update_extraction(
                tx,
                extraction.extraction_id,
                "answered",
                payload="{}",
                answered_at=tx.timestamp,
                pages_charged=charged,
            )
            set_document_state(
                tx, extraction.document_sha256, stage="validate", state="waiting", reason_code="answered",
                reason="Answered.",
            )  # fmt: skip
    assert read_tables(many) == read_tables(single)


def test_many_submissions_are_recorded_as_if_each_had_been_recorded_alone(ledger_pair: tuple[Ledger, Ledger]) -> None:
    many, single = ledger_pair
    for ledger in ledger_pair:
        with ledger.begin_transaction() as tx:
            record_intents_one_by_one(tx, EXTRACTIONS)
            update_extraction(tx, "x5", "answered", payload="{}")  # it is not open any more
    with many.begin_transaction() as tx:
        mark_documents_submitted(tx, "b", ["d1", "d2", "d3", "d4"], "r", "Submitted.")
        assert list_open_document_hashes(tx.connection, "b") == {"d1", "d2", "d3", "d4"}
    with single.begin_transaction() as tx:
        for extraction in EXTRACTIONS[:4]:
            update_extraction(tx, extraction.extraction_id, "submitted", remote_id="r", submitted_at=tx.timestamp)
            set_document_state(
                tx, extraction.document_sha256, stage="extract_remote", state="waiting", reason_code="submitted",
                reason="Submitted.",
            )  # fmt: skip
    assert read_tables(many) == read_tables(single)


def test_recording_no_answers_writes_nothing(ledger_pair: tuple[Ledger, Ledger]) -> None:
    before = read_tables(ledger_pair[0])
    with ledger_pair[0].begin_transaction() as tx:
        record_answers_and_charges(tx, [], "Answered.")
    assert read_tables(ledger_pair[0]) == before


def test_only_documents_with_a_valid_claim_are_returned_as_claimed(ledger_pair: tuple[Ledger, Ledger]) -> None:
    ledger = ledger_pair[0]
    with ledger.begin_transaction() as tx:
        claim_all_or_none(tx, "me", ["d1", "d2"])
        claim_all_or_none(tx, "you", ["d3"])
        assert filter_claimed_hashes(tx, "me", ["d1", "d2", "d3", "d4"]) == {"d1", "d2"}
        later = Transaction(tx.connection, tx.revision, tx.timestamp + LEASE_DURATION)
        assert filter_claimed_hashes(later, "me", ["d1", "d2"]) == set()


def test_documents_are_listed_by_hash_at_any_stage(ledger_pair: tuple[Ledger, Ledger]) -> None:
    with ledger_pair[0].open_snapshot() as connection:
        assert [document.document_sha256 for document in list_documents_by_hash(connection, ["d4", "d2", "d9"])] == [
            "d2",
            "d4",
        ]
