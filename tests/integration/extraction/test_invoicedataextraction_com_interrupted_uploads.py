"""Interrupted uploads: whatever file a run was killed at, the next one continues and charges each page once."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import SessionGone, SubmissionExists
from invoices.errors import ContractError, TransientError
from invoices.extraction.batches.batch_poller import MIN_POLL_SECONDS
from sandbox.process import Sandbox
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness
from tests.integration.extraction.extraction_fixtures import TIME_SCALE, SimulatedKill
from tests.sweep_size import spread

FILE_COUNT = 14
CONNECTIONS = 4
READ_ROUTES = ("balance", "status", "results", "output", "download", "list", "parts", "session", "complete", "submit")
VENDOR_PREFIX = "/invoicedataextraction_com"
PARTS_ROUTE = f"POST {VENDOR_PREFIX}/v1/uploads/sessions/{{upload_session_id}}/parts"
PUT_ROUTE = f"PUT {VENDOR_PREFIX}/storage/uploads/{{file}}/{{part}}"


class KillAtCall:
    """Kills the run at the n-th call of a name, before or after the vendor has done its work."""

    def __init__(self, number: int, *, is_after: bool) -> None:
        self._number, self._is_after, self._lock = number, is_after, threading.Lock()
        self._calls = 0

    def __call__(self, original_call: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._calls += 1
            is_fatal = self._calls >= self._number
        if is_fatal and not self._is_after:
            raise SimulatedKill
        result = original_call(*args, **kwargs)
        if is_fatal:
            raise SimulatedKill
        return result


def count_answers(batch_harness: BatchHarness, route: str) -> Counter[str]:
    """Return the vendor's answers to the calls of a route, counted by status."""
    return Counter(batch_harness.read_journal()["answers"].get(route, {}))


KILL_POINTS = [
    (call, number, is_after)
    for call in ("request_part_urls", "upload_part", "finish_file_upload")
    for number in range(1, FILE_COUNT + 1)
    for is_after in (False, True)
]


@pytest.mark.sweep
def test_an_upload_that_was_killed_at_any_file_is_continued_at_once(tmp_path: Path, batch_sandbox: Sandbox) -> None:
    for index, (call, number, is_after) in enumerate(spread(KILL_POINTS, 4)):
        batch_harness = BatchHarness(tmp_path / str(index), batch_sandbox)
        batch_harness.call_overrides[call] = KillAtCall(number, is_after=is_after)
        hashes = batch_harness.add_documents(FILE_COUNT)
        with pytest.raises(SimulatedKill):
            batch_harness.run_extraction(connections=CONNECTIONS)
        batch_harness.call_overrides.clear()
        new_hashes = batch_harness.add_documents(2)
        report = batch_harness.run_extraction(connections=CONNECTIONS)
        case = (call, number, is_after)
        assert batch_harness.list_document_states(*hashes, *new_hashes) == ANSWERED, case
        assert (batch_harness.suspension, report.problems) == (None, []), case
        assert_uploaded_once(batch_harness, FILE_COUNT + 2, interrupted=CONNECTIONS, case=case)
        batch_harness.assert_accounts_match(*hashes, *new_hashes, was_killed=True)
        batch_harness.ledger.close()


def assert_uploaded_once(batch_harness: BatchHarness, file_count: int, *, interrupted: int, case: object) -> None:
    """Check that only files whose upload was interrupted were stored again, and that no session was replaced."""
    assert file_count <= count_answers(batch_harness, PUT_ROUTE)["200"] <= file_count + interrupted, case
    assert {session["id"][-2:] for session in batch_harness.read_journal()["sessions"]} == {":1"}, case
    assert len(batch_harness.list_remote_extractions()) == 2, case


def test_thirty_uploaded_files_are_no_failure_of_the_vendor(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(30)
    batch_harness.call_overrides["finish_file_upload"] = KillAtCall(30, is_after=True)
    with pytest.raises(SimulatedKill):
        batch_harness.run_extraction(connections=1)
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction(connections=CONNECTIONS)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert count_answers(batch_harness, PARTS_ROUTE) == {"200": 30, "409": 30}
    assert count_answers(batch_harness, PUT_ROUTE) == {"200": 30}


@pytest.mark.parametrize("route", READ_ROUTES)
def test_a_garbled_answer_with_status_200_is_requested_again(batch_harness: BatchHarness, route: str) -> None:
    hashes = batch_harness.add_documents(3)
    batch_harness.update_sandbox_settings(
        garbled_response=f"{route}=3", missing_outputs="results" if route in ("output", "download") else ""
    )
    if route == "list":
        batch_harness.run_until_killed("submit_extraction")
        batch_harness.update_batches(opened_at=dt.datetime.now(dt.UTC) - dt.timedelta(hours=21))
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert (batch_harness.suspension, report.problems) == (None, [])
    assert len(batch_harness.list_remote_extractions()) == 1
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_a_garbled_status_after_the_deadline_loses_no_paid_answer(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("poll_extraction", after_call=False)
    batch_harness.update_sandbox_settings(garbled_response="status=2")
    batch_harness.run_extraction(deadline_minutes=0.0)
    assert batch_harness.list_document_states(*hashes) == ANSWERED


# One batch that cannot go on


def fail_batch_of(batch_harness: BatchHarness, sha256: str, call: str, error: Exception) -> None:
    """Make a call fail for the batch of one document."""

    def raise_error(original_call: Any, first: Any, *args: Any, **kwargs: Any) -> Any:
        batch_id = batch_harness.get_extraction(sha256)["batch_id"]
        remote_id = batch_harness.get_extraction(sha256)["remote_id"]
        if batch_id in repr(first) or (remote_id is not None and remote_id in repr(first)):
            raise error
        return original_call(first, *args, **kwargs)

    batch_harness.call_overrides[call] = raise_error


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("open_session", SessionGone("409")),
        ("request_part_urls", SessionGone("404")),
        ("request_part_urls", ContractError("its body is no JSON")),
        ("finish_file_upload", TransientError("502")),
        ("submit_extraction", SubmissionExists("409, without the id of the extraction")),
        ("submit_extraction", ContractError("its body is no JSON")),
        ("submit_extraction", TransientError("500")),
        ("poll_extraction", ContractError("its body is no JSON")),
        ("poll_extraction", TransientError("500")),
    ],
)
def test_a_batch_that_cannot_go_on_holds_no_other(batch_harness: BatchHarness, call: str, error: Exception) -> None:
    (bad,) = batch_harness.add_documents(1)
    fail_batch_of(batch_harness, bad, call, error)
    batch_harness.run_extraction()
    for _ in range(2):  # the second run begins with the old batch
        good = batch_harness.add_documents(3)
        report = batch_harness.run_extraction(batch_documents=1)
        assert batch_harness.list_document_states(*good) == ANSWERED
        assert batch_harness.list_document_states(bad) < {
            ("extract_remote", "vendor_unavailable"),
            ("extract_remote", "contract_changed"),
        }
        assert (batch_harness.suspension, len(report.problems)) == (None, 1)
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(bad) == ANSWERED
    batch_harness.assert_charged_once()


def test_one_refused_prompt_holds_no_other_batch(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(4)
    batch_harness.update_sandbox_settings(task_fail_code="PROMPT_REJECTED=1")
    batch_harness.run_extraction(batch_documents=1, connections=1)
    assert batch_harness.list_document_states(*hashes) == ANSWERED | {("extract_remote", "contract_changed")}
    assert len(batch_harness.read_journal()["charges"]) == 3
    batch_harness.run_extraction(batch_documents=1)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_charged_once()


# Waits


def test_a_storage_that_requests_a_long_wait_gets_no_call_before_its_end(batch_harness: BatchHarness) -> None:
    batch_harness.add_documents(1)
    batch_harness.run_until_killed("poll_extraction", after_call=False)
    hashes = batch_harness.add_documents(3)
    batch_harness.update_sandbox_settings(put_busy_seconds=5)  # far more than 65 of the vendor's seconds
    report = batch_harness.run_extraction(connections=1)
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "rate_limited")}
    assert count_answers(batch_harness, PUT_ROUTE) == {"200": 1, "503": 1}
    assert (report.answered, report.problems) == (1, [])  # the submitted batch is answered
    batch_harness.update_sandbox_settings(put_busy_seconds=0)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_polls_after_errors_keep_their_distance(batch_harness: BatchHarness) -> None:
    batch_harness.time_scale = 5 * TIME_SCALE
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(processing_polls=4, http_500_after_work="status=2", wait_supported="off")
    sent_at: list[float] = []

    def record_time(original_call: Any, *args: Any) -> Any:
        sent_at.append(time.monotonic())
        return original_call(*args)

    batch_harness.call_overrides["poll_extraction"] = record_time
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent_at)]
    assert (len(gaps), min(gaps) >= MIN_POLL_SECONDS * batch_harness.time_scale) == (4, True)
