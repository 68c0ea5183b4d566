"""The extractor chain: preference order, fallback after failures, and never two open submissions of a document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from invoices.documents.store import DocumentStore
from invoices.extraction.extractor_choice import choose_extractor, explain_unsupported_document
from invoices.extraction.smartbills_com import MAX_BYTES
from invoices.ledger import Ledger
from invoices.ledger.documents import PendingDocument
from invoices.settings import Settings
from sandbox.process import Sandbox
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    LOST_RESPONSE,
    ONE_PAGE_PDFS,
    TWO_PAGE_PDF,
    ExtractionHarness,
    VendorProxy,
    build_unknown_pdfs,
    get_totals,
)
from tests.integration.extraction.extractor_chain_fixtures import (
    BILLFLOWAI,
    INVOICE_DATA_EXTRACTION,
    SMARTBILLS,
    ChainHarness,
)
from tests.servers.scripted_http_server import Response, ScriptedServer

NO_LIST_RESPONSE = Response(404)


@pytest.fixture
def chain_harness(sandbox: Sandbox, ledger: Ledger, app_settings: Settings) -> Iterator[ChainHarness]:
    """A chain of smartbills.com and BillflowAI, with new accounts."""
    harness = ExtractionHarness(ledger, DocumentStore(app_settings.documents_directory), sandbox)
    with ScriptedServer() as smartbills_server, ScriptedServer() as billflowai_server:
        yield ChainHarness(
            harness,
            app_settings,
            {SMARTBILLS: VendorProxy(smartbills_server, sandbox), BILLFLOWAI: VendorProxy(billflowai_server, sandbox)},
        )


# Preference order


def test_only_the_first_extractor_in_order_is_used(chain_harness: ChainHarness) -> None:
    hashes = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:3])
    report = chain_harness.run_extraction()
    assert (chain_harness.list_charged_documents(SMARTBILLS), chain_harness.count_calls(BILLFLOWAI)) == (hashes, 0)
    assert (get_totals(report[SMARTBILLS]), chain_harness.harness.concluded_count) == ((3, 3, 3), 3)
    chain_harness.extractor_order = (BILLFLOWAI, SMARTBILLS)
    later = chain_harness.harness.add_documents(ONE_PAGE_PDFS[3])
    chain_harness.run_extraction()
    assert (
        chain_harness.list_charged_documents(BILLFLOWAI),
        len(chain_harness.list_charged_documents(SMARTBILLS)),
    ) == (later, 3)


def test_a_document_that_fails_goes_to_the_next_extractor(chain_harness: ChainHarness) -> None:
    failing, sound = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:2])
    chain_harness.update_sandbox_settings(SMARTBILLS, fail_ids=failing)
    report = chain_harness.run_extraction()
    assert chain_harness.harness.list_document_states([failing, sound]) == {ANSWERED}
    assert chain_harness.list_statuses_by_extractor(failing) == {SMARTBILLS: "failed", BILLFLOWAI: "answered"}
    assert (chain_harness.list_charged_documents(SMARTBILLS), chain_harness.list_charged_documents(BILLFLOWAI)) == (
        [failing, sound],
        [failing],
    )
    assert (get_totals(report[SMARTBILLS]), report[SMARTBILLS].passed_to_next) == ((2, 2, 1), 1)
    assert (get_totals(report[BILLFLOWAI]), chain_harness.harness.concluded_count) == ((1, 1, 1), 2)


def test_three_extractors_are_tried_in_order(chain_harness: ChainHarness) -> None:
    chain_harness.extractor_order = (SMARTBILLS, INVOICE_DATA_EXTRACTION, BILLFLOWAI)
    (sha,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    chain_harness.update_sandbox_settings(SMARTBILLS, fail_ids=sha)
    chain_harness.update_sandbox_settings(INVOICE_DATA_EXTRACTION, encrypted_files=f"{sha}.pdf")
    report = chain_harness.run_extraction()
    assert chain_harness.list_statuses_by_extractor(sha) == {
        SMARTBILLS: "failed",
        INVOICE_DATA_EXTRACTION: "failed",
        BILLFLOWAI: "answered",
    }
    assert [len(chain_harness.list_charged_documents(name)) for name in chain_harness.extractor_order] == [1, 0, 1]
    assert [report[name].passed_to_next for name in chain_harness.extractor_order] == [1, 1, 0]
    assert chain_harness.harness.get_document_state(sha) == ANSWERED


def test_a_document_that_all_extractors_fail_to_read_is_quarantined_with_the_last_reason(
    chain_harness: ChainHarness,
) -> None:
    (sha,) = chain_harness.harness.add_documents(*build_unknown_pdfs(1))
    report = chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(sha) == ("done", "quarantined", "extraction_failed")
    assert "BillflowAI" in chain_harness.harness.get_document_row(sha)["reason"]
    assert (report[SMARTBILLS].passed_to_next, report[BILLFLOWAI].quarantined) == (1, 1)
    assert chain_harness.harness.concluded_count == 1
    calls = chain_harness.count_calls(SMARTBILLS), chain_harness.count_calls(BILLFLOWAI)
    chain_harness.run_extraction()
    assert (chain_harness.count_calls(SMARTBILLS), chain_harness.count_calls(BILLFLOWAI)) == calls


def test_a_document_too_large_for_one_extractor_goes_to_another(chain_harness: ChainHarness) -> None:
    large = ONE_PAGE_PDFS[0] + b"\n%" + b"x" * MAX_BYTES
    chain_harness.update_sandbox_settings(BILLFLOWAI, read_strangers=True)
    (sha,) = chain_harness.harness.add_documents(large)
    chain_harness.run_extraction()
    assert chain_harness.list_statuses_by_extractor(sha) == {BILLFLOWAI: "answered"}
    assert chain_harness.count_calls(SMARTBILLS) == 0


def test_a_document_of_an_unsupported_type_goes_to_review_without_a_call(chain_harness: ChainHarness) -> None:
    (sha,) = chain_harness.harness.add_documents(b"<xml/>", media_type="application/xml")
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(sha) == ("done", "review", "extractor_cannot_read")
    assert (
        chain_harness.count_calls(SMARTBILLS),
        chain_harness.count_calls(BILLFLOWAI),
        chain_harness.harness.concluded_count,
    ) == (0, 0, 1)


def test_b40_a_document_too_large_for_all_extractors_goes_to_review_without_a_call(
    chain_harness: ChainHarness,
) -> None:
    (sha,) = chain_harness.harness.add_documents(b"\x89PNG\r\n\x1a\n" + b"x" * (20 << 20), media_type="image/png")
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(sha) == ("done", "review", "extractor_cannot_read")
    assert (
        "smartbills_com accepts image/png up to 10,485,760 bytes"
        in chain_harness.harness.get_document_row(sha)["reason"]
    )
    assert (chain_harness.count_calls(SMARTBILLS), chain_harness.count_calls(BILLFLOWAI)) == (0, 0)


@pytest.mark.parametrize(
    ("media_type", "limit"), [("image/png", 5 << 20), ("image/jpeg", 5 << 20), ("application/pdf", 150 << 20)]
)
def test_b40_the_vendors_size_limits_are_checked_before_any_upload(media_type: str, limit: int) -> None:
    first_seen = dt.datetime.now(dt.UTC)
    fits, large = (PendingDocument("d" * 64, 1, media_type, first_seen, 1, size) for size in (limit, limit + 1))
    assert choose_extractor(fits, [], [INVOICE_DATA_EXTRACTION]) == INVOICE_DATA_EXTRACTION
    assert choose_extractor(large, [], [INVOICE_DATA_EXTRACTION]) is None
    assert f"up to {limit:,} bytes" in explain_unsupported_document(INVOICE_DATA_EXTRACTION, large)


def test_without_a_configured_extractor_documents_wait_and_the_reason_names_a_key(chain_harness: ChainHarness) -> None:
    chain_harness.vendors_without_key = {SMARTBILLS, BILLFLOWAI, INVOICE_DATA_EXTRACTION}
    (sha,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    assert chain_harness.run_extraction() == {}
    assert chain_harness.harness.get_document_state(sha) == ("extract_remote", "waiting", "no_extractor")
    assert "__API_KEY" in chain_harness.harness.get_document_row(sha)["reason"]


def test_a_second_run_with_nothing_new_changes_no_row(chain_harness: ChainHarness) -> None:
    chain_harness.vendors_without_key = {SMARTBILLS, BILLFLOWAI, INVOICE_DATA_EXTRACTION}
    (sha,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    chain_harness.run_extraction()
    before = chain_harness.harness.get_document_row(sha)
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_row(sha) == before


# Suspended vendors


@pytest.mark.parametrize("batch_count", [1, 3])
def test_the_documents_of_a_refused_account_wait_for_it(chain_harness: ChainHarness, batch_count: int) -> None:
    hashes = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:6])
    chain_harness.proxies[SMARTBILLS].plan_events("submit", Response(402), repeat=50)
    chain_harness.run_extraction(batch_count=batch_count)
    assert chain_harness.harness.list_document_states(hashes) == {("extract_remote", "waiting", "account_stopped")}
    assert (chain_harness.proxies[SMARTBILLS].count_calls("submit"), chain_harness.count_calls(BILLFLOWAI)) == (1, 0)
    assert chain_harness.suspended_vendors == {SMARTBILLS}


@pytest.mark.parametrize("batch_count", [1, 3])
def test_the_documents_of_a_refused_account_go_to_the_next_extractor_if_the_settings_allow_it(
    chain_harness: ChainHarness, batch_count: int
) -> None:
    chain_harness.fall_back = "unavailable"
    hashes = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:6])
    chain_harness.proxies[SMARTBILLS].plan_events("submit", Response(402), repeat=50)
    report = chain_harness.run_extraction(batch_count=batch_count)
    assert (chain_harness.harness.list_document_states(hashes), chain_harness.list_charged_documents(BILLFLOWAI)) == (
        {ANSWERED},
        hashes,
    )
    assert (
        chain_harness.proxies[SMARTBILLS].count_calls("submit"),
        chain_harness.list_charged_documents(SMARTBILLS),
    ) == (1, [])
    assert (
        get_totals(report[BILLFLOWAI]),
        len(report[SMARTBILLS].problems),
        chain_harness.harness.concluded_count,
    ) == ((6, 6, 6), 1, 6)


@pytest.mark.parametrize("status", ["submitted", "unknown", "intended"])
def test_no_other_extractor_is_used_while_an_extraction_is_open(chain_harness: ChainHarness, status: str) -> None:
    chain_harness.fall_back = "unavailable"
    (sha,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    create_open_extraction(chain_harness, sha, status)
    chain_harness.proxies[SMARTBILLS].plan_events("poll", Response(401), repeat=9)
    chain_harness.proxies[SMARTBILLS].plan_events("list", Response(401), repeat=9)
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(sha)[:2] == ("extract_remote", "waiting")
    assert (list(chain_harness.list_statuses_by_extractor(sha)), chain_harness.count_calls(BILLFLOWAI)) == (
        [SMARTBILLS],
        0,
    )
    chain_harness.proxies[SMARTBILLS].events.clear()
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(sha) == ANSWERED
    assert (chain_harness.list_charged_documents(SMARTBILLS), chain_harness.count_calls(BILLFLOWAI)) == ([sha], 0)


def test_a_document_waits_for_its_next_extractor_while_that_is_suspended(chain_harness: ChainHarness) -> None:
    failing, other = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:2])
    chain_harness.update_sandbox_settings(SMARTBILLS, fail_ids=failing)
    chain_harness.proxies[BILLFLOWAI].plan_events("submit", Response(402), repeat=9)
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(other) == ANSWERED
    assert chain_harness.harness.get_document_state(failing) == ("extract_remote", "waiting", "account_stopped")
    assert "BillflowAI" in chain_harness.harness.get_document_row(failing)["reason"]
    chain_harness.proxies[BILLFLOWAI].events.clear()
    chain_harness.run_extraction()
    assert (chain_harness.harness.get_document_state(failing), chain_harness.list_charged_documents(BILLFLOWAI)) == (
        ANSWERED,
        [failing],
    )
    assert chain_harness.list_charged_documents(SMARTBILLS) == [failing, other]


@pytest.mark.parametrize("batch_count", [1, 2])
def test_documents_claimed_by_another_worker_are_neither_submitted_nor_changed(
    chain_harness: ChainHarness, batch_count: int
) -> None:
    first, second = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:2])
    chain_harness.proxies[SMARTBILLS].plan_events("submit", Response(402), repeat=9)
    chain_harness.run_extraction(batch_count=batch_count, lost_documents=[second])
    assert chain_harness.harness.get_document_state(first) == ("extract_remote", "waiting", "account_stopped")
    assert (chain_harness.harness.get_document_state(second), chain_harness.list_statuses_by_extractor(second)) == (
        ("extract_remote", "waiting", "no_text"),
        {},
    )
    chain_harness.proxies[SMARTBILLS].events.clear()
    chain_harness.run_extraction(lost_documents=[first, second])
    assert (chain_harness.list_charged_documents(SMARTBILLS), chain_harness.harness.concluded_count) == ([], 4)


# Vendors removed from the order


@pytest.mark.parametrize("status", ["submitted", "unknown"])
def test_a_vendor_removed_from_the_order_is_still_polled_for_open_extractions(
    chain_harness: ChainHarness, status: str
) -> None:
    (pending,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    create_open_extraction(chain_harness, pending, status)
    chain_harness.extractor_order = (BILLFLOWAI,)
    (new,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[1])
    chain_harness.run_extraction()
    assert chain_harness.harness.list_document_states([pending, new]) == {ANSWERED}
    assert (chain_harness.list_charged_documents(SMARTBILLS), chain_harness.list_charged_documents(BILLFLOWAI)) == (
        [pending],
        [new],
    )


@pytest.mark.parametrize("order", [(BILLFLOWAI,), (SMARTBILLS, BILLFLOWAI)])
def test_an_open_extraction_waits_if_the_vendors_key_was_removed(
    chain_harness: ChainHarness, order: tuple[str, ...]
) -> None:
    (pending,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    create_open_extraction(chain_harness, pending, "submitted")
    chain_harness.extractor_order, chain_harness.vendors_without_key = order, {SMARTBILLS}
    (new,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[1])
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(pending) == ("extract_remote", "waiting", "no_extractor")
    assert "INVOICES_SMARTBILLS_COM__API_KEY" in chain_harness.harness.get_document_row(pending)["reason"]
    assert (chain_harness.list_charged_documents(BILLFLOWAI), chain_harness.harness.get_document_state(new)) == (
        [new],
        ANSWERED,
    )
    chain_harness.vendors_without_key = set()
    chain_harness.run_extraction()
    assert (chain_harness.harness.get_document_state(pending), chain_harness.list_charged_documents(SMARTBILLS)) == (
        ANSWERED,
        [pending],
    )


def test_an_open_extraction_of_an_unknown_extractor_waits(chain_harness: ChainHarness) -> None:
    (pending,) = chain_harness.harness.add_documents(ONE_PAGE_PDFS[0])
    create_open_extraction(chain_harness, pending, "submitted")
    with chain_harness.harness.ledger.begin_transaction() as tx:
        tx.connection.exec_driver_sql("update extractions set extracted_by = 'of_a_later_version'")
    chain_harness.run_extraction()
    assert chain_harness.harness.get_document_state(pending) == ("extract_remote", "waiting", "no_extractor")
    assert "of_a_later_version" in chain_harness.harness.get_document_row(pending)["reason"]
    assert chain_harness.count_calls(BILLFLOWAI) == 0


# Caps


@pytest.mark.parametrize("period", ["run", "day", "month"])
def test_a_cap_holds_across_batches_and_causes_no_fallback(chain_harness: ChainHarness, period: str) -> None:
    chain_harness.fall_back = "unavailable"
    chain_harness.vendor_settings[SMARTBILLS] = {f"pages_per_{period}": 3}
    hashes = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:6])
    report = chain_harness.run_extraction(batch_count=3)
    assert (chain_harness.list_charged_documents(SMARTBILLS), chain_harness.count_calls(BILLFLOWAI)) == (hashes[:3], 0)
    assert chain_harness.harness.list_document_states(hashes[3:]) == {("extract_remote", "waiting", "cap_reached")}
    assert report[SMARTBILLS].remarks
    assert report[SMARTBILLS].problems == []
    assert chain_harness.harness.concluded_count == 6


def test_documents_that_fall_back_count_against_the_next_extractors_cap(chain_harness: ChainHarness) -> None:
    chain_harness.vendor_settings[BILLFLOWAI] = {"pages_per_day": 1}
    hashes = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:3])
    chain_harness.update_sandbox_settings(SMARTBILLS, fail_ids=",".join(hashes))
    chain_harness.run_extraction()
    assert (
        len(chain_harness.list_charged_documents(SMARTBILLS)),
        len(chain_harness.list_charged_documents(BILLFLOWAI)),
    ) == (3, 1)
    assert sorted(chain_harness.harness.get_document_state(sha)[2] for sha in hashes) == [
        "answered",
        "cap_reached",
        "cap_reached",
    ]


def test_the_reports_equal_the_vendors_journals(chain_harness: ChainHarness) -> None:
    chain_harness.vendor_settings = {name: {"connections": 4} for name in chain_harness.vendor_settings}
    chain_harness.update_sandbox_settings(SMARTBILLS, post_lost_response=2)
    chain_harness.update_sandbox_settings(BILLFLOWAI, lost_response=1)
    sound = chain_harness.harness.add_documents(*ONE_PAGE_PDFS[:9])
    (long,) = chain_harness.harness.add_documents(TWO_PAGE_PDF, page_count=2)
    unreadable = chain_harness.harness.add_documents(*build_unknown_pdfs(4))
    chain_harness.update_sandbox_settings(SMARTBILLS, fail_ids=",".join(sound[:3]))
    report = chain_harness.run_extraction()
    assert (report[SMARTBILLS].submissions, report[SMARTBILLS].pages_charged) == (
        len(chain_harness.list_charged_documents(SMARTBILLS)),
        chain_harness.sum_charged_pages(SMARTBILLS),
    )
    assert (report[SMARTBILLS].answered, report[SMARTBILLS].passed_to_next) == (7, 7)
    assert (get_totals(report[BILLFLOWAI]), report[BILLFLOWAI].quarantined) == (
        (3, chain_harness.sum_charged_pages(BILLFLOWAI), 3),
        4,
    )
    assert chain_harness.harness.list_document_states([*sound, long]) == {ANSWERED}
    assert chain_harness.harness.list_document_states(unreadable) == {("done", "quarantined", "extraction_failed")}
    assert chain_harness.harness.concluded_count == 14


def create_open_extraction(chain_harness: ChainHarness, sha256: str, status: str) -> None:
    """Let a run with smartbills.com end with an open extraction of a document."""
    proxy = chain_harness.proxies[SMARTBILLS]
    proxy.plan_events("poll", Response(401))
    proxy.plan_events("list", Response(401))
    if status != "submitted":
        proxy.plan_events("submit", LOST_RESPONSE)
    chain_harness.run_extraction()
    proxy.events.clear()
    if status == "intended":
        with chain_harness.harness.ledger.begin_transaction() as tx:
            tx.connection.exec_driver_sql("update extractions set status = 'intended'")
    assert chain_harness.list_statuses_by_extractor(sha256) == {SMARTBILLS: status}
