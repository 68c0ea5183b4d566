"""Regression tests for bugs that a review of paid extraction found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import FilesRefused, NotEnoughCredits, TaskError, TaskRefused
from invoices.documents.store import DocumentStore
from invoices.errors import ContractError, InvoicesError, TransientError
from invoices.extraction.extraction_recorder import ExtractionRecorder
from invoices.extraction.invoicedataextraction_com import EXTRACTOR, VENDOR, build_configuration
from invoices.ledger import Ledger
from invoices.ledger.documents import set_document_state
from invoices.ledger.extractions import ExtractionTerms
from invoices.settings import Settings
from sandbox.process import Sandbox
from tests.integration.extraction import extraction_fixtures
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness
from tests.integration.extraction.extraction_fixtures import SimulatedKill
from tests.integration.extraction.extractor_chain_fixtures import BILLFLOWAI, INVOICE_DATA_EXTRACTION, ChainHarness

UNUSED_URL = "http://127.0.0.1:9"  # the port of the discard service, which does not run


@pytest.fixture
def chain_harness(batch_sandbox: Sandbox, ledger: Ledger, app_settings: Settings) -> ChainHarness:
    """A chain of batches, then BillflowAI, that falls back from unavailable vendors."""
    harness = ChainHarness(
        extraction_fixtures.ExtractionHarness(ledger, DocumentStore(app_settings.documents_directory), batch_sandbox),
        app_settings,
        {},
    )
    harness.extractor_order, harness.fall_back = (INVOICE_DATA_EXTRACTION, BILLFLOWAI), "unavailable"
    return harness


# Settings that change while an extraction is open


def test_a_submitted_batch_is_answered_after_the_structure_was_changed(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("poll_extraction", after_call=False, structure="per_line_item")
    batch_harness.run_extraction(structure="per_invoice")
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_a_lost_submission_is_not_repeated_after_the_structure_was_changed(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("submit_extraction", structure="per_line_item")
    batch_harness.run_extraction(structure="per_invoice")
    assert len(batch_harness.list_remote_extractions()) == 1
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_an_uploaded_batch_is_submitted_after_the_structure_was_changed(
    batch_harness: BatchHarness,
) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("submit_extraction", after_call=False, structure="per_line_item")
    batch_harness.run_extraction(structure="per_invoice")
    assert len(batch_harness.list_remote_extractions()) == 1
    assert batch_harness.list_document_states(*hashes) == ANSWERED


# A refused repeat says nothing about the submission before it


def build_refusal(code: str, file_id: str) -> InvoicesError:
    """Return the error of the client when the vendor refuses a submission with this code."""
    if code == "INSUFFICIENT_CREDITS":
        return NotEnoughCredits(code)
    if code == "FILE_LINK_UNREADABLE":
        files_error = FilesRefused(code, reason_code="content_refused")
        files_error.file_ids = (file_id,)
        return files_error
    task_error = TaskRefused(code)
    task_error.error = TaskError(code, message="the first one runs", retryable=True)
    return task_error


REFUSAL_CODES = ("INSUFFICIENT_CREDITS", "CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED", "FILE_LINK_UNREADABLE")


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("code", REFUSAL_CODES)
def test_a_refused_repeat_counts_only_after_a_lookup_of_the_first_submission(
    batch_harness: BatchHarness, code: str, *, is_killed: bool
) -> None:
    hashes, calls = batch_harness.add_documents(2), list[str]()

    def submit_or_refuse(original_call: Callable[..., str], *args: Any, **kwargs: Any) -> str:
        calls.append("submit")
        if len(calls) == 2:
            raise build_refusal(code, hashes[0])
        answer = original_call(*args, **kwargs)
        if len(calls) == 1:
            raise SimulatedKill(code) if is_killed else TransientError("the answer was lost")
        return answer

    batch_harness.call_overrides["submit_extraction"] = submit_or_refuse
    if is_killed:
        with pytest.raises(SimulatedKill):
            batch_harness.run_extraction()
    batch_harness.run_extraction()
    batch_harness.run_extraction()
    assert len(batch_harness.list_remote_extractions()) == 1
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


# Unavailable vendors


def test_documents_go_to_the_next_extractor_if_the_batch_vendor_is_unreachable(chain_harness: ChainHarness) -> None:
    hashes = chain_harness.harness.add_documents(*extraction_fixtures.ONE_PAGE_PDFS[:2])
    chain_harness.vendor_settings[INVOICE_DATA_EXTRACTION] = {"base_url": UNUSED_URL}
    chain_harness.run_extraction()
    assert chain_harness.harness.list_document_states(hashes) == {extraction_fixtures.ANSWERED}
    assert chain_harness.list_charged_documents(BILLFLOWAI) == hashes


def test_documents_of_an_unsent_batch_go_to_the_next_extractor(chain_harness: ChainHarness) -> None:
    hashes = chain_harness.harness.add_documents(*extraction_fixtures.ONE_PAGE_PDFS[:2])
    chain_harness.update_sandbox_settings(INVOICE_DATA_EXTRACTION, paused_until="further notice")
    chain_harness.run_extraction()
    assert chain_harness.harness.list_document_states(hashes) == {extraction_fixtures.ANSWERED}
    assert (
        chain_harness.list_charged_documents(INVOICE_DATA_EXTRACTION),
        chain_harness.list_charged_documents(BILLFLOWAI),
    ) == ([], hashes)


def test_a_vendor_removed_from_the_order_is_not_paid_for_unsent_documents(chain_harness: ChainHarness) -> None:
    hashes = chain_harness.harness.add_documents(*extraction_fixtures.ONE_PAGE_PDFS[:2])
    chain_harness.fall_back = "failed"
    chain_harness.update_sandbox_settings(INVOICE_DATA_EXTRACTION, paused_until="further notice")
    chain_harness.run_extraction()
    chain_harness.update_sandbox_settings(INVOICE_DATA_EXTRACTION, paused_until="")
    chain_harness.extractor_order = (BILLFLOWAI,)
    chain_harness.run_extraction()
    assert (
        chain_harness.list_charged_documents(INVOICE_DATA_EXTRACTION),
        chain_harness.list_charged_documents(BILLFLOWAI),
    ) == ([], hashes)


@pytest.mark.parametrize("order", [("smartbills_com",), ("smartbills_com", BILLFLOWAI)])
def test_a_document_that_all_extractors_have_deferred_waits(
    chain_harness: ChainHarness, order: tuple[str, ...]
) -> None:
    chain_harness.extractor_order = order
    chain_harness.vendor_settings |= {name: {"base_url": UNUSED_URL} for name in order}
    hashes = chain_harness.harness.add_documents(extraction_fixtures.ONE_PAGE_PDFS[0])
    chain_harness.run_extraction()
    assert chain_harness.harness.list_document_states(hashes) == {("extract_remote", "waiting", "vendor_unavailable")}


def test_a_failed_document_waits_while_the_next_extractor_is_down(chain_harness: ChainHarness) -> None:
    (sha256,) = chain_harness.harness.add_documents(extraction_fixtures.ONE_PAGE_PDFS[0])
    chain_harness.extractor_order, chain_harness.vendor_settings[BILLFLOWAI] = (
        ("smartbills_com", BILLFLOWAI),
        {"base_url": UNUSED_URL},
    )
    chain_harness.update_sandbox_settings("smartbills_com", fail_ids=sha256)
    chain_harness.run_extraction()
    assert chain_harness.harness.list_document_states([sha256]) == {("extract_remote", "waiting", "vendor_unavailable")}


# Broken documents and late workers


def test_a_batch_that_is_always_refused_does_not_block_the_others(
    batch_harness: BatchHarness,
) -> None:
    (bad,), good = batch_harness.add_documents(1), batch_harness.add_documents(3)

    def submit_or_refuse(original_call: Callable[..., str], submission: Any) -> str:
        if bad in submission.file_ids:
            raise ContractError("INVALID_INPUT")
        return original_call(submission)

    batch_harness.call_overrides["submit_extraction"] = submit_or_refuse
    for _ in range(3):
        batch_harness.run_extraction(batch_documents=1)
    assert batch_harness.list_document_states(*good) == ANSWERED


def test_a_late_worker_does_not_change_an_accepted_document(batch_harness: BatchHarness) -> None:
    (sha256,) = batch_harness.add_documents(1)
    batch_harness.run_extraction()
    with batch_harness.ledger.begin_transaction() as tx:
        set_document_state(
            tx, sha256, stage="done", state="accepted", reason_code="accepted", reason="It is in the books."
        )
    terms = ExtractionTerms(EXTRACTOR)
    late_recorder = ExtractionRecorder(
        batch_harness.ledger, batch_harness.store, "late worker", terms, VENDOR, build_configuration("per_line_item")
    )
    late_recorder.record_failure(sha256, "extraction_stuck", "It takes too long.")
    assert batch_harness.list_document_states(sha256) == {("done", "accepted")}
