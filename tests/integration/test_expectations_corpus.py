"""Real e-invoices: what their truth says about their sums is what the rules say."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stored_answers import stored

from expectations.judging import STOPPING_RULES, judge
from invoices.documents.reading import Readers
from transforms.shaping import KNOWN, shape

CORPUS = Path(os.environ.get("INVOICES_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
KINDS = {"einvoice_pdf", "einvoice_ubl", "einvoice_cii", "einvoice_zugferd1"}
SUMS = {"subtotal": "BR-CO-13", "total": "BR-CO-15", "payable": "BR-CO-16"}

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not (CORPUS / "manifest.jsonl").exists(), reason=f"no corpus of real documents at {CORPUS}"),
]

Judgement = tuple[Mapping[str, Any], str, frozenset[str]]


@pytest.fixture(scope="module")
def judgements() -> list[Judgement]:
    """Return (manifest entry, verdict, broken rules) of each document with one invoice."""
    entries = [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = {entry["sha256"]: entry for entry in entries if entry["kind"] in KINDS}
    with Readers() as readers:
        readings = list(readers.read_many(CORPUS / entry["path"] for entry in wanted.values()))
    answers = [
        (document, "einvoice", json.dumps(reading.payload))
        for document, reading in zip(wanted, readings, strict=True)
        if reading.outcome == "einvoice"
    ]
    judged = judge(shape(stored(answers), KNOWN.empty_table(), [], STOPPING_RULES))
    broken: defaultdict[str, set[str]] = defaultdict(set)
    for row in judged.findings.to_pylist():
        broken[row["invoice_id"]].add(row["rule_id"])
    documents = [document for document, _, _ in answers]
    return [
        (wanted[document], row["verdict"], frozenset(broken[row["invoice_id"]]))
        for document, row in zip(documents, judged.verdicts.to_pylist(), strict=True)
    ]


def test_sums_that_fail_are_quarantined(judgements: list[Judgement]) -> None:
    failing = [judgement for judgement in judgements if any("arithmetic_fails" in t for t in judgement[0]["traits"])]
    assert len(failing) >= 10
    assert [entry["path"] for entry, verdict, _ in failing if verdict != "quarantined"] == []


def test_sums_that_hold_break_no_rule_of_sums(judgements: list[Judgement]) -> None:
    wrong = [
        (entry["path"], rule)
        for entry, _, broken in judgements
        for check, rule in SUMS.items()
        if rule in broken and (entry["expected"].get("checks") or {}).get(check)
    ]
    assert wrong == []


def test_nearly_all_documents_with_sound_sums_are_free_of_critical_findings(judgements: list[Judgement]) -> None:
    sound = [j for j in judgements if all(v is not False for v in (j[0]["expected"].get("checks") or {}).values())]
    stopped = [entry["path"] for entry, verdict, _ in sound if verdict == "quarantined"]
    assert len(sound) > 200
    assert len(stopped) <= 1  # one states no currency
