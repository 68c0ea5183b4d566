"""Extraction with invoicedataextraction.com: unknown, stuck, cancelled and unreadable extractions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from invoices.clients.error_mapping import NotFound
from invoices.clients.invoicedataextraction_com import PendingCancellation
from invoices.errors import ContractError
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness, build_changed_poll


def test_an_unknown_status_is_polled_again(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(unknown_status="pondering", processing_seconds=0.3)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_a_status_that_goes_back_is_polled_again(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    statuses = iter(["processing", "completed", "processing"])
    batch_harness.call_overrides["poll_extraction"] = lambda original_call, *args: _replace_status(
        original_call(*args), next(statuses, None)
    )
    batch_harness.call_overrides["fetch_results"] = _build_unreadable_once()
    batch_harness.call_overrides["fetch_output_rows"] = _build_unreadable_once()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def _replace_status(extraction: Any, status: str | None) -> Any:
    return extraction if status is None else replace(extraction, status=status)


def _build_unreadable_once() -> Any:
    attempts: list[int] = []

    def fetch_or_fail(original_call: Any, extraction_id: str) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise ContractError("its body is no JSON")
        return original_call(extraction_id)

    return fetch_or_fail


def test_a_stuck_extraction_is_quarantined_and_all_its_pages_count(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(2, page_count=2)
    batch_harness.update_sandbox_settings(stall=1)
    report = batch_harness.run_extraction(deadline_minutes=0.5)
    assert batch_harness.list_document_states(*hashes) == {("done", "extraction_stuck")}
    assert "'processing'" in report.problems[0]
    assert batch_harness.sum_recorded_charges(*hashes) == 4


def test_an_extraction_that_requires_input_waits(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.call_overrides["poll_extraction"] = build_changed_poll(status="input_required")
    report = batch_harness.run_extraction(deadline_minutes=0.0)
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "vendor_unavailable")}
    assert "requires input from a person" in report.problems[0]
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_a_cancelled_extraction_is_quarantined_with_its_charge(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(processing_seconds=3_600)

    def cancel_and_poll(original_call: Any, *args: Any) -> Any:
        if not cancellations:
            cancellations.append(batch_harness.client.cancel_extraction(args[0]))
        return original_call(*args)

    cancellations: list[Any] = []
    batch_harness.call_overrides["poll_extraction"] = cancel_and_poll
    batch_harness.run_extraction()
    assert isinstance(cancellations[0], PendingCancellation)
    assert batch_harness.list_document_states(*hashes) == {("done", "extraction_cancelled")}
    assert (
        batch_harness.sum_recorded_charges(*hashes)
        == batch_harness.count_charged_pages().total()
        == batch_harness.totals.pages_charged
    )
    assert batch_harness.list_spent_pages() == {batch_harness.count_charged_pages().total()}


def test_all_pages_of_a_cancelled_extraction_without_a_reported_charge_count(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(3, page_count=2)
    values = {"status": "cancelled", "cancellation_reason": "user", "credits_deducted": None, "pages": None}
    batch_harness.call_overrides["poll_extraction"] = build_changed_poll(**values)
    batch_harness.run_extraction()
    assert batch_harness.sum_recorded_charges(*hashes) == 6


def test_an_extraction_that_the_vendor_no_longer_has_is_quarantined(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)

    def delete_and_poll(original_call: Any, extraction_id: str, hold_seconds: int | None = None) -> Any:
        if not deletions:
            deletions.append(batch_harness.client.delete_extraction(extraction_id))
        return original_call(extraction_id, hold_seconds)

    deletions: list[Any] = []
    batch_harness.call_overrides["poll_extraction"] = delete_and_poll
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("done", "extraction_lost")}
    assert "EXTRACTION_NOT_FOUND" in report.problems[0]
    assert batch_harness.sum_recorded_charges(*hashes) == batch_harness.count_charged_pages().total()


def test_an_extraction_is_polled_again_after_a_single_404(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    attempts: list[int] = []

    def raise_not_found_once(original_call: Any, *args: Any) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise NotFound("404")
        return original_call(*args)

    batch_harness.call_overrides["poll_extraction"] = raise_not_found_once
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("call", ["poll_extraction", "fetch_results"])
def test_unreadable_answers_suspend_the_vendor_and_nothing_is_lost(batch_harness: BatchHarness, call: str) -> None:
    hashes = batch_harness.add_documents(2)

    def raise_contract_error(_original_call: Any, extraction_id: str, *_args: Any) -> Any:
        raise ContractError(f"GET /extractions answered about another extraction_id than {extraction_id!r}")

    batch_harness.call_overrides[call] = raise_contract_error
    if call == "fetch_results":
        batch_harness.call_overrides["fetch_output_rows"] = raise_contract_error
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "contract_changed")}
    assert "no longer answers as documented" in report.problems[0]
    assert batch_harness.client.call_counts[call] == 5
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_one_unreadable_batch_does_not_stop_the_others(batch_harness: BatchHarness) -> None:
    bad, *good = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(processing_seconds=0.3)

    def raise_contract_error(original_call: Any, extraction_id: str, *args: Any) -> Any:
        documents = {
            remote_extraction["id"]: remote_extraction["documents"]
            for remote_extraction in batch_harness.list_remote_extractions()
        }
        if documents[extraction_id] == [bad]:
            raise ContractError("its body is no JSON")
        return original_call(extraction_id, *args)

    batch_harness.call_overrides["fetch_results"] = batch_harness.call_overrides["fetch_output_rows"] = (
        raise_contract_error
    )
    batch_harness.run_extraction(batch_documents=1)
    assert batch_harness.list_document_states(*good) == ANSWERED
    assert batch_harness.list_document_states(bad) < {
        ("extract_remote", "vendor_unavailable"),
        ("extract_remote", "contract_changed"),
    }
