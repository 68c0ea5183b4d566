"""Extraction with invoicedataextraction.com: failed tasks are submitted again, stop the vendor, or fail documents."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import Extraction, FilesRefused, TaskRefused
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness

ERROR_CHANNELS = ["as_task", "as_http"]


@pytest.mark.parametrize("channel", ERROR_CHANNELS)
@pytest.mark.parametrize("code", ["CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED"])
def test_a_retryable_failure_is_submitted_again_under_a_new_id(
    batch_harness: BatchHarness, code: str, channel: str
) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(task_fail_code=f"{code}=2", task_errors=channel)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    remote_extractions = batch_harness.list_remote_extractions()
    assert [remote_extraction["status"] for remote_extraction in remote_extractions] == ["failed"] * (
        2 if channel == "as_task" else 0
    ) + ["completed"]
    assert len({remote_extraction["submission_id"] for remote_extraction in remote_extractions}) == len(
        remote_extractions
    )
    assert len(batch_harness.read_journal()["sessions"]) == 1  # the uploads serve every generation
    batch_harness.assert_accounts_match(*hashes)


def test_an_internal_error_of_a_task_is_submitted_again_under_a_new_id(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(task_fail_code="INTERNAL_ERROR=1")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert len(batch_harness.list_remote_extractions()) == 2
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("code", ["CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED", "INTERNAL_ERROR"])
def test_a_retryable_failure_that_persists_waits_for_a_later_run(batch_harness: BatchHarness, code: str) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(task_fail_code=code)
    report = batch_harness.run_extraction()
    assert len(batch_harness.list_remote_extractions()) == 4  # the first, and three more
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "vendor_unavailable")}
    assert code in report.problems[0]
    batch_harness.update_sandbox_settings(task_fail_code="")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_a_batch_that_fails_in_many_generations_is_halved_without_charge(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(task_fail_code="INTERNAL_ERROR")
    for _ in range(3):
        batch_harness.run_extraction()
    assert batch_harness.list_batches()[0].generation > 8
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "vendor_unavailable")}
    assert len(batch_harness.list_batches()) == 3  # the whole, and each half
    batch_harness.update_sandbox_settings(task_fail_code="")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("channel", ERROR_CHANNELS)
def test_missing_credits_stop_submissions_and_keep_all_documents(batch_harness: BatchHarness, channel: str) -> None:
    hashes = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(task_fail_code="INSUFFICIENT_CREDITS=1", task_errors=channel)
    report = batch_harness.run_extraction(batch_documents=2)
    assert batch_harness.suspension is not None
    assert (batch_harness.suspension.reason_code, batch_harness.suspension.is_problem) == ("account_stopped", True)
    assert "INSUFFICIENT_CREDITS" in report.problems[0]
    assert (
        ("extract_remote", "account_stopped")
        in batch_harness.list_document_states(*hashes)
        <= {("extract_remote", "account_stopped"), *ANSWERED}
    )
    assert {batch_harness.get_extraction(sha)["status"] for sha in hashes if batch_harness.list_extractions(sha)} <= {
        "refused",
        "answered",
    }
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_missing_credits_at_the_session_keep_all_documents(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(3)

    def fetch_overstated_balance(original_call: Any) -> Any:
        balance = original_call()
        return type(balance)(balance.credits_balance + 100, balance.credits_reserved)

    batch_harness.update_sandbox_settings(credits=2)
    batch_harness.call_overrides["fetch_balance"] = fetch_overstated_balance
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "account_stopped")}
    assert (batch_harness.count_charged_pages().total(), batch_harness.list_spent_pages()) == (0, {0})
    batch_harness.update_sandbox_settings(credits=3)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_submitted_batches_are_still_answered_when_credits_run_out(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(processing_seconds=0.5)
    submissions: list[Any] = []

    def submit_second_without_credits(original_call: Any, submission: Any) -> Any:
        submissions.append(submission)
        if len(submissions) == 2:
            batch_harness.update_sandbox_settings(task_fail_code="INSUFFICIENT_CREDITS", task_errors="as_http")
        return original_call(submission)

    batch_harness.call_overrides["submit_extraction"] = submit_second_without_credits
    report = batch_harness.run_extraction(batch_documents=2)
    assert report.answered == 2
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "account_stopped"), *ANSWERED}
    batch_harness.assert_accounts_match(*[sha for sha in hashes if batch_harness.list_document_states(sha) == ANSWERED])


@pytest.mark.parametrize("channel", ERROR_CHANNELS)
@pytest.mark.parametrize("code", ["ENCRYPTED_FILE", "FILE_PAGE_LIMIT_EXCEEDED"])
def test_only_the_named_files_fail_and_the_others_are_submitted_again(
    batch_harness: BatchHarness, code: str, channel: str
) -> None:
    bad, *good = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(task_errors=channel)
    if code == "ENCRYPTED_FILE":
        batch_harness.update_sandbox_settings(encrypted_files=bad)
    else:  # the sandbox would name all of them
        batch_harness.update_sandbox_settings(task_fail_code=f"{code}=1")
        batch_harness.call_overrides["poll_extraction"] = batch_harness.call_overrides["submit_extraction"] = (
            _build_blaming_call(bad)
        )
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*good) == ANSWERED
    assert batch_harness.list_document_states(bad) == {
        ("done", "encrypted" if code == "ENCRYPTED_FILE" else "too_many_pages")
    }
    assert batch_harness.get_extraction(bad)["status"] == "failed"
    batch_harness.assert_charged_once()


def _build_blaming_call(sha256: str) -> Any:
    """Return an override whose failures name only this file."""

    def run_and_blame_file(original_call: Any, *args: Any) -> Any:
        try:
            result = original_call(*args)
        except TaskRefused as error:
            error.error = replace(error.error, file_names=(f"{sha256}.pdf",))
            raise
        is_failed = isinstance(result, Extraction) and result.error is not None
        return replace(result, error=replace(result.error, file_names=(f"{sha256}.pdf",))) if is_failed else result

    return run_and_blame_file


@pytest.mark.parametrize("channel", ERROR_CHANNELS)
def test_a_failed_batch_without_named_files_is_halved_until_the_bad_one_is_alone(
    batch_harness: BatchHarness, channel: str
) -> None:
    hashes = batch_harness.add_documents(5)
    bad = hashes[3]
    batch_harness.call_overrides["submit_extraction"] = _build_failing_submission(bad, channel, batch_harness)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*[sha for sha in hashes if sha != bad]) == ANSWERED
    assert batch_harness.list_document_states(bad) == {("done", "no_pages")}
    batch_harness.assert_charged_once()


def _build_failing_submission(sha256: str, channel: str, batch_harness: BatchHarness) -> Any:
    """Return a submission that fails for a blank document without naming it."""
    one_at_a_time = threading.Lock()  # two batches may be submitted at once, and the setting is one for both

    def submit_with_failure(original_call: Any, submission: Any) -> Any:
        has_blank_document = sha256 in submission.file_ids
        with one_at_a_time:
            batch_harness.update_sandbox_settings(
                task_fail_code="NO_PAGES_FOUND=1" if has_blank_document else "", task_errors=channel
            )
            return original_call(submission)

    return submit_with_failure


def test_a_single_document_without_pages_goes_to_the_next_extractor(
    batch_harness: BatchHarness,
) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.has_fallback = lambda _: True
    batch_harness.update_sandbox_settings(task_fail_code="NO_PAGES_FOUND")
    report = batch_harness.run_extraction()
    assert report.passed_to_next == 1
    assert batch_harness.list_document_states(only) == {("extract_remote", "next_extractor")}
    assert batch_harness.sum_recorded_charges(only) == 0


@pytest.mark.parametrize("channel", ERROR_CHANNELS)
@pytest.mark.parametrize("code", ["PROMPT_REJECTED", "PROMPT_UNCLEAR"])
def test_a_rejected_prompt_stops_submissions_and_keeps_all_documents(
    batch_harness: BatchHarness, code: str, channel: str
) -> None:
    hashes = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(task_fail_code=code, task_errors=channel)
    report = batch_harness.run_extraction(batch_documents=2, connections=1)
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "contract_changed")}
    assert len(batch_harness.list_remote_extractions()) <= 2  # those that were submitted before the first poll
    assert code in report.problems[0]
    batch_harness.update_sandbox_settings(task_fail_code="")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_a_file_that_the_session_refuses_fails_and_the_others_are_extracted(batch_harness: BatchHarness) -> None:
    bad, *good = batch_harness.add_documents(3)

    def refuse_bad_file(original_call: Any, session_id: str, files: Any) -> Any:
        if any(file.file_id == bad for file in files):
            error = FilesRefused("400 FILE_TOO_LARGE", reason_code="document_too_large")
            error.file_ids = (bad,)
            raise error
        return original_call(session_id, files)

    batch_harness.call_overrides["open_session"] = refuse_bad_file
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*good) == ANSWERED
    assert batch_harness.list_document_states(bad) == {("done", "document_too_large")}


def test_paused_submissions_wait_for_a_later_run(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(3)
    batch_harness.update_sandbox_settings(paused_until="further notice")
    report = batch_harness.run_extraction()
    assert batch_harness.suspension is not None
    assert (batch_harness.suspension.reason_code, report.problems) == ("vendor_unavailable", [])
    assert batch_harness.client.call_counts["submit_extraction"] == 1
    assert "accepts no submissions now" in batch_harness.get_reason(hashes[0])
    batch_harness.update_sandbox_settings(paused_until="")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert len(batch_harness.read_journal()["sessions"]) == 1
    batch_harness.assert_accounts_match(*hashes)


def test_no_more_extractions_run_than_the_vendor_has_slots(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(8)
    batch_harness.update_sandbox_settings(concurrency_limit=2, processing_seconds=0.6)
    batch_harness.run_extraction(batch_documents=1, connections=3)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_an_unknown_failure_fails_the_document_and_not_the_run(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.update_sandbox_settings(task_fail_code="VALIDATION_FAILED")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(only) == {("done", "extraction_failed")}
    assert "VALIDATION_FAILED" in batch_harness.get_reason(only)
