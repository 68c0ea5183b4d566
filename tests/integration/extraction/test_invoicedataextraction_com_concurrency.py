"""Extraction with invoicedataextraction.com: other workers, random faults and kills."""

from __future__ import annotations

import random
from typing import Any

import pytest

from invoices.ledger.claims import claim_all_or_none, release_claims
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness
from tests.integration.extraction.extraction_fixtures import SimulatedKill

ROUTES = ("balance", "session", "parts", "put", "complete", "submit", "status", "results")


def test_a_batch_with_documents_of_another_living_worker_is_skipped(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(3)
    batch_harness.run_until_killed("open_session")
    batch_harness.living_workers.add("another")
    with batch_harness.ledger.begin_transaction() as tx:
        for name in batch_harness.list_claim_holders():
            release_claims(tx, name)
        assert claim_all_or_none(tx, "another", hashes[:1])
    report = batch_harness.run_extraction()
    assert (report.submissions, sum(batch_harness.client.call_counts.values())) == (0, 0)
    batch_harness.living_workers.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


def test_documents_outside_the_batch_of_another_worker_are_extracted(batch_harness: BatchHarness) -> None:
    other_hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("open_session")
    batch_harness.living_workers.add("another")
    with batch_harness.ledger.begin_transaction() as tx:
        for name in batch_harness.list_claim_holders():
            release_claims(tx, name)
        assert claim_all_or_none(tx, "another", other_hashes)
    own_hashes = batch_harness.add_documents(2)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*own_hashes) == ANSWERED
    assert batch_harness.list_document_states(*other_hashes).isdisjoint(ANSWERED)


def test_a_batch_whose_claims_are_lost_is_not_submitted(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)

    def release_all_claims(original_call: Any, *args: Any) -> Any:
        original_call(*args)
        with batch_harness.ledger.begin_transaction() as tx:
            for name in batch_harness.list_claim_holders():
                release_claims(tx, name)

    batch_harness.call_overrides["finish_file_upload"] = release_all_claims
    report = batch_harness.run_extraction(connections=1)
    assert (
        report.submissions,
        batch_harness.client.call_counts["submit_extraction"],
        batch_harness.list_remote_extractions(),
    ) == (0, 0, [])
    assert batch_harness.concluded_count == 2  # for this run
    batch_harness.call_overrides.clear()
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes)


def test_documents_claimed_by_another_worker_are_not_in_a_new_batch(
    batch_harness: BatchHarness,
) -> None:
    other_hashes, *own_hashes = batch_harness.add_documents(3)

    def move_claim_to_other_worker(original_call: Any) -> Any:
        with batch_harness.ledger.begin_transaction() as tx:
            for name in batch_harness.list_claim_holders():
                release_claims(tx, name)
                assert claim_all_or_none(tx, name, own_hashes)
            assert claim_all_or_none(tx, "another", [other_hashes])
        return original_call()

    batch_harness.call_overrides["fetch_balance"] = move_claim_to_other_worker
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*own_hashes) == ANSWERED
    assert batch_harness.list_document_states(other_hashes) == {("extract_remote", "needs_extraction")}
    assert batch_harness.list_extractions(other_hashes) == []


def test_an_answer_recorded_by_another_worker_is_not_recorded_again(batch_harness: BatchHarness) -> None:
    first, second = batch_harness.add_documents(2)

    def record_answer_of_other_worker(original_call: Any, extraction_id: str) -> Any:
        recorder = batch_harness.build_extractor("another", batch_harness.steps).recorder
        with batch_harness.ledger.begin_transaction() as tx:
            recorder.record_answer_in(tx, recorder.get_extraction_id(first), first, {"by": "another"}, pages_charged=1)
        return original_call(extraction_id)

    batch_harness.call_overrides["fetch_results"] = record_answer_of_other_worker
    report = batch_harness.run_extraction()
    assert (report.answered, report.pages_charged, report.problems) == (1, 1, [])
    assert batch_harness.get_extraction(first)["payload"] == '{"by": "another"}'
    assert batch_harness.list_document_states(first, second) == ANSWERED


def test_open_documents_of_a_concluded_batch_are_submitted_again(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)
    batch_harness.run_until_killed("open_session")
    batch_harness.update_batches(status="concluded")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)


@pytest.mark.parametrize("seed", range(6))
def test_after_random_faults_every_document_is_answered_and_the_charges_agree(
    batch_harness: BatchHarness, seed: int
) -> None:
    generator = random.Random(seed)  # noqa: S311  not used as a secret
    hashes = batch_harness.add_documents(12)
    batch_harness.update_sandbox_settings(
        processing_seconds=generator.choice([0, 0.2]),
        lost_response=[f"{route}={generator.randint(0, 2)}" for route in ROUTES],
        http_500_after_work=[f"{route}={generator.randint(0, 1)}" for route in ROUTES],
        task_fail_code=[f"SUBMISSION_STALLED={generator.randint(0, 2)}", f"INTERNAL_ERROR={generator.randint(0, 2)}"],
        complete_fail_n=generator.randint(0, 3),
        task_errors=generator.choice(["as_task", "as_http"]),
    )
    for _ in range(12):
        if batch_harness.list_document_states(*hashes) == ANSWERED:
            break
        batch_harness.run_extraction(batch_documents=4, connections=generator.choice([1, 3]))
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert len({charge["document_sha256"] for charge in batch_harness.read_journal()["charges"]}) == 12
    batch_harness.assert_accounts_match(*hashes)


@pytest.mark.parametrize("seed", range(4))
def test_after_random_faults_and_kills_no_page_is_charged_twice(batch_harness: BatchHarness, seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311  not used as a secret
    hashes = batch_harness.add_documents(6)
    batch_harness.update_sandbox_settings(
        lost_response=[f"{route}=2" for route in ROUTES], task_fail_code="SUBMISSION_STALLED=1"
    )
    for _ in range(25):
        if batch_harness.list_document_states(*hashes) == ANSWERED:
            break
        try:
            batch_harness.run_extraction(kill_at_step=generator.randint(5, 60), batch_documents=3)
        except SimulatedKill:
            continue
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    batch_harness.assert_accounts_match(*hashes, was_killed=True)
