"""Asking invoicedataextraction.com: what never ends, goes back, is cancelled or cannot be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from invoices.clients.classification import NotFound
from invoices.clients.invoicedataextraction_com import CancelRequested
from invoices.errors import ContractError
from tests.integration.batch_office import ANSWERED, Office


def changing(**values: Any) -> Any:
    """Return a look at an extraction in which these values are others."""
    return lambda found, *args: replace(found(*args), **values)


def test_a_status_that_nobody_knows_is_waited_out(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(unknown_status="pondering", processing_seconds=0.3)
    office.ask()
    assert office.stands(*hashes) == ANSWERED


def test_a_status_that_goes_back_is_waited_out(office: Office) -> None:
    hashes = office.collect(2)
    said = iter(["processing", "completed", "processing"])
    office.instead["extraction"] = lambda found, *args: _as(found(*args), next(said, None))
    office.instead["results"] = _odd_once()
    office.instead["output_rows"] = _odd_once()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def _as(extraction: Any, status: str | None) -> Any:
    return extraction if status is None else replace(extraction, status=status)


def _odd_once() -> Any:
    told: list[int] = []

    def results(found: Any, extraction_id: str) -> Any:
        told.append(1)
        if len(told) == 1:
            raise ContractError("its body is no JSON")
        return found(extraction_id)

    return results


def test_an_extraction_that_never_ends_goes_to_a_person_and_counts_with_all_its_pages(office: Office) -> None:
    hashes = office.collect(2, pages=2)
    office.turn(stall=1)
    asked = office.ask(deadline_minutes=0.5)
    assert office.stands(*hashes) == {("done", "extraction_stuck")}
    assert "'processing'" in asked.problems[0]
    assert office.pages_charged(*hashes) == 4


def test_an_extraction_that_asks_questions_waits_for_the_person_who_can_answer(office: Office) -> None:
    hashes = office.collect(2)
    office.instead["extraction"] = changing(status="input_required")
    asked = office.ask(deadline_minutes=0.0)
    assert office.stands(*hashes) == {("ask", "vendor_unavailable")}
    assert "asks questions" in asked.problems[0]
    office.instead.clear()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_what_was_cancelled_in_mid_way_goes_to_a_person_with_what_it_cost(office: Office) -> None:
    hashes = office.collect(4)
    office.turn(processing_seconds=3_600)

    def cancelled(found: Any, *args: Any) -> Any:
        if not cancelling:
            cancelling.append(office.client.cancel(args[0]))
        return found(*args)

    cancelling: list[Any] = []
    office.instead["extraction"] = cancelled
    office.ask()
    assert isinstance(cancelling[0], CancelRequested)
    assert office.stands(*hashes) == {("done", "extraction_cancelled")}
    assert office.pages_charged(*hashes) == office.charges().total() == office.total.pages
    assert office.spent() == {office.charges().total()}


def test_a_cancellation_that_does_not_tell_its_cost_counts_with_all_its_pages(office: Office) -> None:
    hashes = office.collect(3, pages=2)
    values = {"status": "cancelled", "cancellation_reason": "user", "credits_deducted": None, "pages": None}
    office.instead["extraction"] = changing(**values)
    office.ask()
    assert office.pages_charged(*hashes) == 6


def test_an_extraction_that_the_vendor_does_not_know_any_more_goes_to_a_person(office: Office) -> None:
    hashes = office.collect(2)

    def deleted(found: Any, extraction_id: str, wait: int | None = None) -> Any:
        if not gone:
            gone.append(office.client.delete(extraction_id))
        return found(extraction_id, wait)

    gone: list[Any] = []
    office.instead["extraction"] = deleted
    asked = office.ask()
    assert office.stands(*hashes) == {("done", "extraction_lost")}
    assert "EXTRACTION_NOT_FOUND" in asked.problems[0]
    assert office.pages_charged(*hashes) == office.charges().total()


def test_a_single_404_for_a_known_extraction_is_looked_at_again(office: Office) -> None:
    hashes = office.collect(2)
    told: list[int] = []

    def unknown_once(found: Any, *args: Any) -> Any:
        told.append(1)
        if len(told) == 1:
            raise NotFound("404")
        return found(*args)

    office.instead["extraction"] = unknown_once
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


@pytest.mark.parametrize("call", ["extraction", "results"])
def test_an_answer_that_is_never_readable_stops_the_vendor_and_nothing_is_lost(office: Office, call: str) -> None:
    hashes = office.collect(2)

    def unreadable(_found: Any, extraction_id: str, *_args: Any) -> Any:
        raise ContractError(f"GET /extractions answered about another extraction_id than {extraction_id!r}")

    office.instead[call] = unreadable
    if call == "results":
        office.instead["output_rows"] = unreadable
    asked = office.ask()
    assert office.stands(*hashes) == {("ask", "contract_changed")}
    assert "answers differently" in asked.problems[0]
    assert office.client.counts[call] == 5
    office.instead.clear()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_an_answer_that_alone_is_never_readable_does_not_stop_the_others(office: Office) -> None:
    bad, *good = office.collect(4)
    office.turn(processing_seconds=0.3)

    def unreadable(found: Any, extraction_id: str, *args: Any) -> Any:
        if {one["id"]: one["documents"] for one in office.extractions()}[extraction_id] == [bad]:
            raise ContractError("its body is no JSON")
        return found(extraction_id, *args)

    office.instead["results"] = office.instead["output_rows"] = unreadable
    office.ask(batch_documents=1)
    assert office.stands(*good) == ANSWERED
    assert office.stands(bad) < {("ask", "vendor_unavailable"), ("ask", "contract_changed")}
