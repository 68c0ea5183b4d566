"""Unreadable responses of smartbills.com: each affects its own job at most, without endless polls or double charges."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    ONE_PAGE_PDFS,
    CallEvent,
    ExtractionHarness,
    ReplaceResponse,
    VendorProxy,
    get_totals,
)
from tests.integration.extraction.smartbills_com_fixtures import SmartBillsRunner
from tests.servers.scripted_http_server import ReceivedRequest, Response

JSON_HEADERS = {"Content-Type": "application/json"}
WAITING_STATE = ("extract_remote", "waiting", "contract_changed")
LOST_STATE = ("done", "quarantined", "extraction_lost")
OVERDUE_OPTIONS = {"deadline_minutes": 1e-6}


def _compress_with_padding(body: bytes) -> bytes:
    return gzip.compress(body + b" " * 20_000_000, 1)


ODD_ANSWERS: dict[str, Callable[[bytes], Response]] = {
    "a number that is none": lambda body: Response(200, body.replace(b'"id"', b'"x":NaN,"id"'), JSON_HEADERS),
    "a number beyond all": lambda body: Response(200, body.replace(b'"id"', b'"x":1e400,"id"'), JSON_HEADERS),
    "a key twice": lambda body: Response(200, body.replace(b'"id"', b'"status":"completed","id"'), JSON_HEADERS),
    "a byte order mark": lambda body: Response(200, b"\xef\xbb\xbf" + body, JSON_HEADERS),
    "another encoding": lambda body: Response(200, body.decode().encode("utf-16"), JSON_HEADERS),
    "data that is no object": lambda body: Response(
        200, body.replace(b'"extracted_data":', b'"extracted_data":[],"d":'), JSON_HEADERS
    ),
}
UNEXPECTED_RESPONSES: dict[str, Callable[[bytes], Response]] = {
    "a login page": lambda _: Response(200, b"<html>log in</html>", {"Content-Type": "text/html"}),
    "a page that says it is JSON": lambda _: Response(200, b"<html>log in</html>", JSON_HEADERS),
    "a bomb": lambda body: Response(200, _compress_with_padding(body), {**JSON_HEADERS, "Content-Encoding": "gzip"}),
    "half of it": lambda body: Response(200, body[: len(body) // 2], JSON_HEADERS),
    "a deep hole": lambda _: Response(200, b"[" * 100_000, JSON_HEADERS),
    "nothing": lambda _: Response(200, b"", JSON_HEADERS),
    "about another job": lambda body: Response(200, body.replace(b"inv_", b"inv_9"), JSON_HEADERS),
    "no status": lambda body: Response(200, body.replace(b'"status"', b'"state"'), JSON_HEADERS),
    "a list": lambda body: Response(200, b"[%b]" % body, JSON_HEADERS),
    "a false success": lambda _: Response.from_json(
        {"success": False, "data": None, "error": {"code": "X", "message": "no"}}
    ),
    "a job nobody knows": lambda _: Response.from_json({"error": {"code": "NOT_FOUND", "message": "no"}}, 404),
}


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> SmartBillsRunner:
    """A new account without documents."""
    return SmartBillsRunner(harness, proxy)


class PollSpoiler:
    """Replaces the responses of all polls of one document's job, or of the first ones only."""

    def __init__(
        self, runner: SmartBillsRunner, sha256: str, build_response: Callable[[bytes], Response], times: int = 1_000
    ) -> None:
        self._runner, self._sha256, self._build_response, self.remaining = runner, sha256, build_response, times
        self.poll_count = 0
        runner.proxy.set_event_rule("poll", self)

    def __call__(self, request: ReceivedRequest) -> CallEvent:
        remote_id = self._runner.harness.get_extraction(self._sha256)["remote_id"]
        if not request.path.endswith(remote_id) or self.remaining == 0:
            return None
        self.remaining, self.poll_count = self.remaining - 1, self.poll_count + 1
        body = {"id": remote_id, "status": "completed", "extracted_data": {"total_amount": 1}}
        return self._build_response(json.dumps(body).encode())


def _submit_documents(runner: SmartBillsRunner, *contents: bytes) -> list[str]:
    """Let a run submit documents and end with 401 at the poll of the last one; return their hashes."""
    hashes, polled_paths = runner.harness.add_documents(*contents), set[str]()

    def refuse_last_poll(request: ReceivedRequest) -> CallEvent:
        polled_paths.add(request.path)
        return Response(401) if len(polled_paths) == len(contents) else None

    runner.update_sandbox_settings(processing_seconds=3_600)
    runner.proxy.set_event_rule("poll", refuse_last_poll)
    runner.run_extraction()
    runner.update_sandbox_settings(processing_seconds=0)
    return hashes


@pytest.mark.parametrize("build_response", UNEXPECTED_RESPONSES.values(), ids=UNEXPECTED_RESPONSES.keys())
def test_an_unreadable_poll_is_repeated_and_nothing_is_charged_twice(
    runner: SmartBillsRunner, build_response: Callable[[bytes], Response]
) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    spoiler = PollSpoiler(runner, sha, build_response, times=2)
    report = runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED
    assert (spoiler.poll_count, runner.list_charged_documents(), get_totals(report), report.problems) == (
        2,
        [sha],
        (1, 1, 1),
        [],
    )


@pytest.mark.parametrize("build_response", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
def test_an_answer_with_odd_values_is_kept_at_the_first_poll(
    runner: SmartBillsRunner, build_response: Callable[[bytes], Response]
) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    spoiler = PollSpoiler(runner, sha, build_response)
    report = runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED
    assert (spoiler.poll_count, runner.list_charged_documents(), report.problems) == (1, [sha], [])


def test_a_job_that_stays_unreadable_waits_and_is_quarantined_after_the_deadline(runner: SmartBillsRunner) -> None:
    runner.update_sandbox_settings(processing_polls=1)
    odd, *others = runner.harness.add_documents(*ONE_PAGE_PDFS[:8])
    spoiler = PollSpoiler(runner, odd, UNEXPECTED_RESPONSES["a page that says it is JSON"])
    report = runner.run_extraction()
    assert runner.harness.get_document_state(odd) == WAITING_STATE
    assert (spoiler.poll_count, runner.harness.get_extraction(odd)["status"]) == (5, "submitted")
    assert runner.harness.list_document_states(others) == {ANSWERED}
    assert (get_totals(report), report.quarantined, len(report.problems)) == ((8, 8, 7), 0, 1)
    assert odd[:12] in report.problems[0]
    runner.options = OVERDUE_OPTIONS
    report = runner.run_extraction()
    assert (runner.harness.get_document_state(odd), report.quarantined) == (LOST_STATE, 1)
    assert runner.harness.get_extraction(odd)["status"] == "submitted"


def test_a_job_that_the_vendor_no_longer_has_fails_and_is_not_submitted_again(runner: SmartBillsRunner) -> None:
    runner.update_sandbox_settings(processing_polls=1)
    forgotten, *others = runner.harness.add_documents(*ONE_PAGE_PDFS[:4])
    PollSpoiler(runner, forgotten, UNEXPECTED_RESPONSES["a job nobody knows"])
    report = runner.run_extraction()
    assert (runner.harness.get_document_state(forgotten), runner.harness.get_extraction(forgotten)["status"]) == (
        LOST_STATE,
        "failed",
    )
    assert runner.harness.get_extraction(forgotten)["pages_charged"] == 1
    assert runner.harness.list_document_states(others) == {ANSWERED}
    assert (get_totals(report), len(runner.list_charged_documents())) == ((4, 4, 3), 4)


def test_a_vendor_with_only_unreadable_responses_is_suspended_and_nothing_is_lost(
    runner: SmartBillsRunner,
) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.set_event_rule("poll", lambda _: UNEXPECTED_RESPONSES["a login page"](b""))
    report = runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {WAITING_STATE}
    assert (runner.proxy.count_calls("poll"), len(report.problems)) == (5, 1)
    runner.proxy.event_rules.clear()
    runner.run_extraction()
    assert (runner.harness.list_document_states(hashes), runner.list_charged_documents()) == ({ANSWERED}, hashes)


def test_unreadable_overdue_jobs_do_not_suspend_the_vendor(runner: SmartBillsRunner) -> None:
    old = _submit_documents(runner, *ONE_PAGE_PDFS[:6])
    polls_before = runner.proxy.count_calls("poll")
    ids = [runner.harness.get_extraction(sha)["remote_id"] for sha in old]
    runner.proxy.set_event_rule(
        "poll", lambda request: UNEXPECTED_RESPONSES["nothing"](b"") if request.path.endswith(tuple(ids)) else None
    )
    (new,) = runner.harness.add_documents(ONE_PAGE_PDFS[6])
    runner.options = OVERDUE_OPTIONS
    runner.run_extraction()
    assert runner.suspension is None
    assert runner.harness.list_document_states(old) == {LOST_STATE}
    assert runner.proxy.count_calls("poll") == polls_before + 6 * 5 + 1
    assert (runner.harness.get_document_state(new), len(runner.list_charged_documents())) == (ANSWERED, 7)


def test_an_overdue_job_is_not_abandoned_after_a_few_unreadable_responses(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.options = OVERDUE_OPTIONS
    PollSpoiler(runner, sha, UNEXPECTED_RESPONSES["a login page"], times=4)
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED


@pytest.mark.parametrize("status", ["processing", "paused"])
def test_a_stuck_job_is_quarantined_at_the_deadline(runner: SmartBillsRunner, status: str) -> None:
    runner.update_sandbox_settings(processing_seconds=3_600, unknown_status=status)
    runner.options = {"deadline_minutes": 1}
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "extraction_stuck")
    assert repr(status) in runner.harness.get_document_row(sha)["reason"]
    assert (runner.list_charged_documents(), runner.harness.get_extraction(sha)["pages_charged"]) == ([sha], 1)


# Jobs that cannot be polled


@pytest.mark.parametrize("response", [Response(500), Response(200, b'{"id"', JSON_HEADERS, framing="close")])
def test_a_job_whose_polls_fail_waits_and_does_not_affect_others(runner: SmartBillsRunner, response: Response) -> None:
    failing, *others = runner.harness.add_documents(*ONE_PAGE_PDFS[:4])
    PollSpoiler(runner, failing, lambda _: response)
    report = runner.run_extraction()
    assert runner.suspension is None
    assert runner.harness.get_document_state(failing) == ("extract_remote", "waiting", "vendor_unavailable")
    assert (runner.harness.list_document_states(others), len(report.problems)) == ({ANSWERED}, 1)
    runner.proxy.event_rules.clear()
    runner.run_extraction()
    assert (runner.harness.get_document_state(failing), len(runner.list_charged_documents())) == (ANSWERED, 4)


def test_an_overdue_job_whose_polls_fail_is_quarantined(runner: SmartBillsRunner) -> None:
    failing, *others = runner.harness.add_documents(*ONE_PAGE_PDFS[:4])
    PollSpoiler(runner, failing, lambda _: Response(500))
    runner.options = OVERDUE_OPTIONS
    runner.run_extraction()
    assert (runner.harness.get_document_state(failing), runner.harness.get_extraction(failing)["status"]) == (
        LOST_STATE,
        "submitted",
    )
    assert runner.harness.list_document_states(others) == {ANSWERED}


@pytest.mark.parametrize("count", [1, 3])
def test_overdue_jobs_of_a_vendor_that_is_down_wait(runner: SmartBillsRunner, count: int) -> None:
    hashes = _submit_documents(runner, *ONE_PAGE_PDFS[:count])
    runner.proxy.set_event_rule("poll", lambda _: Response(500))
    runner.options = OVERDUE_OPTIONS
    runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {("extract_remote", "waiting", "vendor_unavailable")}


def test_a_slow_poll_response_is_cut_off_and_requested_again(runner: SmartBillsRunner) -> None:
    runner.call_deadline_seconds = 0.5
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    PollSpoiler(runner, sha, lambda body: Response(200, body, JSON_HEADERS, seconds_per_byte=0.1), times=1)
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.list_charged_documents()) == (ANSWERED, [sha])


def test_a_submission_with_a_slow_response_is_looked_up(runner: SmartBillsRunner) -> None:
    runner.call_deadline_seconds = 0.5
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events(
        "submit", ReplaceResponse(Response(200, b" " * 100, JSON_HEADERS, seconds_per_byte=0.1, are_headers_slow=True))
    )
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.list_charged_documents()) == (ANSWERED, [sha])


@pytest.mark.parametrize("body", [b"{}", b"null", b'{"id":""}', b'{"id":5}', b'{"id":"a/b"}', b"<html>"])
def test_a_submission_with_an_unreadable_response_is_looked_up(runner: SmartBillsRunner, body: bytes) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", ReplaceResponse(Response(200, body, JSON_HEADERS)))
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.list_charged_documents()) == (ANSWERED, [sha])
    assert not runner.harness.get_extraction(sha)["possible_double_charge"]
