"""Extraction with smartbills.com: answers, refusals, and their charges in the sandbox's journal."""

from __future__ import annotations

import json

import pytest

from invoices.clients.smartbills_com import RemoteJob, SmartBillsComClient
from invoices.extraction.smartbills_com import MAX_BYTES
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    ONE_PAGE_PDFS,
    PNG_IMAGES,
    TWO_PAGE_PDF,
    AlterBody,
    ExtractionHarness,
    VendorProxy,
    build_unknown_pdfs,
    get_totals,
)
from tests.integration.extraction.smartbills_com_fixtures import SmartBillsRunner
from tests.servers.scripted_http_server import ReceivedRequest, Response


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> SmartBillsRunner:
    """A new account without documents."""
    return SmartBillsRunner(harness, proxy)


def test_each_document_is_charged_once_and_its_answer_waits_to_be_validated(runner: SmartBillsRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    report = runner.run_extraction()
    assert runner.list_charged_documents() == hashes  # in the order of arrival
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert (get_totals(report), report.problems, runner.harness.concluded_count) == ((3, 3, 3), [], 3)
    assert {runner.harness.get_extraction(sha)["status"] for sha in hashes} == {"answered"}


def test_an_error_of_this_program_over_one_document_stops_no_other(runner: SmartBillsRunner) -> None:
    failing_job_ids: set[str] = set()

    class FailingClient(SmartBillsComClient):
        def poll_job(self, job_id: str) -> RemoteJob:
            if not failing_job_ids or job_id in failing_job_ids:
                failing_job_ids.add(job_id)
                raise ValueError("offset must be strictly between")
            return super().poll_job(job_id)

    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    runner.client_class = FailingClient
    report = runner.run_extraction()
    (failure,) = report.failures
    assert (failure[0].startswith("document "), type(failure[1])) == (True, ValueError)
    states = [runner.harness.get_document_state(sha256) for sha256 in hashes]
    assert sorted(states) == sorted([ANSWERED, ANSWERED, ("extract_remote", "waiting", "program_error")])
    runner.client_class = SmartBillsComClient
    assert runner.run_extraction().failures == []
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert len(runner.list_charged_documents()) == 3


def test_pages_and_images_are_counted_as_the_vendor_charges_them(runner: SmartBillsRunner) -> None:
    runner.harness.add_documents(TWO_PAGE_PDF, page_count=2)
    runner.harness.add_documents(PNG_IMAGES[0], media_type="image/png")
    report = runner.run_extraction()
    assert (
        (report.submissions, report.pages_charged)
        == (len(runner.list_charged_documents()), runner.sum_charged_pages())
        == (2, 3)
    )


def test_the_intent_is_in_the_ledger_before_the_request_leaves(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    states: list[tuple[str, list[str]]] = []

    def record_submission_state(_request: ReceivedRequest) -> None:  # before the vendor receives the request
        states.append((runner.harness.get_extraction(sha)["status"], runner.list_charged_documents()))

    runner.proxy.set_event_rule("submit", record_submission_state)
    runner.run_extraction()
    assert (states, runner.list_charged_documents()) == ([("intended", [])], [sha])


@pytest.mark.parametrize("envelope", ["bare", "wrapped"])
def test_decimals_in_an_answer_stay_exact_text(runner: SmartBillsRunner, envelope: str) -> None:
    runner.update_sandbox_settings(envelope=envelope)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    payload = json.loads(runner.harness.get_extraction(sha)["payload"])
    assert "." in payload["total_amount"]
    assert payload["total_amount"].replace(".", "").isdigit()


def test_half_a_character_in_an_answer_does_not_stop_the_run(runner: SmartBillsRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.proxy.plan_events(
        "poll", AlterBody(lambda body: body.replace(b'"currency":"', b'"half":"Caf\\u00e9 \\ud83e","c":"'))
    )
    runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert "Caf\u00e9 \ufffd" in [
        json.loads(runner.harness.get_extraction(sha)["payload"]).get("half") for sha in hashes
    ]


@pytest.mark.parametrize("data", [b"null", b"{}"])
def test_a_completed_job_without_data_is_an_empty_answer(runner: SmartBillsRunner, data: bytes) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.proxy.plan_events(
        "poll", AlterBody(lambda body: body.partition(b'"extracted_data":')[0] + b'"extracted_data":%b}' % data)
    )
    runner.run_extraction()
    assert (runner.harness.get_document_state(sha), runner.harness.get_extraction(sha)["payload"]) == (ANSWERED, "{}")


@pytest.mark.parametrize("status", ["processing", "QUEUED", "\u5b8c\u4e86", "Completed "])
def test_unknown_statuses_are_polled_again(runner: SmartBillsRunner, status: str) -> None:
    runner.update_sandbox_settings(processing_polls=2, unknown_status=status)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED
    assert (runner.proxy.count_calls("poll"), len(runner.list_charged_documents())) == (3, 1)


def test_without_waiting_documents_there_is_no_call(runner: SmartBillsRunner) -> None:
    assert get_totals(runner.run_extraction()) == (0, 0, 0)
    assert runner.harness.sandbox.read_journal(runner.api_key)["requests"] == {}


def test_several_connections_charge_each_document_once(runner: SmartBillsRunner) -> None:
    runner.update_sandbox_settings(processing_seconds=0.2)
    runner.options = {"connections": 4}
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:12])
    report = runner.run_extraction()
    assert sorted(runner.list_charged_documents()) == sorted(hashes)
    assert (get_totals(report), runner.harness.concluded_count) == ((12, 12, 12), 12)


# Unsupported and refused documents


def test_an_unsupported_file_type_costs_nothing(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(b"<xml/>", media_type="application/xml")
    report = runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "review", "extractor_cannot_read")
    assert (runner.list_charged_documents(), report.quarantined, runner.harness.concluded_count) == ([], 1, 1)
    assert runner.harness.list_extractions(sha) == []


def test_a_file_above_the_size_limit_is_not_submitted(runner: SmartBillsRunner) -> None:
    (large,) = runner.harness.add_documents(b"%PDF-" + b"x" * MAX_BYTES)
    runner.run_extraction()
    assert runner.harness.get_document_state(large) == ("done", "review", "extractor_cannot_read")
    assert runner.proxy.count_calls("submit") == 0


def test_lost_and_altered_documents_do_not_affect_others(runner: SmartBillsRunner) -> None:
    lost, altered, sound = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    runner.harness.store.get_path(lost).unlink()
    runner.harness.store.get_path(altered).write_bytes(b"something else")
    runner.run_extraction()
    assert runner.harness.get_document_state(lost) == ("done", "quarantined", "missing")
    assert runner.harness.get_document_state(altered) == ("done", "quarantined", "altered")
    assert (runner.harness.get_document_state(sound), runner.list_charged_documents()) == (ANSWERED, [sound])


@pytest.mark.parametrize("envelope", ["bare", "wrapped"])
def test_a_refused_document_is_quarantined_without_charge_and_the_next_one_submitted(
    runner: SmartBillsRunner, envelope: str
) -> None:
    runner.update_sandbox_settings(envelope=envelope)
    bad, good = runner.harness.add_documents(b"no PDF at all", ONE_PAGE_PDFS[0])
    report = runner.run_extraction()
    assert runner.harness.get_document_state(bad) == ("done", "quarantined", "request_refused")
    assert (runner.harness.get_document_state(good), runner.list_charged_documents()) == (ANSWERED, [good])
    assert (get_totals(report), report.quarantined, runner.harness.get_extraction(bad)["pages_charged"]) == (
        (1, 1, 1),
        1,
        0,
    )


def test_a_response_with_success_false_is_a_refusal(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    body = {"success": False, "data": None, "error": {"code": "TOO_BLURRED", "message": "Cannot be read."}}
    runner.proxy.plan_events("submit", Response.from_json(body))
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "request_refused")
    assert "TOO_BLURRED" in runner.harness.get_document_row(sha)["reason"]
    assert runner.list_charged_documents() == []


def test_a_failed_job_is_quarantined_with_the_vendors_message_and_its_charge(runner: SmartBillsRunner) -> None:
    first, second = runner.harness.add_documents(*build_unknown_pdfs(1), ONE_PAGE_PDFS[0])
    runner.update_sandbox_settings(fail_ids=second)
    report = runner.run_extraction()
    assert runner.harness.list_document_states([first, second]) == {("done", "quarantined", "extraction_failed")}
    assert "rehearsal" in runner.harness.get_document_row(first)["reason"]
    assert (get_totals(report), report.quarantined, len(runner.list_charged_documents())) == ((2, 2, 0), 2, 2)


def test_a_second_run_with_nothing_new_changes_nothing_and_submits_nothing(runner: SmartBillsRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    before = runner.harness.get_document_row(sha)
    runner.run_extraction()
    assert runner.harness.get_document_row(sha) == before
    assert runner.proxy.count_calls("submit") == 1
