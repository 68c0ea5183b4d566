"""The official result about an e-invoice is computed once, kept with its reading, and computed later where it lacks."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from invoices.documents.document_reader_pool import DocumentReaderPool
from invoices.documents.official_rules.results import FailedRule, RuleRun
from invoices.documents.official_rules.rule_checker_pool import RuleCheckerPool
from invoices.documents.official_rules.rule_sets import RuleSet, compute_table_version
from invoices.documents.store import DocumentStore
from invoices.extraction.local_extraction import extract_documents_locally
from invoices.extraction.official_checks import TURNED_OFF, ensure_official_results
from invoices.ledger import Ledger
from invoices.ledger.documents import list_pending_documents
from invoices.ledger.official_results import list_official_results
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.settings import Settings
from sandbox.sample_data.invoices import DRILLS
from sandbox.sample_data.ubl import render_ubl_invoice

SHA256 = "a" * 64


class CountingPool(RuleCheckerPool):
    """A pool that counts the documents it is asked about, and returns the same runs about each."""

    def __init__(self, *runs: RuleRun, rule_sets: tuple[RuleSet, ...] = ()) -> None:
        super().__init__(rule_sets=rule_sets)
        self.runs, self.asked = list(runs), 0

    def submit(self, path: Path, expected_sha256: str | None = None) -> Future[list[RuleRun]]:  # noqa: ARG002
        """Return the runs at once."""
        self.asked += 1
        future: Future[list[RuleRun]] = Future()
        future.set_result(self.runs)
        return future


INVALID = RuleRun("invalid", "cen-ubl", "1", "EN", failed_rules=[[FailedRule("BR-CO-10", "text", "/Invoice", 2)]])


@pytest.fixture
def store(app_settings: Settings) -> DocumentStore:
    """An empty store."""
    return DocumentStore(app_settings.documents_directory)


def ask(ledger: Ledger, pool: RuleCheckerPool | None) -> list[tuple[str, str]]:
    return [(row.status, row.reason) for row in ensure_official_results(ledger, pool, {SHA256: Path("/none")})]


def test_a_result_is_computed_once_and_anew_for_another_table_of_rule_sets(ledger: Ledger) -> None:
    with CountingPool(INVALID) as pool:
        assert ask(ledger, pool) == ask(ledger, pool) == [("invalid", "")]
        assert pool.asked == 1
    own = RuleSet("own", "1", "own", "any", "/rules.xslt", ("*",))
    with CountingPool(INVALID, rule_sets=(own,)) as pool:
        ask(ledger, pool)
        assert pool.asked == 1


def test_a_run_that_the_document_stopped_is_kept_and_one_that_the_machine_stopped_is_tried_again(
    ledger: Ledger,
) -> None:
    crashed, slow = RuleRun("not_run", reason="crashed", is_temporary=True), RuleRun("not_run", reason="slow")
    with CountingPool(crashed) as pool:
        assert ask(ledger, pool) == ask(ledger, pool) == [("not_run", "crashed")]
        assert pool.asked == 2
        pool.runs = [slow]
        assert ask(ledger, pool) == ask(ledger, pool) == [("not_run", "slow")]
        assert pool.asked == 3


def test_rules_that_are_turned_off_are_not_run_and_nothing_is_kept(ledger: Ledger) -> None:
    assert ask(ledger, None) == [("not_run", TURNED_OFF)]
    with CountingPool(INVALID) as pool:
        assert ask(ledger, pool) == [("invalid", "")]


def test_the_result_is_recorded_with_the_reading(ledger: Ledger, store: DocumentStore) -> None:
    contents = [render_ubl_invoice(DRILLS), b"<Order xmlns='urn:oasis:names:specification:ubl:schema:xsd:Order-2'/>"]
    hashes = [store.put(content) for content in contents]
    with ledger.begin_transaction() as tx:
        for sha256 in hashes:
            record_sighting(tx, Sighting(sha256[:32], sha256, "application/xml", 1, "inbox", "folder", sha256))
    with ledger.open_snapshot() as connection:
        documents = list_pending_documents(connection, "extract_local", 10)
    with DocumentReaderPool(worker_count=1) as readers, RuleCheckerPool() as pool:
        extract_documents_locally(ledger, store, readers, documents, rule_checkers=pool)
    with ledger.open_snapshot() as connection:
        results = list_official_results(connection, hashes, compute_table_version())
    assert [(row.document_sha256, row.rule_set, row.status) for row in results] == [(hashes[0], "cen-ubl", "valid")]
