"""Many documents in one statement: the ledger stands as if each had been written by itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import LEASE, claim_these
from invoices.ledger.documents import settle
from invoices.ledger.extraction_pieces import (
    Answered,
    Wanted,
    answer_all,
    held_among,
    intend_all,
    known_among,
    mark_submitted,
    open_documents,
)
from invoices.ledger.extractions import Terms, advance, intend
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.spending import CapReached, Caps
from invoices.ledger.tables import documents, extractions, spending

NOW = dt.datetime(2026, 3, 31, 23, 0, tzinfo=dt.UTC)
TERMS = Terms("v", Caps(run=100, day=100, month=100), Decimal("0.10"), "EUR")
WANTED = [Wanted(f"x{number}", f"d{number}", number) for number in range(1, 6)]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two ledgers with the same documents: one for statements about many, one for single ones."""
    pair = [Ledger(f"sqlite:///{tmp_path}/{name}.sqlite", now=lambda: NOW) for name in ("many", "single")]
    for ledger in pair:
        with ledger.transaction() as tx:
            for one in WANTED:
                seen = Sighting(one.extraction_id, one.document_sha256, "application/pdf", 1, "inbox", "folder", "/x")
                record_sighting(tx, seen)
    yield pair[0], pair[1]
    for ledger in pair:
        ledger.close()


def state(ledger: Ledger) -> list[list[dict[str, Any]]]:
    """Return what stands in the tables that are written."""
    with ledger.reading() as connection:
        return [
            [dict(row) for row in connection.execute(table.select().order_by(table.c[key])).mappings()]
            for table, key in ((extractions, "extraction_id"), (documents, "document_sha256"), (spending, "period"))
        ]


def intend_each(tx: Transaction, wanted: list[Wanted], generation: int = 1) -> None:
    for one in wanted:
        values = {"pages": one.pages, "run": "run", "batch": "b", "generation": generation}
        intend(tx, TERMS, one.extraction_id, one.document_sha256, **values)  # type: ignore[arg-type]  # words of a dict


def test_intents_stand_as_if_each_had_been_written_by_itself(pair: tuple[Ledger, Ledger]) -> None:
    many, single = pair
    for wanted, generation in ((WANTED[:3], 1), (WANTED, 2)):  # the second time, three are there already
        with many.transaction() as tx:
            intend_all(tx, TERMS, wanted, run="run", batch="b", generation=generation)
        with single.transaction() as tx:
            intend_each(tx, wanted, generation)
        assert state(many) == state(single)


def test_intents_that_no_cap_has_room_for_are_refused_together(pair: tuple[Ledger, Ledger]) -> None:
    terms = Terms("v", Caps(run=14))
    with pytest.raises(CapReached, match="a document of 15 waits"), pair[0].transaction() as tx:
        intend_all(tx, terms, WANTED, run="run", batch="b", generation=1)
    assert state(pair[0])[0] == state(pair[0])[2] == []


@pytest.mark.parametrize("charged", [0, 1, 7])
def test_answers_stand_as_if_each_had_been_written_by_itself(pair: tuple[Ledger, Ledger], charged: int) -> None:
    many, single = pair
    for ledger in pair:
        with ledger.transaction() as tx:
            intend_each(tx, WANTED)
            advance(tx, "x2", "unknown", possible_double_charge=True)
    with many.transaction() as tx:
        told = [Answered(one.extraction_id, one.document_sha256, "{}", charged) for one in WANTED[1:]]
        answer_all(tx, told, "Answered.")
    with single.transaction() as tx:
        for one in WANTED[1:]:
            advance(tx, one.extraction_id, "answered", payload="{}", answered_at=tx.at, pages_charged=charged)
            settle(
                tx, one.document_sha256, stage="judge", state="waiting", reason_code="answered", reason="Answered."
            )  # fmt: skip
    assert state(many) == state(single)


def test_submissions_stand_as_if_each_had_been_written_by_itself(pair: tuple[Ledger, Ledger]) -> None:
    many, single = pair
    for ledger in pair:
        with ledger.transaction() as tx:
            intend_each(tx, WANTED)
            advance(tx, "x5", "answered", payload="{}")  # it is not open any more
    with many.transaction() as tx:
        mark_submitted(tx, "b", ["d1", "d2", "d3", "d4"], "r", "Submitted.")
        assert open_documents(tx.connection, "b") == {"d1", "d2", "d3", "d4"}
    with single.transaction() as tx:
        for one in WANTED[:4]:
            advance(tx, one.extraction_id, "submitted", remote_id="r", submitted_at=tx.at)
            settle(
                tx, one.document_sha256, stage="ask", state="waiting", reason_code="submitted", reason="Submitted."
            )  # fmt: skip
    assert state(many) == state(single)


def test_no_answer_at_all_writes_nothing(pair: tuple[Ledger, Ledger]) -> None:
    before = state(pair[0])
    with pair[0].transaction() as tx:
        answer_all(tx, [], "Answered.")
    assert state(pair[0]) == before


def test_only_what_is_in_hand_is_held(pair: tuple[Ledger, Ledger]) -> None:
    ledger = pair[0]
    with ledger.transaction() as tx:
        claim_these(tx, "me", ["d1", "d2"])
        claim_these(tx, "you", ["d3"])
        assert held_among(tx, "me", ["d1", "d2", "d3", "d4"]) == {"d1", "d2"}
        later = Transaction(tx.connection, tx.revision, tx.at + LEASE)
        assert held_among(later, "me", ["d1", "d2"]) == set()


def test_documents_are_known_whatever_they_wait_for(pair: tuple[Ledger, Ledger]) -> None:
    with pair[0].reading() as connection:
        assert [one.document_sha256 for one in known_among(connection, ["d4", "d2", "d9"])] == ["d2", "d4"]
