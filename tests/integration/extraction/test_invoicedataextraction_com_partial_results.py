"""Extraction with invoicedataextraction.com: incomplete answers are stored with what is missing, or reported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com.results import collect_all_results
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness, build_changed_poll


def load_payload(batch_harness: BatchHarness, sha256: str) -> dict[str, Any]:
    """Return the stored payload of a document."""
    payload: dict[str, Any] = json.loads(batch_harness.get_extraction(sha256)["payload"])
    return payload


def test_a_document_with_failed_pages_is_stored_with_their_list(batch_harness: BatchHarness) -> None:
    first, second = batch_harness.add_documents(2, page_count=3)
    batch_harness.update_sandbox_settings(pages_per_file=3, fail_pages=f"{first}:2")
    batch_harness.run_extraction()
    assert load_payload(batch_harness, first)["pages"]["read"] == [1, 3]
    (failed,) = load_payload(batch_harness, first)["pages"]["failed"]
    assert (failed["page"], failed["code"]) == (2, "PAGE_UNREADABLE")
    assert load_payload(batch_harness, second)["pages"] == {"read": [1, 2, 3], "failed": []}
    assert (batch_harness.sum_recorded_charges(first), batch_harness.sum_recorded_charges(second)) == (2, 3)
    batch_harness.assert_accounts_match(first, second)


@pytest.mark.parametrize(
    ("has_fallback", "expected_state"),
    [(False, ("done", "pages_failed")), (True, ("extract_remote", "next_extractor"))],
)
def test_a_document_whose_pages_all_failed_is_not_charged(
    batch_harness: BatchHarness, has_fallback: bool, expected_state: tuple[str, str]
) -> None:
    bad, good = batch_harness.add_documents(2)
    batch_harness.has_fallback = lambda _: has_fallback
    batch_harness.update_sandbox_settings(fail_pages=bad)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(bad) == {expected_state}
    assert "could not be read" in batch_harness.get_reason(bad)
    assert batch_harness.list_document_states(good) == ANSWERED
    batch_harness.assert_accounts_match(bad, good)


def test_a_document_whose_rows_are_missing_is_stored_without_rows(batch_harness: BatchHarness) -> None:
    bare, full = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(missing_rows=bare)
    batch_harness.run_extraction()
    assert load_payload(batch_harness, bare)["rows"] == []
    assert load_payload(batch_harness, bare)["pages"]["read"] == [1]
    assert len(load_payload(batch_harness, full)["rows"]) == 2
    batch_harness.assert_accounts_match(bare, full)


def test_rows_of_an_unknown_file_are_reported_and_not_stored(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.update_sandbox_settings(wrong_file=only)
    report = batch_harness.run_extraction()
    assert "'unknown.pdf'" in report.problems[0]
    assert load_payload(batch_harness, only)["rows"] == []
    batch_harness.assert_accounts_match(only)


def test_notes_and_review_items_are_stored_with_their_documents(batch_harness: BatchHarness) -> None:
    first, second = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(notes="the date", review_needed=second)
    batch_harness.run_extraction()
    assert [note["topic"] for note in load_payload(batch_harness, first)["uncertainty_notes"]] == ["the date"]
    assert [note["topic"] for note in load_payload(batch_harness, second)["uncertainty_notes"]] == ["the date"]
    assert load_payload(batch_harness, first)["review_needed"] == []
    assert [item["rows"] for item in load_payload(batch_harness, second)["review_needed"]] == [[1], [2]]


def test_missing_urls_do_not_matter_if_the_results_have_the_rows(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(null_urls="all")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_rows_come_from_the_output_file_if_the_results_have_none(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(missing_outputs="results")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert len(load_payload(batch_harness, hashes[0])["rows"]) == 2
    batch_harness.assert_accounts_match(*hashes)


def test_a_missing_output_waits_and_is_quarantined_after_the_deadline(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(missing_outputs="all")
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "vendor_unavailable")}
    assert "OUTPUT_NOT_AVAILABLE" in report.problems[0]
    batch_harness.run_extraction(deadline_minutes=0.0)
    assert batch_harness.list_document_states(*hashes) == {("done", "extraction_lost")}
    batch_harness.assert_accounts_match(*hashes)


def test_results_of_many_rows_are_fetched_page_by_page(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(3)
    batch_harness.call_overrides["fetch_results"] = lambda _found, extraction_id: collect_all_results(
        extraction_id, lambda offset: batch_harness.client.fetch_results_page(extraction_id, offset, 4)
    )
    batch_harness.run_extraction()
    assert [len(load_payload(batch_harness, sha256)["rows"]) for sha256 in hashes] == [2, 2, 2]


def test_missing_credits_in_the_answer_are_no_problem(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(credits_null="on")
    assert batch_harness.run_extraction().problems == []
    batch_harness.assert_accounts_match(*hashes)


def test_credits_that_differ_from_the_pages_read_are_reported(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.call_overrides["poll_extraction"] = build_changed_poll(credits_deducted=7)
    (problem,) = batch_harness.run_extraction().problems
    assert "7 credits deducted, 2 pages read" in problem
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_without_a_page_list_the_documents_share_the_deducted_credits(batch_harness: BatchHarness) -> None:
    hashes = sorted(batch_harness.add_documents(3, page_count=2))
    batch_harness.call_overrides["poll_extraction"] = build_changed_poll(pages=None, credits_deducted=3)
    batch_harness.run_extraction()
    assert [batch_harness.sum_recorded_charges(sha256) for sha256 in hashes] == [2, 1, 0]


def test_without_pages_and_credits_all_pages_count_as_charged(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2, page_count=2)
    batch_harness.call_overrides["poll_extraction"] = build_changed_poll(pages=None, credits_deducted=None)
    batch_harness.run_extraction()
    assert batch_harness.sum_recorded_charges(*hashes) == 4


def test_text_values_are_stored_as_text(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.update_sandbox_settings(typed_values="never")
    batch_harness.run_extraction()
    assert isinstance(load_payload(batch_harness, only)["rows"][0]["Total amount"], str)
