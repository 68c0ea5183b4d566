"""Extraction with smartbills.com: rate limits, refusals, failures, suspension, and caps."""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Iterator

import pytest

from invoices.extraction.resilience.rate_limit import RateWindow
from invoices.extraction.smartbills_com import RATE_WINDOWS_BY_PLAN
from sandbox.process import Sandbox, start_sandbox
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    ONE_PAGE_PDFS,
    TWO_PAGE_PDF,
    VENDOR_MINUTE_SECONDS,
    ExtractionHarness,
    ReplaceResponse,
    SharedRateLimit,
    VendorProxy,
)
from tests.integration.extraction.smartbills_com_fixtures import SmartBillsRunner
from tests.servers.scripted_http_server import Response


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with a shorter minute."""
    # Shorter than our minute, so that the delays of a busy machine do not count as too many calls.
    minute_seconds = VENDOR_MINUTE_SECONDS / 2
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=minute_seconds) as running_sandbox:
        yield running_sandbox


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> SmartBillsRunner:
    """A new account without documents."""
    return SmartBillsRunner(harness, proxy)


def test_a_429_with_a_wait_is_respected_and_retried(runner: SmartBillsRunner) -> None:
    sleeps: list[float] = []
    runner.options = {"sleep": sleeps.append}
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", Response(429, headers=build_reset_headers(seconds=0.5)))
    runner.run_extraction()
    assert 0.1 < max(sleeps) <= 0.5
    assert (runner.list_charged_documents(), runner.harness.get_extraction(sha)["possible_double_charge"]) == (
        [sha],
        False,
    )


@pytest.mark.parametrize("headers", [{"Retry-After": "1800"}, {"X-RateLimit-Reset": "4000000000"}])
def test_a_wait_above_the_maximum_defers_the_documents_without_a_problem(
    runner: SmartBillsRunner, headers: dict[str, str]
) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.plan_events("submit", Response(429, headers=headers))
    report = runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "rate_limited")}
    assert (report.problems, runner.list_charged_documents(), runner.proxy.count_calls("submit")) == ([], [], 1)


def test_a_poll_that_has_to_wait_leaves_the_submitted_document_waiting(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("poll", Response(429, headers={"Retry-After": "3000"}))
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("extract_remote", "waiting", "rate_limited")
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.list_charged_documents()) == (ANSWERED, [sha])


@pytest.mark.parametrize("retry_after", ["absent", "seconds"])
def test_the_plans_rate_limit_is_never_exceeded(runner: SmartBillsRunner, retry_after: str) -> None:
    runner.update_sandbox_settings(plan="free", rate_limits=True, retry_after_on_429=retry_after)
    runner.shared_rate_limit = SharedRateLimit(RATE_WINDOWS_BY_PLAN["free"])
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:8])
    runner.run_until_nothing_waits()
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert "429" not in count_statuses(runner)
    assert runner.list_charged_documents() == hashes


@pytest.mark.parametrize("encoding", ["epoch_seconds", "epoch_ms", "iso8601", "http_date"])
def test_the_reported_remaining_calls_take_precedence_over_our_own_count(
    runner: SmartBillsRunner, encoding: str
) -> None:
    runner.update_sandbox_settings(plan="free", rate_limits=True, reset_encoding=encoding)
    runner.options = {"sleep": lambda _: None}  # our limit is far above the plan: only the vendor's response stops us
    runner.harness.add_documents(*ONE_PAGE_PDFS[:8])
    runner.run_extraction()
    assert count_statuses(runner).get("429", 0) == 0
    assert sum(count_statuses(runner).values()) >= 10


def test_a_wrong_clock_of_the_vendor_does_not_matter_when_no_call_is_left(runner: SmartBillsRunner) -> None:
    behind = dt.datetime.now(dt.UTC) - dt.timedelta(hours=5)
    rate_limit_headers = {
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(behind.timestamp()) + 1800),
        "Date": email.utils.format_datetime(behind, usegmt=True),
    }
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.set_event_rule(
        "poll", lambda request: Response.from_json(build_processing_body(request.path), 200, **rate_limit_headers)
    )
    runner.run_extraction()
    assert runner.suspension is not None
    assert runner.suspension.reason_code == "rate_limited"
    assert runner.proxy.count_calls("poll") == 1
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "rate_limited")}


def test_a_used_up_plan_suspends_the_vendor(runner: SmartBillsRunner) -> None:
    runner.shared_rate_limit = SharedRateLimit([RateWindow(4, 3600)])
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:6])
    runner.run_extraction()
    assert sum(count_statuses(runner).values()) == 4
    assert len(set(runner.list_charged_documents())) == len(runner.list_charged_documents())
    assert {state for _, state, _ in runner.harness.list_document_states(hashes)} == {"waiting"}


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_account_suspends_the_vendor_and_documents_wait(runner: SmartBillsRunner, status: int) -> None:
    runner.update_sandbox_settings(processing_seconds=60)
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    runner.proxy.plan_events("submit", None, Response(status))
    report = runner.run_extraction()
    assert runner.proxy.count_calls("submit") == 2
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "account_stopped")}
    (problem,) = report.problems
    assert str(status) in problem
    runner.update_sandbox_settings(processing_seconds=0)
    runner.run_extraction()
    assert runner.list_charged_documents() == hashes


def test_a_vendor_that_is_down_is_suspended_after_a_few_attempts(runner: SmartBillsRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:4])
    runner.proxy.plan_events("submit", Response(429), repeat=50)
    report = runner.run_extraction()
    assert runner.proxy.count_calls("submit") <= 13
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "vendor_unavailable")}
    assert (runner.list_charged_documents(), bool(report.problems)) == ([], True)


def test_successes_in_between_reset_earlier_failures(runner: SmartBillsRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    runner.proxy.plan_events("submit", Response(429), Response(429), None, repeat=3)
    runner.run_extraction()
    assert runner.list_charged_documents() == hashes


def test_a_vendor_that_fails_every_fifth_call_is_still_used(runner: SmartBillsRunner) -> None:
    runner.update_sandbox_settings(http_500_every=5)
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:8])
    runner.run_until_nothing_waits()
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert sorted(set(runner.list_charged_documents())) == sorted(hashes)
    assert len(runner.list_charged_documents()) == 8  # a 500 without work is looked up, found missing, and repeated


def test_a_vendor_that_refuses_submissions_unexpectedly_is_suspended_until_the_next_run(
    runner: SmartBillsRunner,
) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    for _ in range(3):
        runner.proxy.plan_events("submit", Response(404))
        report = runner.run_extraction()
        assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "contract_changed")}
        assert len(report.problems) == 1
    runner.run_extraction()
    assert runner.list_charged_documents() == hashes
    assert not any(runner.harness.get_extraction(sha)["possible_double_charge"] for sha in hashes)


# Caps


@pytest.mark.parametrize("period", ["run", "day", "month"])
def test_a_cap_is_never_exceeded_and_the_rest_waits(runner: SmartBillsRunner, period: str) -> None:
    runner.harness.set_caps(**{period: 2})
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:5])
    report = runner.run_extraction()
    assert runner.list_charged_documents() == hashes[:2]
    assert runner.harness.list_document_states(hashes[2:]) == {("extract_remote", "waiting", "cap_reached")}
    (remark,) = report.remarks
    assert period in remark
    runner.run_extraction()
    assert len(runner.list_charged_documents()) == (4 if period == "run" else 2)


def test_a_document_too_long_for_the_cap_does_not_block_shorter_ones(runner: SmartBillsRunner) -> None:
    runner.harness.set_caps(run=1)
    (long,) = runner.harness.add_documents(TWO_PAGE_PDF, page_count=2)
    (short,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert runner.harness.get_document_state(long) == ("extract_remote", "waiting", "cap_reached")
    assert (runner.harness.get_document_state(short), runner.sum_charged_pages()) == (ANSWERED, 1)


def test_a_repeat_counts_as_another_page_under_the_cap(runner: SmartBillsRunner) -> None:
    runner.harness.set_caps(day=1)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", ReplaceResponse(Response(500)))
    runner.update_sandbox_settings(list_route=False)
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("extract_remote", "waiting", "cap_reached")
    assert (runner.list_charged_documents(), runner.harness.get_extraction(sha)["status"]) == ([sha], "unknown")


def test_submitted_documents_are_still_polled_when_the_cap_is_reached(runner: SmartBillsRunner) -> None:
    runner.harness.set_caps(month=1)
    (first,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("poll", Response(401))
    runner.run_extraction()
    with runner.harness.ledger.begin_transaction() as tx:  # the submitted document comes second
        tx.connection.exec_driver_sql("update documents set sequence = 100 where document_sha256 = ?", (first,))
    (second,) = runner.harness.add_documents(ONE_PAGE_PDFS[1])
    runner.run_extraction()
    assert (runner.harness.get_document_state(first), runner.list_charged_documents()) == (ANSWERED, [first])
    assert runner.harness.get_document_state(second) == ("extract_remote", "waiting", "cap_reached")


def build_reset_headers(seconds: float) -> dict[str, str]:
    """Return headers with the exact time of the reset, to fractions of a second."""
    now = dt.datetime.now(dt.UTC)
    return {"Date": now.isoformat(), "X-RateLimit-Reset": (now + dt.timedelta(seconds=seconds)).isoformat()}


def build_processing_body(path: str) -> dict[str, str]:
    """Return the state of an unfinished job."""
    return {"id": path.rpartition("/")[2], "status": "processing"}


def count_statuses(runner: SmartBillsRunner) -> dict[str, int]:
    """Return the number of the vendor's responses by status."""
    counts: dict[str, int] = {}
    for by_status in runner.harness.sandbox.read_journal(runner.api_key)["answers"].values():
        for status, count in by_status.items():
            counts[status] = counts.get(status, 0) + count
    return counts
