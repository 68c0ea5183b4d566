"""Extraction with BillflowAI: refusals, limits and retries, and documents that the vendor fetches by URL."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from invoices.clients.presigned_urls import is_valid_presigned_request
from invoices.errors import ConfigurationError
from invoices.extraction.billflowai import build_url_signer
from invoices.extraction.resilience.rate_limit import RateWindow
from sandbox.process import Sandbox, start_sandbox
from tests.integration.extraction.billflowai_fixtures import BillflowAiRunner
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    LOST_RESPONSE,
    ONE_PAGE_PDFS,
    VENDOR_MINUTE_SECONDS,
    ExtractionHarness,
    SharedRateLimit,
    VendorProxy,
    build_unknown_pdfs,
    get_totals,
)
from tests.servers.scripted_http_server import Response

SECRET = "s" * 32
INVOICE_RESPONSE = {"invoice_number": "R-1", "total": 119.1, "meta": {"source": "extracted", "invoiceId": "i-1"}}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with a shorter minute."""
    # Shorter than our minute, so that the delays of a busy machine do not count as too many calls.
    minute_seconds = VENDOR_MINUTE_SECONDS / 2
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=minute_seconds) as running_sandbox:
        yield running_sandbox


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> BillflowAiRunner:
    """A new account without documents."""
    return BillflowAiRunner(harness, proxy)


def build_error_response(code: str, status: int, **headers: str) -> Response:
    """Return an error response of the vendor."""
    return Response.from_json({"error": {"code": code, "message": "no"}}, status, **headers)


def test_an_unreadable_document_is_submitted_twice_and_costs_nothing(runner: BillflowAiRunner) -> None:
    runner.update_sandbox_settings(read_strangers=False)
    unreadable, sound = runner.harness.add_documents(*build_unknown_pdfs(1), ONE_PAGE_PDFS[0])
    report = runner.run_extraction()
    assert runner.harness.get_document_state(unreadable) == ("done", "quarantined", "extraction_failed")
    assert (runner.harness.get_document_state(sound), runner.list_charged_documents()) == (ANSWERED, [sound])
    assert (runner.count_requests(), get_totals(report), report.quarantined) == (3, (1, 1, 1), 1)
    assert (runner.harness.get_extraction(unreadable)["pages_charged"], runner.harness.concluded_count) == (0, 2)


def test_a_document_that_is_read_at_the_second_attempt_is_answered(runner: BillflowAiRunner) -> None:
    runner.update_sandbox_settings(fail_code="EXTRACTION_FAILED=1")
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    job = runner.harness.get_extraction(sha)
    assert (runner.harness.get_document_state(sha), job["possible_double_charge"], runner.list_charged_documents()) == (
        ANSWERED,
        False,
        [sha],
    )


def test_the_second_attempt_comes_after_other_documents(runner: BillflowAiRunner) -> None:
    runner.update_sandbox_settings(fail_code="EXTRACTION_FAILED=1")
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:4])
    runner.run_extraction()
    assert runner.list_charged_documents() == [*hashes[1:], hashes[0]]


@pytest.mark.parametrize("connections", [1, 4])
def test_a_used_up_quota_suspends_the_vendor_at_once(runner: BillflowAiRunner, connections: int) -> None:
    runner.update_sandbox_settings(quota_total=2)
    runner.options = {"connections": connections}
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:8])
    report = runner.run_extraction()
    assert len(runner.list_charged_documents()) == 2
    assert runner.count_requests() <= 2 + connections
    still_waiting = [sha for sha in hashes if sha not in runner.list_charged_documents()]
    assert runner.harness.list_document_states(still_waiting) == {("extract_remote", "waiting", "account_stopped")}
    (problem,) = report.problems
    assert "BillflowAI refuses the account" in problem
    assert "QUOTA_EXCEEDED" in problem
    runner.update_sandbox_settings(quota_total=0)
    runner.run_extraction()
    assert sorted(runner.list_charged_documents()) == sorted(hashes)


@pytest.mark.parametrize("form", ["absent", "seconds", "http_date"])
def test_the_vendors_minute_is_respected_in_each_header_format(runner: BillflowAiRunner, form: str) -> None:
    runner.update_sandbox_settings(rate_limit_per_minute=6, retry_after=form)
    runner.shared_rate_limit = SharedRateLimit((RateWindow(6, 60),))
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:10])
    runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert (sorted(runner.list_charged_documents()), runner.count_requests()) == (sorted(hashes), 10)


@pytest.mark.parametrize("wait", [None, "0", "abc", "-5", "Mon, 01 Jan 2001 00:00:00 GMT", "1800", "36000", "date"])
def test_a_429_is_respected_in_each_format_and_leaves_nothing_to_recover(
    runner: BillflowAiRunner, proxy: VendorProxy, wait: str | None
) -> None:
    later = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True)
    headers = {} if wait is None else {"Retry_After": later if wait == "date" else wait}
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("submit", build_error_response("RATE_LIMITED", 429, **headers))
    report = runner.run_extraction()
    if wait in ("1800", "36000", "date"):
        assert (runner.harness.get_document_state(sha), report.problems) == (
            ("extract_remote", "waiting", "rate_limited"),
            [],
        )
        runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.list_charged_documents()) == (ANSWERED, [sha])
    assert not runner.harness.get_extraction(sha)["possible_double_charge"]


def test_no_call_follows_when_the_vendor_reports_that_none_is_left(
    runner: BillflowAiRunner, proxy: VendorProxy
) -> None:
    later = str(int(dt.datetime.now(dt.UTC).timestamp()) + 1800)
    response = Response.from_json(INVOICE_RESPONSE, 200, X_RateLimit_Remaining="0", X_RateLimit_Reset=later)
    first, second = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    proxy.plan_events("submit", response)
    report = runner.run_extraction()
    assert (runner.harness.get_document_state(first), runner.harness.get_document_state(second)[2]) == (
        ANSWERED,
        "rate_limited",
    )
    assert (proxy.count_calls("submit"), report.problems) == (1, [])


def test_an_unavailable_gateway_is_retried_and_then_suspended(runner: BillflowAiRunner, proxy: VendorProxy) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    proxy.plan_events("submit", Response(503), repeat=40)
    report = runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "vendor_unavailable")}
    assert proxy.count_calls("submit") <= 13
    assert report.problems
    assert not any(
        runner.harness.get_extraction(sha)["possible_double_charge"]
        for sha in hashes
        if runner.harness.list_extractions(sha)
    )


def test_a_refused_document_is_quarantined_without_charge(runner: BillflowAiRunner) -> None:
    bad, good = runner.harness.add_documents(b"no PDF at all", ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert runner.harness.get_document_state(bad) == ("done", "quarantined", "request_refused")
    assert (runner.harness.get_document_state(good), runner.list_charged_documents()) == (ANSWERED, [good])


def test_a_vendor_with_a_changed_api_is_suspended(runner: BillflowAiRunner, proxy: VendorProxy) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    proxy.plan_events("submit", Response(404))
    runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "contract_changed")}
    assert proxy.count_calls("submit") == 1


def test_a_cap_is_never_exceeded_and_the_rest_waits(runner: BillflowAiRunner) -> None:
    runner.harness.set_caps(day=2)
    runner.options = {"connections": 4}
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:6])
    report = runner.run_extraction()
    assert len(runner.list_charged_documents()) == 2
    still_waiting = [sha for sha in hashes if sha not in runner.list_charged_documents()]
    assert runner.harness.list_document_states(still_waiting) == {("extract_remote", "waiting", "cap_reached")}
    assert len(report.remarks) == 1


def test_free_answers_do_not_count_against_the_cap(runner: BillflowAiRunner) -> None:
    runner.update_sandbox_settings(source="cache")
    runner.harness.set_caps(day=1)
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    runner.run_extraction()
    assert (runner.harness.list_document_states(hashes), runner.list_charged_documents()) == ({ANSWERED}, [])


# Documents fetched by URL


def submit_by_url(runner: BillflowAiRunner) -> BillflowAiRunner:
    runner.options = {"sign_document_url": build_url_signer("https://documents.example.org", SECRET)}
    return runner


def test_the_vendor_gets_a_valid_url_that_expires_after_some_minutes(
    runner: BillflowAiRunner, proxy: VendorProxy
) -> None:
    (sha,) = submit_by_url(runner).harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("fetch", Response.from_json(INVOICE_RESPONSE))
    report = runner.run_extraction()
    assert (runner.harness.get_document_state(sha), get_totals(report)) == (ANSWERED, (1, 1, 1))
    url = urlsplit(json.loads(proxy.get_last_request("fetch").body)["file_url"])
    now = dt.datetime.now(dt.UTC)
    assert (url.hostname, sha in url.path) == ("documents.example.org", True)
    assert is_valid_presigned_request(url.path, url.query, SECRET, now + dt.timedelta(minutes=5))
    assert not is_valid_presigned_request(url.path, url.query, SECRET, now + dt.timedelta(minutes=30))


@pytest.mark.parametrize("code", ["FETCH_FAILED", "INVALID_URL"])
def test_a_document_that_cannot_be_fetched_is_uploaded(runner: BillflowAiRunner, proxy: VendorProxy, code: str) -> None:
    submit_by_url(runner).update_sandbox_settings(fail_code=f"{code}=1")
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    report = runner.run_extraction()
    assert (proxy.count_calls("fetch"), proxy.count_calls("submit"), runner.list_charged_documents()) == (1, 1, [sha])
    assert not runner.harness.get_extraction(sha)["possible_double_charge"]
    assert (runner.harness.get_document_state(sha), get_totals(report)) == (ANSWERED, (1, 1, 1))


def test_an_upload_after_a_url_waits_for_the_rate_limit(runner: BillflowAiRunner) -> None:
    submit_by_url(runner).update_sandbox_settings(fail_code="FETCH_FAILED=1", rate_limit_per_minute=1)
    runner.shared_rate_limit = SharedRateLimit((RateWindow(1, 60),))
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED
    assert "429" not in str(runner.harness.sandbox.read_journal(runner.api_key)["answers"])


def test_an_upload_after_a_url_may_still_be_repeated_once(runner: BillflowAiRunner, proxy: VendorProxy) -> None:
    submit_by_url(runner).update_sandbox_settings(fail_code="FETCH_FAILED=1")
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("submit", LOST_RESPONSE)
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.list_charged_documents()) == (ANSWERED, [sha])
    assert runner.harness.get_extraction(sha)["possible_double_charge"]


def test_a_lost_answer_to_a_url_is_repeated_once(runner: BillflowAiRunner, proxy: VendorProxy) -> None:
    (sha,) = submit_by_url(runner).harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("fetch", Response(500), Response.from_json(INVOICE_RESPONSE))
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), proxy.count_calls("fetch"), proxy.count_calls("submit")) == (
        ANSWERED,
        2,
        0,
    )
    assert runner.harness.get_extraction(sha)["possible_double_charge"]


@pytest.mark.parametrize(
    ("base_url", "secret"),
    [
        ("http://documents.example.org", SECRET),
        ("https://10.0.0.1", SECRET),
        ("https://documents.example.org", "short"),
    ],
)
def test_unusable_document_urls_raise_a_configuration_error(base_url: str, secret: str) -> None:
    with pytest.raises(ConfigurationError):
        build_url_signer(base_url, secret)
