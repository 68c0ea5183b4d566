"""Extraction with invoicedataextraction.com: rate limits, refused keys, expired URLs, and the frequency of polls."""

from __future__ import annotations

import time
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import ExpiredUrl, PartRefused, SessionGone
from invoices.errors import AccountError, TransientError
from invoices.extraction.resilience.rate_limit import RateWindow
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness
from tests.integration.extraction.extraction_fixtures import VENDOR_MINUTE_SECONDS

CALL_BY_GROUP = {
    "upload": "request_part_urls", "submit": "submit_extraction", "balance": "fetch_balance", "poll": "poll_extraction",
    "results": "fetch_results", "list": "list_extractions", "download": "fetch_output_rows",
}  # fmt: skip


@pytest.mark.parametrize("retry_after", ["present", "absent", "http_date"])
@pytest.mark.parametrize("body", ["json", "html"])
def test_the_vendors_rate_limit_is_waited_for(batch_harness: BatchHarness, retry_after: str, body: str) -> None:
    hashes = batch_harness.add_documents(4)
    batch_harness.time_scale = 0.05  # a maximum wait above the whole second of a header
    batch_harness.update_sandbox_settings(limits="upload=5", retry_after=retry_after, rate_limit_body=body)
    for _ in range(5):  # without a header the wait is a guess
        batch_harness.run_extraction()
        if retry_after != "absent" or batch_harness.list_document_states(*hashes) == ANSWERED:
            break
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("group", CALL_BY_GROUP)
def test_a_429_is_respected_in_each_route_group(batch_harness: BatchHarness, group: str) -> None:
    hashes = batch_harness.add_documents(2)
    call_times: list[float] = []

    def raise_rate_limited(original_call: Any, *args: Any, **kwargs: Any) -> Any:
        call_times.append(time.monotonic())
        if len(call_times) == 1:
            raise TransientError("429", retry_after=0.3)
        return original_call(*args, **kwargs)

    batch_harness.call_overrides[CALL_BY_GROUP[group]] = raise_rate_limited
    if group == "list":
        batch_harness.call_overrides["submit_extraction"] = _build_session_gone_once()
    if group == "download":
        batch_harness.update_sandbox_settings(missing_outputs="results")
    batch_harness.run_extraction()
    assert call_times[1] - call_times[0] >= 0.3
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def _build_session_gone_once() -> Any:
    attempts: list[int] = []

    def submit_or_fail(original_call: Any, submission: Any) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise SessionGone("409")
        return original_call(submission)

    return submit_or_fail


def test_a_wait_above_the_maximum_defers_documents_to_a_later_run(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(3)

    def raise_rate_limited(_original_call: Any, *_args: Any) -> Any:
        raise TransientError("429", retry_after=36_000.0)

    batch_harness.call_overrides["submit_extraction"] = raise_rate_limited
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "rate_limited")}
    assert batch_harness.client.call_counts["submit_extraction"] == 1
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED


@pytest.mark.parametrize(
    "call",
    [
        "fetch_balance",
        "open_session",
        "request_part_urls",
        "finish_file_upload",
        "submit_extraction",
        "poll_extraction",
        "fetch_results",
    ],
)
@pytest.mark.parametrize("state", ["expired", "revoked"])
def test_a_key_refused_in_mid_batch_stops_the_run_and_keeps_all_documents(
    batch_harness: BatchHarness, call: str, state: str
) -> None:
    hashes = batch_harness.add_documents(3)

    def refuse_call(original_call: Any, *args: Any, **kwargs: Any) -> Any:
        batch_harness.update_sandbox_settings(key_state=state)
        return original_call(*args, **kwargs)

    batch_harness.call_overrides[call] = refuse_call
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "account_stopped")}
    assert "refuses the account" in report.problems[0]
    batch_harness.call_overrides.clear()
    batch_harness.update_sandbox_settings(key_state="valid")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_unsubmitted_documents_are_released_when_the_account_is_refused(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(2)

    def refuse_call(_original_call: Any, *_args: Any) -> Any:
        raise AccountError("403 FORBIDDEN")

    batch_harness.call_overrides["finish_file_upload"] = refuse_call
    batch_harness.run_extraction()
    assert {batch_harness.get_extraction(sha256)["status"] for sha256 in hashes} == {"refused"}
    assert batch_harness.list_spent_pages() == {0}


def test_an_outage_costs_a_few_calls(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(6)
    batch_harness.update_sandbox_settings(http_500_every=1)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) in (
        {("extract_remote", "vendor_unavailable")},
        {("extract_remote", "rate_limited")},
    )
    assert sum(batch_harness.client.call_counts.values()) <= 12
    batch_harness.update_sandbox_settings(http_500_every=0)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_an_expired_upload_url_is_requested_again(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(put_expiry=0)
    urls = 0

    def renew_url(original_call: Any, *args: Any) -> Any:
        nonlocal urls
        urls += 1
        if urls > 2:
            batch_harness.update_sandbox_settings(put_expiry=60)
        return original_call(*args)

    batch_harness.call_overrides["request_part_urls"] = renew_url
    batch_harness.run_extraction(connections=1)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_a_document_whose_urls_always_expire_waits_and_the_others_continue(batch_harness: BatchHarness) -> None:
    bad, *good = batch_harness.add_documents(3)

    def upload_or_expire(original_call: Any, url: str, content: bytes) -> Any:
        if content == batch_harness.store.read(bad):
            raise ExpiredUrl("403")
        return original_call(url, content)

    batch_harness.call_overrides["upload_part"] = upload_or_expire
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*good) == ANSWERED
    assert batch_harness.list_document_states(bad) == {("extract_remote", "vendor_unavailable")}
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(bad) == ANSWERED
    batch_harness.assert_accounts_match(bad, *good)


def test_a_part_whose_etag_is_refused_is_uploaded_again(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    e_tags: list[str] = []

    def upload_with_wrong_etag_once(original_call: Any, url: str, content: bytes) -> Any:
        tag = original_call(url, content)
        e_tags.append(tag)
        return '"' + "0" * 32 + '"' if len(e_tags) == 1 else tag

    batch_harness.call_overrides["upload_part"] = upload_with_wrong_etag_once
    batch_harness.run_extraction()
    assert len(e_tags) == 3
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_a_document_whose_parts_are_always_damaged_waits_without_charge(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)

    def refuse_call(_original_call: Any, *_args: Any) -> Any:
        raise PartRefused("400 INVALID_COMPLETION_PARTS")

    batch_harness.call_overrides["finish_file_upload"] = refuse_call
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(only) == {("extract_remote", "vendor_unavailable")}
    assert (batch_harness.get_extraction(only)["status"], batch_harness.list_spent_pages()) == ("refused", {0})


def test_the_output_is_fetched_from_a_new_url_after_one_has_expired(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.update_sandbox_settings(missing_outputs="results", download_expiry=0)
    tries: list[int] = []

    def renew_url(original_call: Any, *args: Any) -> Any:
        tries.append(1)
        if len(tries) == 3:
            batch_harness.update_sandbox_settings(download_expiry=60)
        return original_call(*args)

    batch_harness.call_overrides["fetch_output_rows"] = renew_url
    batch_harness.run_extraction()
    assert len(tries) == 3
    assert batch_harness.list_document_states(only) == ANSWERED


def test_a_vendor_without_long_polls_is_not_polled_more_often(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(wait_supported="off", processing_seconds=1.0)
    started_at = time.monotonic()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    pause = 5.0 * VENDOR_MINUTE_SECONDS / 60
    assert batch_harness.client.call_counts["poll_extraction"] <= (time.monotonic() - started_at) / pause + 2


def test_a_long_poll_ends_when_the_answer_is_there(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.update_sandbox_settings(processing_seconds=0.4)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert batch_harness.client.call_counts["poll_extraction"] <= 2


def test_there_are_no_long_polls_while_other_work_waits(batch_harness: BatchHarness) -> None:
    batch_harness.add_documents(10)
    batch_harness.update_sandbox_settings(processing_seconds=0.3)
    hold_times: list[int | None] = []

    def poll_and_record_wait(original_call: Any, extraction_id: str, hold_seconds: int | None = None) -> Any:
        hold_times.append(hold_seconds)
        return original_call(extraction_id, hold_seconds)

    batch_harness.call_overrides["poll_extraction"] = poll_and_record_wait
    batch_harness.run_extraction(batch_documents=1, connections=1)
    assert {None, 1} == set(hold_times)


def test_no_route_group_is_called_more_often_than_allowed(batch_harness: BatchHarness) -> None:
    batch_harness.time_scale = 0.02  # twice the vendor's minute, so that a busy machine does not matter
    batch_harness.rate_windows = {**batch_harness.rate_windows, "upload": (RateWindow(10, 60),)}
    batch_harness.update_sandbox_settings(limits="upload=10")
    hashes = batch_harness.add_documents(8)
    for _ in range(3):
        batch_harness.run_extraction(connections=4)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert not [route for route, by_status in batch_harness.read_journal()["answers"].items() if "429" in by_status]


def test_the_sandbox_never_refuses_a_call(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(30)
    batch_harness.update_sandbox_settings(processing_seconds=0.2)
    batch_harness.run_extraction(batch_documents=3, connections=4)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert not [route for route, by_status in batch_harness.read_journal()["answers"].items() if "429" in by_status]
    batch_harness.assert_accounts_match(*hashes)
