"""Extractions that were paid for and lost: a person lists, adopts, releases or abandons them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from invoices.clients.error_mapping import NotFound
from invoices.extraction.answer_adoption import AnswerNotAdoptable
from invoices.extraction.extraction_recorder import to_exact_json
from invoices.ledger import Ledger
from invoices.ledger.claims import claim_pending_documents, list_claim_holders, release_claims
from invoices.ledger.lost_extractions import (
    ExtractionChanged,
    LostExtraction,
    abandon_lost_extraction,
    list_lost_extractions,
    record_adopted_answer,
    release_lost_extraction,
)
from invoices.ledger.tables import spending
from invoices.settings import Settings
from tests.e2e.command_line import CommandResult, build_environment, run_command
from tests.integration.extraction.batch_fixtures import ANSWERED as ANSWERED_BATCH
from tests.integration.extraction.batch_fixtures import BatchHarness, StepCounter
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    ONE_PAGE_PDFS,
    VENDOR_MINUTE_SECONDS,
    ExtractionHarness,
)
from tests.integration.extraction.extractor_chain_fixtures import BILLFLOWAI, SMARTBILLS, ChainHarness

OUTCOME_UNKNOWN = ("done", "quarantined", "outcome_unknown")


def release_all_claims(ledger: Ledger) -> None:
    """Release what the workers of the harness, which have ended, have claimed."""
    with ledger.begin_transaction() as tx:
        for holder in list_claim_holders(tx.connection):
            release_claims(tx, holder)


class LostDocument:
    """A document of which both submissions to a vendor were charged and not answered."""

    def __init__(self, chain_harness: ChainHarness, vendor: str, settings: Settings) -> None:
        self.chain_harness, self.harness, self.vendor = chain_harness, chain_harness.harness, vendor
        self._home = settings.home
        chain_harness.extractor_order = (vendor,)
        lost = {"post_lost_response": 2, "list_route": "off"} if vendor == SMARTBILLS else {"lost_response": 2}
        chain_harness.update_sandbox_settings(vendor, **lost)
        if vendor == BILLFLOWAI:
            chain_harness.update_sandbox_settings(vendor, source="extracted")  # no answer from the cache
        (self.sha256,) = self.harness.add_documents(ONE_PAGE_PDFS[0])
        chain_harness.run_extraction()
        release_all_claims(self.harness.ledger)
        assert self.state == OUTCOME_UNKNOWN
        assert self.charge_count == 2
        chain_harness.update_sandbox_settings(vendor, **({"list_route": "on"} if vendor == SMARTBILLS else {}))

    @property
    def state(self) -> tuple[str, str, str]:
        """The stage, state and reason code of the document."""
        return self.harness.get_document_state(self.sha256)

    @property
    def charge_count(self) -> int:
        """How often the vendor has charged for it."""
        return self.chain_harness.list_charged_documents(self.vendor).count(self.sha256)

    @property
    def spent_pages(self) -> int:
        """The pages that count against the caps of the month."""
        with self.harness.ledger.open_snapshot() as connection:
            rows = connection.execute(spending.select().where(spending.c.period.startswith("month:")))
            return sum(row.pages for row in rows)

    def run_command(self, *arguments: str) -> CommandResult:
        """Run ``invoices extraction`` with the account of this test."""
        name = self.vendor.upper()
        base_url = getattr(self.harness.sandbox, self.vendor)["base_url"]
        vendor_settings: Mapping[str, str] = {
            f"INVOICES_{name}__API_KEY": self.chain_harness.api_keys[self.vendor],
            f"INVOICES_{name}__BASE_URL": base_url,
            f"INVOICES_{name}__PAGE_PRICE": "0.05",
            f"INVOICES_{name}__PAGE_PRICE_CURRENCY": "EUR",
            "INVOICES_EXTRACTORS": self.vendor,
            "INVOICES_VENDOR_MINUTE_SECONDS": str(VENDOR_MINUTE_SECONDS),
        }
        return run_command(self._home, "extraction", *arguments, env=build_environment(self._home, **vendor_settings))


@pytest.fixture
def lost_document(request: pytest.FixtureRequest, harness: ExtractionHarness, app_settings: Settings) -> LostDocument:
    """A document of which two submissions were lost; the parameter is the vendor."""
    return LostDocument(ChainHarness(harness, app_settings, {}), request.param, app_settings)


@pytest.mark.parametrize("lost_document", [SMARTBILLS], indirect=True)
def test_a_lost_extraction_is_listed_and_its_answer_adopted_at_no_cost(lost_document: LostDocument) -> None:
    listing = lost_document.run_command("list", "--json")
    (entry,) = listing.json_output["extractions"]
    assert (entry["document_sha256"], entry["possible_double_charge"], entry["pages_that_may_be_charged"]) == (
        lost_document.sha256,
        True,
        2,
    )
    assert "POSSIBLY CHARGED TWICE" in listing.stdout
    result = lost_document.run_command("adopt", entry["extraction_id"][:8], "--yes", "--json")
    assert result.exit_status == 0, result.stderr
    assert "this costs nothing more" in result.stdout
    assert result.json_output["decision"] == "adopt"
    assert (lost_document.state, lost_document.charge_count) == (ANSWERED, 2)
    extraction = lost_document.harness.get_extraction(lost_document.sha256)
    assert (extraction["status"], extraction["possible_double_charge"]) == ("answered", True)
    assert "total_amount" in extraction["payload"]
    assert lost_document.run_command("list", "--json").json_output == {"extractions": []}


@pytest.mark.parametrize("lost_document", [SMARTBILLS, BILLFLOWAI], indirect=True)
def test_a_released_document_is_submitted_once_more_and_stays_flagged(lost_document: LostDocument) -> None:
    pages_before = lost_document.spent_pages
    result = lost_document.run_command("release", lost_document.sha256[:10], "--yes")
    assert result.exit_status == 0, result.stderr
    assert "this may cost 1 page more (0.05 EUR)" in result.stdout
    assert (lost_document.state, lost_document.charge_count) == (("extract_remote", "waiting", "released"), 2)
    lost_document.chain_harness.run_extraction()
    extraction = lost_document.harness.get_extraction(lost_document.sha256)
    assert (lost_document.state, lost_document.charge_count) == (ANSWERED, 3)
    assert extraction["possible_double_charge"]
    assert (pages_before, lost_document.spent_pages) == (2, 3)


@pytest.mark.parametrize("lost_document", [SMARTBILLS], indirect=True)
def test_a_released_document_that_is_lost_again_is_not_submitted_again(lost_document: LostDocument) -> None:
    lost_document.run_command("release", lost_document.sha256, "--yes")
    lost_document.chain_harness.update_sandbox_settings(SMARTBILLS, post_lost_response=5, list_route="off")
    for _ in range(2):
        lost_document.chain_harness.run_extraction()
        assert (lost_document.state, lost_document.charge_count) == (OUTCOME_UNKNOWN, 3)


@pytest.mark.parametrize("lost_document", [SMARTBILLS], indirect=True)
def test_an_abandoned_document_is_never_submitted_again_and_its_charge_stays_counted(
    lost_document: LostDocument,
) -> None:
    assert lost_document.run_command("abandon", lost_document.sha256[:6], "--yes").exit_status == 0
    lost_document.chain_harness.run_extraction()
    assert lost_document.state == ("done", "quarantined", "extraction_abandoned")
    assert (lost_document.charge_count, lost_document.spent_pages) == (2, 2)
    assert lost_document.harness.get_extraction(lost_document.sha256)["status"] == "failed"


@pytest.mark.parametrize("lost_document", [SMARTBILLS], indirect=True)
def test_nothing_is_changed_without_a_yes_or_with_a_wrong_name(lost_document: LostDocument) -> None:
    for arguments in (("release", lost_document.sha256), ("abandon", lost_document.sha256), ("adopt", "abc")):
        assert lost_document.run_command(*arguments).exit_status != 0
    assert lost_document.run_command("release", "0" * 64, "--yes").exit_status == 2
    assert (lost_document.state, lost_document.charge_count) == (OUTCOME_UNKNOWN, 2)


@pytest.mark.parametrize("lost_document", [BILLFLOWAI], indirect=True)
def test_an_answer_that_cannot_be_fetched_is_adopted_from_a_file(lost_document: LostDocument, tmp_path: Path) -> None:
    refusal = lost_document.run_command("adopt", lost_document.sha256, "--yes")
    assert (refusal.exit_status, "--answer" in refusal.stderr) == (1, True)
    answer_path = tmp_path / "answer.json"
    for content in (b"[1]", b'{"total": NaN, ', b""):
        answer_path.write_bytes(content)
        arguments = ("adopt", lost_document.sha256, "--yes", "--answer", str(answer_path))
        assert lost_document.run_command(*arguments).exit_status == 2
    assert lost_document.state == OUTCOME_UNKNOWN
    answer_path.write_bytes(b'{"invoice_number": "7", "total": 1200.10}')
    assert lost_document.run_command(*arguments).exit_status == 0
    assert (lost_document.state, lost_document.charge_count) == (ANSWERED, 2)
    assert "1200.10" in lost_document.harness.get_extraction(lost_document.sha256)["payload"]


# Batches


def lose_batch(batch_harness: BatchHarness) -> tuple[list[str], list[LostExtraction]]:
    """Return the documents of a batch that the vendor denies for a while, and what is lost."""

    def raise_not_found(_original_call: Any, extraction_id: str, *_args: Any) -> Any:
        raise NotFound(f"404 for {extraction_id}")

    hashes = batch_harness.add_documents(3)
    batch_harness.call_overrides["poll_extraction"] = raise_not_found
    batch_harness.run_extraction()
    batch_harness.call_overrides.clear()
    release_all_claims(batch_harness.ledger)
    assert batch_harness.list_document_states(*hashes) == {("done", "extraction_lost")}
    with batch_harness.ledger.open_snapshot() as connection:
        return hashes, list_lost_extractions(connection)


def test_each_document_of_a_lost_batch_gets_its_own_part_of_the_answer(batch_harness: BatchHarness) -> None:
    hashes, lost_extractions = lose_batch(batch_harness)
    extractor = batch_harness.build_extractor("person", StepCounter())
    for lost in lost_extractions:
        answer = extractor.fetch_lost_answer(lost.document, lost.job, None)
        with batch_harness.ledger.begin_transaction() as tx:
            payload = to_exact_json(dict(answer.payload))
            record_adopted_answer(tx, lost, payload, answer.remote_id, answer.pages_charged)
    assert batch_harness.list_document_states(*hashes) == ANSWERED_BATCH
    batch_harness.assert_charged_once()
    for sha256 in hashes:
        rows = json.loads(batch_harness.get_extraction(sha256)["payload"])["rows"]
        assert {row["Source File"].partition(".")[0] for row in rows} == {sha256}
    assert batch_harness.list_spent_pages() == {3}


def test_the_answer_about_other_documents_is_not_adopted(batch_harness: BatchHarness) -> None:
    _, (lost, *_) = lose_batch(batch_harness)
    batch_harness.add_documents(2)
    batch_harness.run_extraction()
    other_id = batch_harness.list_remote_extractions()[-1]["id"]
    with pytest.raises(AnswerNotAdoptable, match="has no row and no page of the file"):
        batch_harness.build_extractor("person", StepCounter()).fetch_lost_answer(lost.document, lost.job, other_id)


def test_a_released_batch_document_is_submitted_under_a_new_id_and_flagged(batch_harness: BatchHarness) -> None:
    hashes, lost_extractions = lose_batch(batch_harness)
    for lost in lost_extractions:
        with batch_harness.ledger.begin_transaction() as tx:
            release_lost_extraction(tx, lost)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED_BATCH
    assert len(batch_harness.list_remote_extractions()) == 2
    assert all(batch_harness.get_extraction(sha256)["possible_double_charge"] for sha256 in hashes)
    assert batch_harness.list_spent_pages() == {6}


def test_a_decision_about_something_that_has_changed_changes_nothing(batch_harness: BatchHarness) -> None:
    hashes, (lost, *_) = lose_batch(batch_harness)
    with batch_harness.ledger.begin_transaction() as tx:
        release_lost_extraction(tx, lost)
    for decide in (release_lost_extraction, abandon_lost_extraction):
        with pytest.raises(ExtractionChanged, match="changed"), batch_harness.ledger.begin_transaction() as tx:
            decide(tx, lost)
    with batch_harness.ledger.begin_transaction() as tx:
        claim_pending_documents(tx, "another worker", "extract_remote", 10)
    with pytest.raises(ExtractionChanged, match="claimed"), batch_harness.ledger.begin_transaction() as tx:
        abandon_lost_extraction(tx, lost)
    assert batch_harness.list_document_states(lost.job.document_sha256) == {("extract_remote", "released")}
    assert len(hashes) == 3
