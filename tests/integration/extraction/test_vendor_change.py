"""A vendor whose answers lack a field is not asked for more pages, until a person decides."""

from __future__ import annotations

from typing import Any

import pytest

from invoices.documents.store import DocumentStore
from invoices.extraction.resilience.field_drift import MIN_BASELINE_ANSWERS, PILOT_DOCUMENTS
from invoices.ledger import Ledger
from invoices.ledger.extractions import record_free_answer
from invoices.ledger.vendor_changes import MAX_BASELINE_ANSWERS, accept_missing_fields, list_recent_answers
from invoices.settings import Settings
from sandbox.process import Sandbox
from tests.integration.extraction.extraction_fixtures import ANSWERED, ExtractionHarness, build_unknown_pdfs
from tests.integration.extraction.extractor_chain_fixtures import BILLFLOWAI, SMARTBILLS, ChainHarness

WAITING = ("extract_remote", "waiting", "contract_changed")
DROP_SETTING = {BILLFLOWAI: "drop_fields", SMARTBILLS: "missing_fields"}
DROPPED_FIELD = {BILLFLOWAI: "total", SMARTBILLS: "total_amount"}


@pytest.fixture(params=[BILLFLOWAI, SMARTBILLS])
def chain_harness(
    request: pytest.FixtureRequest, sandbox: Sandbox, ledger: Ledger, app_settings: Settings
) -> ChainHarness:
    """A chain of one vendor, whose ledger has enough earlier answers like those that the vendor gives now."""
    vendor = request.param
    harness = ExtractionHarness(ledger, DocumentStore(app_settings.documents_directory), sandbox)
    chain_harness = ChainHarness(harness, app_settings, {})
    chain_harness.extractor_order = (vendor,)
    chain_harness.vendor_settings[vendor] = {"connections": 4}
    chain_harness.update_sandbox_settings(vendor, read_strangers=True)
    (first,) = harness.add_documents(*build_unknown_pdfs(1))
    chain_harness.run_extraction()
    payload = harness.get_extraction(first)["payload"]
    with ledger.begin_transaction() as tx:
        for number in range(MIN_BASELINE_ANSWERS):
            record_free_answer(tx, f"{number:032}", f"{number:064}", vendor, payload)
    return chain_harness


def drop_field(chain_harness: ChainHarness, *names: str) -> None:
    (vendor,) = chain_harness.extractor_order
    chain_harness.update_sandbox_settings(vendor, **{DROP_SETTING[vendor]: ",".join(names)})


def run(chain_harness: ChainHarness) -> tuple[int, list[str]]:
    """Extract, and return the pages that the vendor has charged so far, and the problems of this run."""
    (vendor,) = chain_harness.extractor_order
    reports = chain_harness.run_extraction()
    return chain_harness.sum_charged_pages(vendor), reports[vendor].problems if vendor in reports else []


def test_a_dropped_field_stops_the_vendor_after_a_few_pages(chain_harness: ChainHarness) -> None:
    (vendor,) = chain_harness.extractor_order
    drop_field(chain_harness, DROPPED_FIELD[vendor])
    hashes = chain_harness.harness.add_documents(*build_unknown_pdfs(25))
    pages, (problem,) = run(chain_harness)
    assert pages == 1 + PILOT_DOCUMENTS
    assert f"is missing in {PILOT_DOCUMENTS} of {PILOT_DOCUMENTS} answers, before in 0 of 31" in problem
    assert f"'{DROPPED_FIELD[vendor]}'" in problem
    assert f"invoices extraction accept-change {vendor}" in problem
    states = [chain_harness.harness.get_document_state(sha256) for sha256 in hashes]
    assert (states.count(ANSWERED), states.count(WAITING)) == (PILOT_DOCUMENTS, 25 - PILOT_DOCUMENTS)
    assert run(chain_harness) == (pages, [problem])  # a later run pays nothing
    with chain_harness.harness.ledger.begin_transaction() as tx:
        assert accept_missing_fields(tx, vendor, is_repaired=False)
    assert run(chain_harness) == (26, [])
    assert chain_harness.harness.list_document_states(hashes) == {ANSWERED}


def test_a_repaired_vendor_is_compared_again(chain_harness: ChainHarness) -> None:
    (vendor,) = chain_harness.extractor_order
    drop_field(chain_harness, DROPPED_FIELD[vendor])
    chain_harness.harness.add_documents(*build_unknown_pdfs(20))
    run(chain_harness)
    with chain_harness.harness.ledger.begin_transaction() as tx:
        accept_missing_fields(tx, vendor, is_repaired=True)
    pages, problems = run(chain_harness)  # it is not repaired
    assert (pages, len(problems)) == (1 + 2 * PILOT_DOCUMENTS, 1)
    drop_field(chain_harness)
    with chain_harness.harness.ledger.begin_transaction() as tx:
        accept_missing_fields(tx, vendor, is_repaired=True)
    assert run(chain_harness) == (21, [])


def test_a_vendor_that_answers_as_before_is_asked_for_everything(chain_harness: ChainHarness) -> None:
    chain_harness.harness.add_documents(*build_unknown_pdfs(12))
    assert run(chain_harness) == (13, [])


def test_the_number_of_earlier_answers_that_are_read_is_bounded_and_uses_an_index(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        for number in range(MAX_BASELINE_ANSWERS + 20):
            record_free_answer(tx, f"{number:032}", f"{number:064}", "v", "{}")
    with ledger.open_snapshot() as connection:
        assert len(list_recent_answers(connection, "v")) == MAX_BASELINE_ANSWERS
        if connection.dialect.name == "sqlite":
            plan: Any = connection.exec_driver_sql(
                "EXPLAIN QUERY PLAN SELECT payload FROM extractions WHERE extracted_by = 'v' AND status = 'answered' "
                "ORDER BY answered_at DESC LIMIT 200"
            ).all()
            assert "extractions_answered" in str(plan)
            assert "TEMP B-TREE" not in str(plan)
