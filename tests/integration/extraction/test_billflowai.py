"""Extraction with BillflowAI: one call per document, and its charge in the ledger and the sandbox's journal."""

from __future__ import annotations

import json

import pytest

from invoices.clients.billflowai import BillflowAiClient, ExtractionResponse
from invoices.ledger.spending import compute_remaining_pages
from tests.integration.extraction.billflowai_fixtures import BillflowAiRunner
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    LOST_RESPONSE,
    ONE_PAGE_PDFS,
    TWO_PAGE_PDF,
    ExtractionHarness,
    ReplaceResponse,
    SimulatedKill,
    VendorProxy,
    build_unknown_pdfs,
    get_totals,
)
from tests.servers.scripted_http_server import Disconnect, Response

UNREADABLE_RESPONSE = Response.from_json({"error": {"code": "EXTRACTION_FAILED", "message": "too dark"}}, 422)


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> BillflowAiRunner:
    """A new account without documents."""
    return BillflowAiRunner(harness, proxy)


def get_extraction_cost(runner: BillflowAiRunner, sha256: str) -> tuple[str, int, bool]:
    """Return an extraction's status, its pages charged in the ledger, and its possible double charge."""
    extraction = runner.harness.get_extraction(sha256)
    return extraction["status"], extraction["pages_charged"], bool(extraction["possible_double_charge"])


def test_each_document_is_read_at_once_and_charged_once(runner: BillflowAiRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    report = runner.run_extraction()
    assert runner.list_charged_documents() == hashes
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert (get_totals(report), report.problems, runner.harness.concluded_count) == ((3, 3, 3), [], 3)
    assert json.loads(runner.harness.get_extraction(hashes[0])["payload"])["meta"]["source"] == "extracted"


def test_a_document_costs_one_page_whatever_its_length(runner: BillflowAiRunner) -> None:
    runner.harness.add_documents(TWO_PAGE_PDF, page_count=2)
    assert get_totals(runner.run_extraction()) == (1, 1, 1)


@pytest.mark.parametrize(("source", "pages"), [("extracted", 1), ("duplicate", 1), ("cache", 0), ("none", 1)])
def test_the_recorded_charge_equals_the_journals(runner: BillflowAiRunner, source: str, pages: int) -> None:
    runner.update_sandbox_settings(source=source)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    report = runner.run_extraction()
    assert get_extraction_cost(runner, sha) == ("answered", pages, False)
    assert (get_totals(report), len(runner.list_charged_documents())) == ((1, pages, 1), pages)


def test_several_connections_charge_each_document_once(harness: ExtractionHarness) -> None:
    runner = BillflowAiRunner(harness, None)
    runner.update_sandbox_settings(latency_ms=80)
    runner.options = {"connections": 4}
    hashes = harness.add_documents(*build_unknown_pdfs(24))
    report = runner.run_extraction()
    assert sorted(runner.list_charged_documents()) == sorted(hashes)
    assert (get_totals(report), harness.concluded_count, runner.count_requests()) == ((24, 24, 24), 24, 24)


@pytest.mark.parametrize("setting", ["lost_response", "http_500_after_work"])
def test_lost_answers_on_several_connections_are_repeated_once_at_most(
    harness: ExtractionHarness, setting: str
) -> None:
    runner = BillflowAiRunner(harness, None)
    runner.update_sandbox_settings(latency_ms=40, **{setting: 5})
    runner.options = {"connections": 4}
    hashes = harness.add_documents(*build_unknown_pdfs(12))
    report = runner.run_extraction()
    assert harness.list_document_states(hashes) == {ANSWERED}
    assert (runner.count_requests(), get_totals(report)) == (17, (12, 12, 12))
    assert sum(get_extraction_cost(runner, sha)[2] for sha in hashes) == 5
    assert len(runner.list_charged_documents()) == (12 if setting == "lost_response" else 17)


# Lost answers


def test_a_lost_answer_is_repeated_once_and_found_in_the_vendors_cache(runner: BillflowAiRunner) -> None:
    runner.update_sandbox_settings(lost_response=1)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    report = runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED
    assert get_extraction_cost(runner, sha) == (
        "answered",
        1,
        True,
    )  # the cache is free, but the first call was charged
    assert (get_totals(report), runner.list_charged_documents()) == ((1, 1, 1), [sha])


def test_a_server_error_after_the_work_is_repeated_once_and_charged_twice_at_most(
    runner: BillflowAiRunner,
) -> None:
    runner.update_sandbox_settings(http_500_after_work=1)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert (get_extraction_cost(runner, sha), runner.list_charged_documents()) == (("answered", 1, True), [sha, sha])
    assert count_pages_spent_today(runner) == 2


def test_after_a_second_lost_answer_a_person_decides(runner: BillflowAiRunner) -> None:
    runner.update_sandbox_settings(http_500_after_work=5)
    sha, other = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    report = runner.run_extraction()
    assert runner.harness.list_document_states([sha, other]) == {("done", "quarantined", "outcome_unknown")}
    assert (runner.list_charged_documents().count(sha), runner.list_charged_documents().count(other)) == (2, 2)
    assert any(sha[:12] in problem for problem in report.problems)
    assert count_pages_spent_today(runner) == 4
    runner.run_extraction()
    assert len(runner.list_charged_documents()) == 4


def test_a_lost_answer_is_not_repeated_if_the_settings_forbid_it(runner: BillflowAiRunner) -> None:
    runner.options = {"repeat_after_unknown": False}
    runner.update_sandbox_settings(lost_response=1)
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "outcome_unknown")
    assert (runner.count_requests(), get_extraction_cost(runner, sha)[0]) == (1, "unknown")


def test_a_refused_repeat_leaves_the_first_call_unknown(runner: BillflowAiRunner, proxy: VendorProxy) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events(
        "submit", LOST_RESPONSE, Response.from_json({"error": {"code": "QUOTA_EXCEEDED", "message": "used up"}}, 402)
    )
    runner.run_extraction()
    assert get_extraction_cost(runner, sha) == ("unknown", 0, False)
    assert (count_pages_spent_today(runner), runner.harness.get_document_state(sha)) == (
        1,
        ("extract_remote", "waiting", "account_stopped"),
    )
    runner.run_extraction()
    assert (get_extraction_cost(runner, sha), runner.list_charged_documents()) == (("answered", 1, True), [sha])


def test_a_finally_refused_repeat_counts_the_possible_charge(runner: BillflowAiRunner, proxy: VendorProxy) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("submit", LOST_RESPONSE, UNREADABLE_RESPONSE, UNREADABLE_RESPONSE)
    runner.run_extraction()
    assert (get_extraction_cost(runner, sha), runner.list_charged_documents()) == (("failed", 1, False), [sha])
    assert runner.harness.get_document_state(sha) == ("done", "quarantined", "extraction_failed")


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b"<html>", {"Content-Type": "text/html"}),
        Response(200, b"", {"Content-Type": "application/json"}),
        Response(200, b'{"total": 1}', declared_length=500, close_after_bytes=8),
        Response(504),
        Disconnect(is_reset=True),
    ],
    ids=repr,
)
def test_a_lost_answer_of_any_kind_is_repeated_once(
    runner: BillflowAiRunner, proxy: VendorProxy, response: Response | Disconnect
) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("submit", ReplaceResponse(response))
    report = runner.run_extraction()
    assert (runner.harness.get_document_state(sha), get_extraction_cost(runner, sha)) == (
        ANSWERED,
        ("answered", 1, True),
    )
    assert (get_totals(report), runner.list_charged_documents()) == ((1, 1, 1), [sha])


ODD_ANSWERS = [  # as the vendor sends them, and a part of what is stored
    (b'{"total": NaN}', '"NaN"'), (b'{"total": 1e400}', '"1e400"'), (b'{"total": 1, "total": 2}', "[1, 2]"),
    (b"{}", "{}"), (b'{"total": [1]}', "[1]"), (b"[]", "[]"), (b"null", "null"), (b'{"total": 1, "tax"', ' "tax"'),
    (b'{"total": "1.250,00"}', "1.250,00"), ('{"total": "€ 1250"}'.encode(), "€ 1250"),
    (b'{"total": "1,250.00"}', "1,250.00"), (b'{"total": {"amount": 1}}', '{"amount": 1}'),
    (b'{"total": true, "items": "none"}', "none"), (b'{"counterparty": "K\xf6ln"}', r"K\xf6ln"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "stored_part"), ODD_ANSWERS)
def test_an_odd_answer_is_kept_and_never_paid_for_again(
    runner: BillflowAiRunner, proxy: VendorProxy, body: bytes, stored_part: str
) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    proxy.plan_events("submit", ReplaceResponse(Response(200, body, {"Content-Type": "application/json"})))
    for _ in range(2):
        runner.run_extraction()
    assert runner.harness.get_document_state(sha) == ANSWERED
    assert get_extraction_cost(runner, sha) == ("answered", 1, False)
    assert (runner.count_requests(), runner.list_charged_documents(), count_pages_spent_today(runner)) == (1, [sha], 1)
    assert stored_part in runner.harness.get_extraction(sha)["payload"]


def test_answers_without_any_field_of_an_invoice_are_kept_and_suspend_the_vendor(
    runner: BillflowAiRunner, proxy: VendorProxy
) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:7])
    proxy.plan_events("submit", Response.from_json({"data": {"total": 1}}), repeat=20)
    report = runner.run_extraction()
    states = [runner.harness.get_document_state(sha) for sha in hashes]
    assert states.count(ANSWERED) == proxy.count_calls("submit") == 5
    assert states.count(("extract_remote", "waiting", "contract_changed")) == 2
    assert "no field of an invoice" in report.problems[0]


class DyingClient(BillflowAiClient):
    """A client that raises SimulatedKill instead of returning its first response."""

    has_died = False

    def extract_file(
        self, content: bytes, file_name: str, media_type: str, invoice_kind: str = "expense"
    ) -> ExtractionResponse:
        response = super().extract_file(content, file_name, media_type, invoice_kind)
        if not type(self).has_died:
            type(self).has_died = True
            raise SimulatedKill
        return response


def test_a_run_killed_between_intent_and_answer_is_repeated_once_and_flagged(runner: BillflowAiRunner) -> None:
    (sha,) = runner.harness.add_documents(ONE_PAGE_PDFS[0])
    runner.client_class = type("DyingOnce", (DyingClient,), {})
    with pytest.raises(SimulatedKill):
        runner.run_extraction()
    assert runner.harness.get_extraction(sha)["status"] == "intended"
    runner.run_extraction()
    assert (get_extraction_cost(runner, sha), runner.list_charged_documents()) == (("answered", 1, True), [sha])
    runner.run_extraction()
    assert runner.count_requests() == 2


def count_pages_spent_today(runner: BillflowAiRunner) -> int:
    """Return the pages that count against today's caps."""
    runner.harness.set_caps(day=100)
    with runner.harness.ledger.open_snapshot() as connection:
        remaining = compute_remaining_pages(
            connection, "billflowai", runner.harness.caps, runner.harness.ledger.now(), None
        )
    return 100 - (remaining or 0)
