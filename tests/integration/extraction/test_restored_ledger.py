"""After a restore, a submission that the ledger lacks is found at the vendor, or its repeat is flagged."""

from __future__ import annotations

import pytest

from invoices.ledger.identity import begin_recovery
from tests.integration.extraction.extraction_fixtures import (
    ANSWERED,
    ONE_PAGE_PDFS,
    ExtractionHarness,
    VendorProxy,
)
from tests.integration.extraction.smartbills_com_fixtures import SmartBillsRunner
from tests.integration.extraction.test_smartbills_com_unknown_outcomes import (
    UNUSABLE_LIST_RESPONSE,
    build_other_client,
    list_double_charge_flags,
)


@pytest.fixture
def runner(harness: ExtractionHarness, proxy: VendorProxy) -> SmartBillsRunner:
    """An account with a job for the first of two documents, which the restored ledger does not have."""
    runner = SmartBillsRunner(harness, proxy)
    build_other_client(runner).submit_document(ONE_PAGE_PDFS[0], "lost.pdf", "application/pdf")
    with harness.ledger.begin_transaction() as tx:
        begin_recovery(tx, "restored")
    return runner


def test_a_job_that_the_restored_ledger_lacks_is_adopted_and_the_list_is_read_once(runner: SmartBillsRunner) -> None:
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:3])
    runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert sorted(runner.list_charged_documents()) == sorted(hashes)
    assert list_double_charge_flags(runner, *hashes) == [False] * 3
    assert runner.proxy.count_calls("list") == 1


def test_while_the_list_cannot_be_used_a_submission_is_flagged(runner: SmartBillsRunner) -> None:
    runner.proxy.plan_events("list", *[UNUSABLE_LIST_RESPONSE] * 10)
    hashes = runner.harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.run_extraction()
    assert runner.harness.list_document_states(hashes) == {ANSWERED}
    assert list_double_charge_flags(runner, *hashes) == [True, True]


def test_without_a_restore_the_list_is_not_read(harness: ExtractionHarness, proxy: VendorProxy) -> None:
    runner = SmartBillsRunner(harness, proxy)
    with harness.ledger.begin_transaction() as tx:
        begin_recovery(tx, "joined")
    harness.add_documents(*ONE_PAGE_PDFS[:2])
    runner.run_extraction()
    assert proxy.count_calls("list") == 0
