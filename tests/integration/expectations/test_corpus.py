"""Real e-invoices: the rules for sums agree with the known truth about each document."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from expectations.validation import CRITICAL_RULE_IDS, validate_candidates
from invoices.documents.document_reader_pool import DocumentReaderPool
from tests.integration.extraction_payloads import build_extraction_table
from tests.run_environment import CORPUS_DIRECTORY
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, build_candidate_batch

KINDS = {"einvoice_pdf", "einvoice_ubl", "einvoice_cii", "einvoice_zugferd1"}
RULE_BY_TOTAL = {"subtotal": "BR-CO-13", "total": "BR-CO-15", "payable": "BR-CO-16"}

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(
        not (CORPUS_DIRECTORY / "manifest.jsonl").exists(), reason=f"no corpus of real documents at {CORPUS_DIRECTORY}"
    ),
]

ValidationResult = tuple[Mapping[str, Any], str, frozenset[str]]


@pytest.fixture(scope="module")
def validations() -> list[ValidationResult]:
    """Return (manifest entry, verdict, broken rules) of each document with one invoice."""
    entries = [
        json.loads(line) for line in (CORPUS_DIRECTORY / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    entry_by_sha256 = {entry["sha256"]: entry for entry in entries if entry["kind"] in KINDS}
    with DocumentReaderPool() as readers:
        readings = list(readers.read_in_order(CORPUS_DIRECTORY / entry["path"] for entry in entry_by_sha256.values()))
    answers = [
        (document, "einvoice", json.dumps(reading.payload))
        for document, reading in zip(entry_by_sha256, readings, strict=True)
        if reading.outcome == "einvoice"
    ]
    validated = validate_candidates(
        build_candidate_batch(build_extraction_table(answers), KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS)
    )
    broken_rules: defaultdict[str, set[str]] = defaultdict(set)
    for row in validated.findings.to_pylist():
        broken_rules[row["invoice_id"]].add(row["rule_id"])
    documents = [document for document, _, _ in answers]
    return [
        (entry_by_sha256[document], row["verdict"], frozenset(broken_rules[row["invoice_id"]]))
        for document, row in zip(documents, validated.verdicts.to_pylist(), strict=True)
    ]


def test_documents_with_wrong_sums_are_quarantined(validations: list[ValidationResult]) -> None:
    failing = [
        (entry, verdict)
        for entry, verdict, _ in validations
        if any("arithmetic_fails" in trait for trait in entry["traits"]) and "MINIMUM" not in entry["path"]
    ]  # MINIMUM cannot state what was paid, so its amount due may differ from its total
    assert len(failing) >= 7
    assert [entry["path"] for entry, verdict in failing if verdict != "quarantined"] == []


def test_sums_that_are_right_break_no_rule(validations: list[ValidationResult]) -> None:
    wrong = [
        (entry["path"], rule)
        for entry, _, broken in validations
        for check, rule in RULE_BY_TOTAL.items()
        if rule in broken and (entry["expected"].get("checks") or {}).get(check)
    ]
    assert wrong == []


def test_nearly_all_documents_with_right_sums_have_no_critical_finding(
    validations: list[ValidationResult],
) -> None:
    sound = [
        (entry, verdict)
        for entry, verdict, _ in validations
        if all(check is not False for check in (entry["expected"].get("checks") or {}).values())
    ]
    stopped = [entry["path"] for entry, verdict in sound if verdict == "quarantined"]
    assert len(sound) > 200
    assert len(stopped) <= 1  # one states no currency
