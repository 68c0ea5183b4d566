"""Unknown outcomes at smartbills.com: submissions that arrived are found by their bytes, repeats are flagged."""

from __future__ import annotations

import json

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_com import SmartBillsComClient, SubmittedJob
from invoices.extraction.resilience.rate_limit import RateWindow
from invoices.extraction.resilience.retry import MAX_ATTEMPTS
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    LOST_RESPONSE,
    ONE_PAGE_PDFS,
    AlterBody,
    ExtractionHarness,
    SharedRateLimit,
    SimulatedKill,
    VendorProxy,
    get_totals,
    hash_content,
)
from tests.integration.extraction.smartbills_com_fixtures import SmartBillsRunner
from tests.servers.scripted_http_server import Disconnect, Response

UNUSABLE_LIST_RESPONSE = Response(200, b"<html>", {"Content-Type": "text/html"})
NO_CREDIT_RESPONSE = Response.from_json({"error": {"code": "NO_CREDIT", "message": "pay"}}, 402)


class DyingClient(SmartBillsComClient):
    """A client that raises SimulatedKill right before or right after a submission, ``remaining_deaths`` times."""

    remaining_deaths: int = 0
    dies_before_submission: bool = False

    def submit_document(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        if type(self).remaining_deaths and self.dies_before_submission:
            type(self).remaining_deaths -= 1
            raise SimulatedKill
        submitted = super().submit_document(content, file_name, media_type)
        if type(self).remaining_deaths:
            type(self).remaining_deaths -= 1
            raise SimulatedKill
        return submitted


def build_client_dying_once(*, before: bool) -> type[SmartBillsComClient]:
    """Return a client class that raises SimulatedKill once."""
    return type("DyingOnce", (DyingClient,), {"remaining_deaths": 1, "dies_before_submission": before})


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> SmartBillsRunner:
    """A new account without documents."""
    return SmartBillsRunner(harness, proxy)


def build_other_client(runner: SmartBillsRunner) -> SmartBillsComClient:
    """Return a client of the same account, used by another program."""
    return SmartBillsComClient(runner.harness.sandbox.smartbills_com["base_url"], runner.api_key, make_session())


def _sort_oldest_first(body: bytes) -> bytes:
    return json.dumps({"data": json.loads(body)["data"][::-1]}).encode()


def list_double_charge_flags(runner: SmartBillsRunner, *hashes: str) -> list[bool]:
    """Return for each document whether it may have been charged twice."""
    return [bool(runner.harness.get_extraction(sha256)["possible_double_charge"]) for sha256 in hashes]


@pytest.mark.parametrize("setting", ["post_lost_response", "http_500_after_work"])
@pytest.mark.parametrize("envelope", ["bare", "wrapped"])
def test_a_submission_that_arrived_is_found_by_its_bytes_and_not_charged_again(
    runner: SmartBillsRunner, setting: str, envelope: str
) -> None:
    runner.update_sandbox_settings(envelope=envelope, **{setting: 2})
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    report = runner.run_extraction()
    assert runner.list_charged_documents() == hashes
    assert (runner.harness.list_document_states(hashes), list_double_charge_flags(runner, *hashes)) == (
        {ANSWERED},
        [False] * 3,
    )
    assert (get_totals(report), report.problems) == ((3, 3, 3), [])


def test_a_job_with_other_bytes_or_of_an_earlier_date_is_not_adopted(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    other_client = build_other_client(runner)
    other_client.submit_document(ONE_PAGE_PDFS[1], "other.pdf", "application/pdf")
    old = other_client.submit_document(ONE_PAGE_PDFS[0], "old.pdf", "application/pdf")
    creation_date = str(old.created_at)[:10].encode()
    runner.proxy.plan_events("list", AlterBody(lambda body: body.replace(creation_date, b"2020-01-01")))
    runner.proxy.plan_events("submit", Disconnect())
    runner.run_extraction()
    assert runner.list_charged_documents() == [hash_content(ONE_PAGE_PDFS[1]), sha, sha]
    assert runner.harness.get_extraction(sha)["remote_id"] != old.id
    assert list_double_charge_flags(runner, sha) == [True]


def test_the_file_of_a_known_job_is_not_fetched(runner: SmartBillsRunner) -> None:
    runner.update_sandbox_settings(processing_polls=1)
    runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.plan_events("submit", None, LOST_RESPONSE)
    runner.proxy.plan_events("list", AlterBody(_sort_oldest_first))
    runner.run_extraction()
    assert (runner.proxy.count_calls("file"), len(runner.list_charged_documents())) == (1, 2)


def test_a_job_with_an_unreadable_file_does_not_hide_the_right_one(runner: SmartBillsRunner) -> None:
    other_client = build_other_client(runner)
    for content in ONE_PAGE_PDFS[1:3]:
        other_client.submit_document(content, "other.pdf", "application/pdf")
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE)
    runner.proxy.plan_events("file", None, Response(404))  # the oldest job is listed first
    runner.proxy.plan_events("list", AlterBody(_sort_oldest_first))
    runner.run_extraction()
    assert (runner.list_charged_documents().count(sha), list_double_charge_flags(runner, sha)) == (1, [False])


def test_a_page_in_place_of_the_file_is_requested_again_and_nothing_is_charged_twice(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE)
    runner.proxy.plan_events("file", UNUSABLE_LIST_RESPONSE, repeat=MAX_ATTEMPTS - 1)
    runner.run_extraction()
    assert (runner.list_charged_documents(), list_double_charge_flags(runner, sha)) == ([sha], [False])
    assert runner.harness.get_document_state(sha) == ANSWERED


@pytest.mark.parametrize("unusable", [UNUSABLE_LIST_RESPONSE, Response(404), Response.from_json({"data": {"page": 1}})])
def test_with_an_unusable_list_the_submission_is_repeated_once_and_flagged(
    runner: SmartBillsRunner, unusable: Response
) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE)
    runner.proxy.plan_events("list", unusable, repeat=MAX_ATTEMPTS)
    report = runner.run_extraction()
    assert runner.list_charged_documents() == [sha, sha]
    assert (list_double_charge_flags(runner, sha), runner.harness.get_document_state(sha)) == ([True], ANSWERED)
    assert get_totals(report) == (1, 1, 1)  # the other submission is the possible double charge


def test_after_a_second_unknown_outcome_a_person_decides(runner: SmartBillsRunner) -> None:
    sha, other = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.plan_events("submit", Disconnect(), Disconnect())
    report = runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "outcome_unknown")
    assert (runner.harness.get_document_state(other), runner.list_charged_documents()) == (ANSWERED, [other])
    assert any(sha[:12] in problem for problem in report.problems)
    runner.run_extraction()
    assert runner.proxy.count_calls("submit") == 3


def test_no_submission_is_repeated_if_the_settings_forbid_it(runner: SmartBillsRunner) -> None:
    runner.options = {"repeat_after_unknown": False}
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", Disconnect())
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "outcome_unknown")
    assert runner.proxy.count_calls("submit") == 1


def test_an_overloaded_list_is_requested_again_before_a_submission_is_repeated(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE)
    runner.proxy.plan_events("list", Response(503), repeat=2)
    runner.proxy.plan_events("file", Response(200, b"%PDF", framing="close"))
    runner.run_extraction()
    assert (runner.list_charged_documents(), runner.harness.get_document_state(sha)) == ([sha], ANSWERED)


@pytest.mark.parametrize(("status", "code"), [(503, "vendor_unavailable"), (401, "account_stopped")])
def test_a_document_waits_while_the_list_is_unavailable(runner: SmartBillsRunner, status: int, code: str) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE)
    runner.proxy.plan_events("list", Response(status), repeat=50)
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("extract_remote", "waiting", code)
    assert (runner.list_charged_documents(), runner.harness.get_extraction(sha)["status"]) == ([sha], "unknown")
    runner.proxy.plan_events("list")
    runner.run_extraction()
    assert (runner.list_charged_documents(), runner.harness.get_document_state(sha)) == ([sha], ANSWERED)


def test_a_refused_repeat_leaves_the_first_submission_unknown(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE, NO_CREDIT_RESPONSE)
    runner.proxy.plan_events("list", UNUSABLE_LIST_RESPONSE, repeat=MAX_ATTEMPTS)
    runner.run_extraction()
    job = runner.harness.get_extraction(sha)
    assert (job["status"], job["possible_double_charge"], job["pages_reserved"]) == ("unknown", False, 1)
    runner.run_extraction()  # the list is back
    assert (
        runner.list_charged_documents(),
        runner.harness.get_document_state(sha),
        list_double_charge_flags(runner, sha),
    ) == ([sha], ANSWERED, [False])


def test_at_most_one_repeat_arrives(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE, NO_CREDIT_RESPONSE, LOST_RESPONSE)
    runner.proxy.plan_events("list", UNUSABLE_LIST_RESPONSE, repeat=9 * MAX_ATTEMPTS)
    runner.run_extraction()
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "outcome_unknown")
    assert (runner.list_charged_documents(), list_double_charge_flags(runner, sha)) == ([sha, sha], [True])


def test_a_finally_refused_repeat_counts_the_possible_charge(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE, Response(422))
    runner.proxy.plan_events("list", UNUSABLE_LIST_RESPONSE, repeat=MAX_ATTEMPTS)
    runner.run_extraction()
    job = runner.harness.get_extraction(sha)
    assert (job["status"], job["pages_charged"], job["possible_double_charge"]) == ("failed", 1, False)
    assert runner.list_charged_documents() == [sha]


def test_a_document_lost_from_the_store_before_its_repeat_counts_the_possible_charge(
    runner: SmartBillsRunner,
) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", LOST_RESPONSE)
    runner.proxy.plan_events("list", Response(401))
    runner.run_extraction()
    runner.harness.store.get_path(sha).unlink()
    runner.proxy.plan_events("list", UNUSABLE_LIST_RESPONSE, repeat=MAX_ATTEMPTS)
    runner.run_extraction()
    job = runner.harness.get_extraction(sha)
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "missing")
    assert (job["status"], job["pages_charged"], runner.list_charged_documents()) == ("failed", 1, [sha])


# Killed runs


def test_a_run_killed_before_the_vendor_was_reached_asks_once_more_and_flags_it(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.client_class = build_client_dying_once(before=True)
    with pytest.raises(SimulatedKill):
        runner.run_extraction()
    assert runner.harness.get_extraction(sha)["status"] == "intended"
    runner.run_extraction()
    assert runner.list_charged_documents() == [sha]
    assert list_double_charge_flags(runner, sha) == [True]  # the list is undocumented: it may lack the job


def test_a_run_killed_after_the_vendor_was_reached_finds_its_job(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.client_class = build_client_dying_once(before=False)
    with pytest.raises(SimulatedKill):
        runner.run_extraction()
    report = runner.run_extraction()
    assert (runner.list_charged_documents(), list_double_charge_flags(runner, sha), get_totals(report)) == (
        [sha],
        [False],
        (1, 1, 1),
    )


def test_a_submitted_job_is_polled_again_and_not_submitted_again(runner: SmartBillsRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.plan_events("poll", Response(401))
    runner.run_extraction()
    assert {runner.harness.get_extraction(sha)["status"] for sha in hashes} == {"submitted"}
    report = runner.run_extraction()
    assert (get_totals(report), runner.list_charged_documents()) == ((0, 0, 2), hashes)
    assert runner.harness.list_document_states(hashes) == {ANSWERED}


def test_a_run_killed_during_a_requested_pause_has_nothing_to_recover(runner: SmartBillsRunner) -> None:
    def raise_simulated_kill(_seconds: float) -> None:
        raise SimulatedKill

    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events("submit", Response(429))
    runner.options = {"sleep": raise_simulated_kill}
    with pytest.raises(SimulatedKill):
        runner.run_extraction()
    assert runner.harness.get_extraction(sha)["status"] == "refused"
    runner.options = {}
    runner.run_extraction()
    assert (runner.list_charged_documents(), list_double_charge_flags(runner, sha)) == ([sha], [False])


def test_a_run_killed_while_waiting_for_the_rate_limit_has_recorded_no_intent(runner: SmartBillsRunner) -> None:
    def raise_simulated_kill(_seconds: float) -> None:
        raise SimulatedKill

    first, second = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.shared_rate_limit, runner.options = (
        SharedRateLimit([RateWindow(1, 50)], scale=1),
        {"sleep": raise_simulated_kill},
    )
    with pytest.raises(SimulatedKill):
        runner.run_extraction()
    assert (runner.list_charged_documents(), runner.harness.list_extractions(second)) == ([first], [])
    runner.shared_rate_limit, runner.options = SharedRateLimit(), {}
    runner.run_extraction()
    assert (runner.list_charged_documents(), list_double_charge_flags(runner, first, second)) == (
        [first, second],
        [False, False],
    )
