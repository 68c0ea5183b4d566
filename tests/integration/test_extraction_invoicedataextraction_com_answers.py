"""Asking invoicedataextraction.com: a success that is not quite one is kept with what is missing, or told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com.results import all_results
from tests.integration.batch_office import ANSWERED, Office


def kept(office: Office, sha256: str) -> dict[str, Any]:
    """Return the answer about a document as it is kept."""
    payload: dict[str, Any] = json.loads(office.job(sha256)["payload"])
    return payload


def changing(**values: Any) -> Any:
    """Return a look at an extraction in which these values are others."""
    return lambda found, *args: replace(found(*args), **values)


def test_a_document_of_which_some_pages_failed_is_kept_with_the_list_of_them(office: Office) -> None:
    first, second = office.collect(2, pages=3)
    office.turn(pages_per_file=3, fail_pages=f"{first}:2")
    office.ask()
    assert kept(office, first)["pages"]["read"] == [1, 3]
    (failed,) = kept(office, first)["pages"]["failed"]
    assert (failed["page"], failed["code"]) == (2, "PAGE_UNREADABLE")
    assert kept(office, second)["pages"] == {"read": [1, 2, 3], "failed": []}
    assert (office.pages_charged(first), office.pages_charged(second)) == (2, 3)
    office.check_books(first, second)


@pytest.mark.parametrize(
    ("has_other", "stands"), [(False, ("done", "pages_failed")), (True, ("ask", "next_extractor"))]
)
def test_a_document_of_which_every_page_failed_goes_on_uncharged(
    office: Office, has_other: bool, stands: tuple[str, str]
) -> None:
    bad, good = office.collect(2)
    office.has_other = lambda _: has_other
    office.turn(fail_pages=bad)
    office.ask()
    assert office.stands(bad) == {stands}
    assert "could not be read" in office.reason(bad)
    assert office.stands(good) == ANSWERED
    office.check_books(bad, good)


def test_a_file_whose_rows_are_missing_is_kept_without_rows(office: Office) -> None:
    bare, full = office.collect(2)
    office.turn(missing_rows=bare)
    office.ask()
    assert kept(office, bare)["rows"] == []
    assert kept(office, bare)["pages"]["read"] == [1]
    assert len(kept(office, full)["rows"]) == 2
    office.check_books(bare, full)


def test_rows_about_a_file_that_nobody_asked_about_are_told_and_given_to_nobody(office: Office) -> None:
    (only,) = office.collect(1)
    office.turn(wrong_file=only)
    asked = office.ask()
    assert "'unknown.pdf'" in asked.problems[0]
    assert kept(office, only)["rows"] == []
    office.check_books(only)


def test_notes_and_items_for_review_are_kept_with_the_documents_they_are_about(office: Office) -> None:
    first, second = office.collect(2)
    office.turn(notes="the date", review_needed=second)
    office.ask()
    assert [note["topic"] for note in kept(office, first)["uncertainty_notes"]] == ["the date"]
    assert [note["topic"] for note in kept(office, second)["uncertainty_notes"]] == ["the date"]
    assert kept(office, first)["review_needed"] == []
    assert [item["rows"] for item in kept(office, second)["review_needed"]] == [[1], [2]]


def test_addresses_that_are_null_do_not_matter_while_the_rows_are_told(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(null_urls="all")
    office.ask()
    assert office.stands(*hashes) == ANSWERED


def test_rows_come_from_the_output_file_where_they_are_not_told_directly(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(missing_outputs="results")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert len(kept(office, hashes[0])["rows"]) == 2
    office.check_books(*hashes)


def test_an_output_that_cannot_be_had_waits_and_goes_to_a_person_when_that_has_taken_too_long(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(missing_outputs="all")
    asked = office.ask()
    assert office.stands(*hashes) == {("ask", "vendor_unavailable")}
    assert "OUTPUT_NOT_AVAILABLE" in asked.problems[0]
    office.ask(deadline_minutes=0.0)
    assert office.stands(*hashes) == {("done", "extraction_lost")}
    office.check_books(*hashes)


def test_results_of_many_rows_are_fetched_page_by_page(office: Office) -> None:
    hashes = office.collect(3)
    office.instead["results"] = lambda _found, extraction_id: all_results(
        extraction_id, lambda offset: office.client.results_page(extraction_id, offset, 4)
    )
    office.ask()
    assert [len(kept(office, sha256)["rows"]) for sha256 in hashes] == [2, 2, 2]


def test_credits_that_are_not_told_are_no_problem(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(credits_null="on")
    assert office.ask().problems == []
    office.check_books(*hashes)


def test_credits_that_differ_from_the_pages_read_are_told(office: Office) -> None:
    hashes = office.collect(2)
    office.instead["extraction"] = changing(credits_deducted=7)
    (problem,) = office.ask().problems
    assert "deducted 7 credits, but says that it read 2 pages" in problem
    assert office.stands(*hashes) == ANSWERED


def test_without_a_list_of_pages_the_documents_share_what_was_deducted(office: Office) -> None:
    hashes = sorted(office.collect(3, pages=2))
    office.instead["extraction"] = changing(pages=None, credits_deducted=3)
    office.ask()
    assert [office.pages_charged(sha256) for sha256 in hashes] == [2, 1, 0]


def test_without_pages_and_credits_the_worst_is_counted(office: Office) -> None:
    hashes = office.collect(2, pages=2)
    office.instead["extraction"] = changing(pages=None, credits_deducted=None)
    office.ask()
    assert office.pages_charged(*hashes) == 4


def test_values_that_are_all_text_are_kept_as_text(office: Office) -> None:
    (only,) = office.collect(1)
    office.turn(typed_values="never")
    office.ask()
    assert isinstance(kept(office, only)["rows"][0]["Total amount"], str)
