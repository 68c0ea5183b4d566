"""Extraction with invoicedataextraction.com: each page is charged once despite lost answers and kills."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import SessionGone, SubmissionExists
from invoices.errors import ContractError, TransientError
from sandbox.process import Sandbox
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness
from tests.integration.extraction.extraction_fixtures import SimulatedKill

EXPIRED_AT = dt.datetime.now(dt.UTC) - dt.timedelta(hours=21)
STEP_COUNT = 60


@pytest.mark.parametrize("setting", ["lost_response", "http_500_after_work"])
@pytest.mark.parametrize(
    "route", ["balance", "session", "parts", "put", "complete", "submit", "status", "results"]
)  # fmt: skip
def test_a_lost_answer_is_requested_again_under_the_same_ids(
    batch_harness: BatchHarness, route: str, setting: str
) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(**{setting: f"{route}=2"})
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert len(batch_harness.list_remote_extractions()) == 1
    assert len(batch_harness.read_journal()["sessions"]) == 1
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("route", ["output", "download"])
def test_a_lost_output_is_fetched_again(batch_harness: BatchHarness, route: str) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(missing_outputs="results", lost_response=f"{route}=2")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("connections", [1, 3])
def test_a_run_killed_between_any_two_steps_is_resumed_by_the_next(
    tmp_path: Path, batch_sandbox: Sandbox, connections: int
) -> None:
    for kill_at_step in range(1, STEP_COUNT):
        batch_harness = BatchHarness(tmp_path / str(kill_at_step), batch_sandbox)
        hashes = batch_harness.add_documents(2)
        try:
            batch_harness.run_extraction(kill_at_step=kill_at_step, connections=connections)
            is_over = True
        except SimulatedKill:
            is_over = False
            batch_harness.run_extraction(connections=connections)
        assert batch_harness.list_document_states(*hashes) == ANSWERED, (kill_at_step, batch_harness.steps.step_names)
        assert len(batch_harness.list_remote_extractions()) == 1, (kill_at_step, batch_harness.steps.step_names)
        batch_harness.assert_accounts_match(*hashes, was_killed=True)
        batch_harness.ledger.close()
        if is_over:
            return
    raise AssertionError("the run has more steps than were tried")


def test_after_a_kill_between_recorded_answers_the_next_run_records_the_rest(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(201)  # 200 go into one transaction

    def kill_in_second_write(fetch_results: Any, extraction_id: str) -> Any:
        # The first transaction is committed, the second is not.
        batch_harness.steps.kill_at_step = batch_harness.steps.step_count + 2
        return fetch_results(extraction_id)

    batch_harness.call_overrides["fetch_results"] = kill_in_second_write
    with pytest.raises(SimulatedKill):
        batch_harness.run_extraction(connections=4)
    assert len(batch_harness.list_document_states(*hashes)) == 2
    batch_harness.call_overrides.clear()
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert (report.answered, report.problems) == (1, [])  # rows of documents answered before are known
    assert len(batch_harness.list_remote_extractions()) == 1
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_rows_without_a_file_name_are_not_assigned_to_the_last_open_document(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("fetch_results", after_call=False)
    _record_first_answer(batch_harness, hashes[0])
    batch_harness.call_overrides["fetch_results"] = _fetch_rows_without_files
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(hashes[1]) == ANSWERED  # its page was read, but no row names it
    assert '"rows": []' in batch_harness.get_extraction(hashes[1])["payload"]
    assert "(no file name)" in report.problems[0]


def _fetch_rows_without_files(fetch_results: Any, extraction_id: str) -> Any:
    results_page = fetch_results(extraction_id)
    rows = tuple({name: cell for name, cell in row.items() if name != "Source File"} for row in results_page.rows)
    return type(results_page)(results_page.extraction_id, results_page.columns, rows, None, True, None, ())


def _record_first_answer(batch_harness: BatchHarness, sha256: str) -> None:
    """Record the answer of one document, like a run that is killed before it records the others."""
    recorder = batch_harness.build_extractor("killed", batch_harness.steps).recorder
    with batch_harness.ledger.begin_transaction() as tx:
        recorder.record_answer_in(tx, recorder.get_extraction_id(sha256), sha256, {}, pages_charged=1)


def _run_until_killed(batch_harness: BatchHarness, call: str, documents: int = 2) -> list[str]:
    """Return the documents of a run that was killed just after this call."""
    hashes = batch_harness.add_documents(documents)
    batch_harness.run_until_killed(call)
    return hashes


def test_an_expired_upload_is_repeated_in_a_new_session(batch_harness: BatchHarness) -> None:
    hashes = _run_until_killed(batch_harness, "finish_file_upload")
    batch_harness.update_batches(opened_at=EXPIRED_AT)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert [session["id"][-2:] for session in batch_harness.read_journal()["sessions"]] == [":1", ":2"]
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_an_old_submission_is_found_in_the_list_and_adopted(batch_harness: BatchHarness) -> None:
    hashes = _run_until_killed(batch_harness, "submit_extraction")
    batch_harness.update_batches(opened_at=EXPIRED_AT)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert batch_harness.client.call_counts["submit_extraction"] == 0
    assert len(batch_harness.read_journal()["sessions"]) == 1
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_an_old_submission_that_never_arrived_is_repeated_from_a_new_session(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("submit_extraction", after_call=False)
    batch_harness.update_batches(opened_at=EXPIRED_AT)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert (len(batch_harness.read_journal()["sessions"]), len(batch_harness.list_remote_extractions())) == (2, 1)
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_a_submission_that_is_not_listed_yet_is_not_created_twice(batch_harness: BatchHarness) -> None:
    hashes = _run_until_killed(batch_harness, "submit_extraction")
    batch_harness.update_batches(opened_at=EXPIRED_AT)
    batch_harness.call_overrides["list_extractions"] = lambda _original_call, **_kwargs: iter(())
    batch_harness.run_extraction()  # uploads again, submits under the same id, and gets the existing extraction
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert len(batch_harness.list_remote_extractions()) == 1
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


@pytest.mark.parametrize(
    ("error", "reason_code"), [(TransientError, "vendor_unavailable"), (ContractError, "contract_changed")]
)
def test_an_old_submission_waits_for_a_later_run_if_the_list_is_unavailable(
    batch_harness: BatchHarness, error: type[Exception], reason_code: str
) -> None:
    hashes = _run_until_killed(batch_harness, "submit_extraction")
    batch_harness.update_batches(opened_at=EXPIRED_AT)

    def raise_list_error(_original_call: Any, **_kwargs: Any) -> Any:
        raise error("no list")

    batch_harness.call_overrides["list_extractions"] = raise_list_error
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", reason_code)}
    assert batch_harness.client.call_counts["submit_extraction"] == 0
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_an_existing_submission_id_is_adopted(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)

    def raise_submission_exists(original_call: Any, submission: Any) -> Any:
        error = SubmissionExists("409")
        error.extraction_id = original_call(submission)
        raise error

    batch_harness.call_overrides["submit_extraction"] = raise_submission_exists
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_an_upload_session_of_other_files_is_replaced_by_a_new_one(batch_harness: BatchHarness) -> None:
    hashes = _run_until_killed(batch_harness, "open_session", documents=3)
    (batch_harness.store.get_path(hashes[0])).unlink()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes[1:]) == ANSWERED
    assert batch_harness.list_document_states(hashes[0]) != ANSWERED
    batch_harness.assert_accounts_match(*hashes[1:], was_killed=True)


def test_concurrent_uploads_of_a_lost_session_open_one_new_session(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(4)
    session_ids: list[str] = []
    barrier = threading.Barrier(4)

    def raise_session_gone(original_call: Any, session_id: str, *args: Any) -> Any:
        if session_id.endswith(":1"):
            session_ids.append(session_id)
            barrier.wait(10)
            raise SessionGone("409")
        return original_call(session_id, *args)

    batch_harness.call_overrides["request_part_urls"] = raise_session_gone
    batch_harness.run_extraction(connections=5)
    assert len(session_ids) == 4
    assert [session["id"][-2:] for session in batch_harness.read_journal()["sessions"]] == [":1", ":2"]
    assert batch_harness.list_document_states(*hashes) == ANSWERED
