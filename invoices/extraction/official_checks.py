"""The official rules about e-invoices: asked once for each document, and kept in the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path

from invoices.documents.official_rules.results import RuleRun
from invoices.documents.official_rules.rule_checker_pool import RuleCheckerPool
from invoices.documents.official_rules.rule_sets import compute_table_version
from invoices.ledger import Ledger
from invoices.ledger.official_results import OfficialResult, list_official_results, record_official_results

HELD_SYNTAXES = frozenset({"cii", "ubl"})
TURNED_OFF = "the settings turn the official rules off (INVOICES_RULES__OFFICIAL)"
NOT_HELD = RuleRun("not_applicable", reason="it is an invoice in a format that is not held to EN 16931")


def submit_check(pool: RuleCheckerPool, path: Path, document_sha256: str, syntax: str) -> Future[list[RuleRun]]:
    """Return the future runs about an e-invoice; those of a format that no rule set is for are there at once."""
    if syntax in HELD_SYNTAXES:
        return pool.submit(path, document_sha256)
    future: Future[list[RuleRun]] = Future()
    future.set_result([NOT_HELD])
    return future


def build_official_results(document_sha256: str, runs: Sequence[RuleRun], table_version: str) -> list[OfficialResult]:
    """Return the runs about a document as the ledger keeps them."""
    return [
        OfficialResult(
            document_sha256, run.rule_set, run.version, run.standard, table_version, run.status, run.reason,
            json.dumps([[asdict(rule) for rule in rules] for rules in run.failed_rules], ensure_ascii=False),
        )
        for run in runs
    ]  # fmt: skip


def list_lasting_results(document_sha256: str, runs: Sequence[RuleRun], table_version: str) -> list[OfficialResult]:
    """Return what the ledger records: nothing if a later run should try again."""
    return [] if any(run.is_temporary for run in runs) else build_official_results(document_sha256, runs, table_version)


def ensure_official_results(
    ledger: Ledger, pool: RuleCheckerPool | None, paths_by_hash: Mapping[str, Path]
) -> list[OfficialResult]:
    """Return the results about these e-invoices; those that the ledger lacks are computed now, and recorded.

    Without ``pool``, and where the rules cannot be run, the results have the status ``not_run``.
    """
    if pool is None:
        return [
            result
            for document_sha256 in paths_by_hash
            for result in build_official_results(document_sha256, [RuleRun("not_run", reason=TURNED_OFF)], "")
        ]
    table_version = compute_table_version(pool.rule_sets)
    with ledger.open_snapshot() as connection:
        results = list_official_results(connection, list(paths_by_hash), table_version)
    known_hashes = {result.document_sha256 for result in results}
    futures = {
        document_sha256: pool.submit(path, document_sha256)
        for document_sha256, path in paths_by_hash.items()
        if document_sha256 not in known_hashes
    }
    computed = {document_sha256: future.result() for document_sha256, future in futures.items()}
    lasting = [
        result
        for document_sha256, runs in computed.items()
        for result in list_lasting_results(document_sha256, runs, table_version)
    ]
    if lasting:
        with ledger.begin_transaction() as tx:
            record_official_results(tx, lasting)
    for document_sha256, runs in computed.items():
        results += build_official_results(document_sha256, runs, table_version)
    return results
