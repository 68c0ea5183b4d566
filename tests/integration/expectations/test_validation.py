"""Validation: verdicts and findings from the outcomes that SQL decided, through Great Expectations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pytest

from expectations.rule import Rule
from expectations.validation import CRITICAL_RULE_IDS, RULES, ValidationResult, validate_candidates
from invoices.errors import ContractError
from invoices.model import compute_invoice_id
from tests.integration.extraction_payloads import (
    build_billflowai_payload,
    build_einvoice_payload,
    build_einvoice_table,
    build_extraction_table,
    build_rows_payload,
)
from tests.run_environment import CHECKOUT
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, CandidateBatch, build_candidate_batch

SMARTBILLS_PAYLOAD = (
    '{"invoice_number": "A", "date": "2026-02-01", "total_amount": 5, "currency": "EUR", "vendor": {"name": "K"}}'
)
SAMPLE_ROW = json.loads(build_rows_payload())["rows"][0]
WRONG_SUM_CHANGES: dict[str, Any] = {"totals": {"payable": "1.00"}}


def _build_einvoice_batch(*payloads: str) -> CandidateBatch:
    return build_candidate_batch(
        build_einvoice_table(*payloads), KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS
    )


def _validate_answers(*answers: tuple[str, str]) -> ValidationResult:
    """Return the validation of answers (extractor, payload), each about a document of its own."""
    documents = [(f"d{number}", *answer) for number, answer in enumerate(answers, start=1)]
    return validate_candidates(
        build_candidate_batch(build_extraction_table(documents), KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS)
    )


def _list_verdicts(*payloads: str) -> list[str]:
    return list(validate_candidates(_build_einvoice_batch(*payloads)).verdicts.column("verdict").to_pylist())


def test_the_worst_broken_rule_decides() -> None:
    no_country = build_einvoice_payload({"invoice_number": "1", "seller": {"country": None}})
    no_name = build_einvoice_payload({"invoice_number": "2", "seller": {"name": None}})
    wrong_sum = build_einvoice_payload({"invoice_number": "3", "seller": {"name": None}, **WRONG_SUM_CHANGES})
    assert _list_verdicts(build_einvoice_payload(), no_country, no_name, wrong_sum) == [
        "accepted",
        "accepted",
        "review",
        "quarantined",
    ]


def test_a_second_invoice_with_the_same_content_is_a_duplicate_unless_its_sums_are_wrong() -> None:
    wrong = build_einvoice_payload({"invoice_number": "2", **WRONG_SUM_CHANGES})
    assert _list_verdicts(build_einvoice_payload(), build_einvoice_payload(), wrong, wrong) == [
        "accepted",
        "duplicate",
        "quarantined",
        "quarantined",
    ]


def test_a_wrong_sum_outweighs_a_duplicate() -> None:
    wrong = build_einvoice_table(build_einvoice_payload(WRONG_SUM_CHANGES))
    keys = build_candidate_batch(wrong, KNOWN_KEYS_SCHEMA.empty_table(), []).candidate_keys.column("key").to_pylist()
    approved = {"invoice_id": "approved", "verdict": "accepted", "duplicate_of": None}
    batch = build_candidate_batch(wrong, lambda _: [approved | {"key": key} for key in keys], [], CRITICAL_RULE_IDS)
    validation = validate_candidates(batch)
    assert validation.findings.column("rule_id").to_pylist() == ["BR-CO-16", "DUPLICATE-CONTENT"]
    assert validation.verdicts.column("verdict").to_pylist() == ["quarantined"]


def test_each_broken_rule_is_a_finding_with_document_severity_and_message() -> None:
    validation = validate_candidates(
        _build_einvoice_batch(
            build_einvoice_payload(),
            build_einvoice_payload({"invoice_number": "2", "seller": {"country": None}, **WRONG_SUM_CHANGES}),
        )
    )
    assert validation.findings.to_pylist() == [
        {
            "invoice_id": compute_invoice_id("d2", 1),
            "document_sha256": "d2",
            "rule_id": "BR-CO-16",
            "severity": "critical",
            "message": "the amount due is 1.00 EUR, "
            "but total 113.05 EUR − prepaid 13.05 EUR + rounding 0.00 EUR = 100.00 EUR",
        },
        {
            "invoice_id": compute_invoice_id("d2", 1),
            "document_sha256": "d2",
            "rule_id": "BR-09",
            "severity": "info",
            "message": "the supplier's country is missing",
        },
    ]


def test_an_answer_without_tax_goes_to_review() -> None:
    validation = _validate_answers(("smartbills_com", SMARTBILLS_PAYLOAD))
    assert validation.verdicts.column("verdict").to_pylist() == ["review"]
    assert validation.findings.column("rule_id").to_pylist() == ["TAX-STATED"]


EXTRACTOR = "invoicedataextraction_com"
REVIEW_ITEM = {"message": "smudged", "affected_fields": ["Total amount"], "rows": [1]}


COMPLETE_ANSWERS = {
    "lines": (
        EXTRACTOR,
        build_rows_payload([{"Line quantity": "4.8", "Line net amount": "60"},
                            {"Line quantity": "3,2", "Line net amount": 40}]),
    ),
    "a negative credit note": (
        EXTRACTOR,
        build_rows_payload([{"Document type": "credit note", "Net amount": -100, "Tax amount": -19,
                             "Total amount": -119, "Line net amount": -100}]),
    ),
    "no lines": (
        EXTRACTOR,
        build_rows_payload([{name: None for name in SAMPLE_ROW if name.startswith("Line")}],
                           output_structure="per_invoice"),
    ),
    "subtotal is net": ("billflowai", build_billflowai_payload({"subtotal": 1020, "discount": None})),
    "net less discount": ("billflowai", build_billflowai_payload({"items": [], "total": 1416, "tax": 216})),
    "a cached answer": ("billflowai", build_billflowai_payload({"subtotal": None, "discount": None,
                                                              "meta": {"source": "cache"}})),
}  # fmt: skip
INCOMPLETE_ANSWERS = [
    (EXTRACTOR, build_rows_payload([{"Total amount": "119.01"}]), "quarantined", ["BR-CO-15"]),
    (EXTRACTOR, build_rows_payload([{"Total amount": "1.250"}]), "quarantined", ["BR-14", "AMOUNT-EXACT"]),
    (EXTRACTOR, build_rows_payload([{"Net amount": None}]), "review", ["BR-13"]),
    (EXTRACTOR, build_rows_payload([{"Tax amount": None}]), "review", ["TAX-STATED"]),
    (EXTRACTOR, build_rows_payload([{"Line net amount": "1"}]), "review", ["LINES-AGREE", "PEPPOL-R120"]),
    (EXTRACTOR, build_rows_payload([{}], page_count=2), "review", ["PAGES-READ"]),
    (EXTRACTOR, build_rows_payload([{}], review_needed=[REVIEW_ITEM]), "review", ["EXTRACTOR-SURE"]),
    (EXTRACTOR, build_rows_payload([{"Review Needed": "which logo?"}]), "accepted", ["EXTRACTOR-NOTE"]),
    (EXTRACTOR, build_rows_payload([{"Line net amount": "60"}, {"Total amount": 7, "Line net amount": "40"}]),
     "review", ["SAME-HEADER", "PEPPOL-R120"]),
    ("billflowai", build_billflowai_payload({}), "accepted", ["SUBTOTAL-TAXED"]),
    ("billflowai", build_billflowai_payload({"items": []}), "review", ["SUBTOTAL-NET"]),
    ("billflowai", build_billflowai_payload({"total": 1201}), "quarantined", ["TOTALS-AGREE", "BR-13"]),
    ("billflowai", build_billflowai_payload({"meta": {"source": "duplicate"}}), "review",
     ["EXTRACTOR-DUPLICATE", "SUBTOTAL-TAXED"]),
    ("billflowai", build_billflowai_payload({"date": "03/05/2026"}), "quarantined",
     ["BR-03", "DATE-EXACT", "SUBTOTAL-TAXED"]),
    ("smartbills_com", SMARTBILLS_PAYLOAD.replace("5", "-5"), "review", ["NEGATIVE-TOTAL", "TAX-STATED"]),
]  # fmt: skip
AnswerResults = dict[tuple[str, str], tuple[list[str], list[dict[str, Any]]]]  # verdicts and findings by answer
INVOICE_NUMBERS = {EXTRACTOR: "R-2026-001", "billflowai": "A-17", "smartbills_com": '"A'}


@pytest.fixture(scope="module")
def result_by_answer() -> AnswerResults:
    """The verdicts and findings of each answer; all are validated together, with an invoice number of its own each."""
    answers = [*COMPLETE_ANSWERS.values(), *((extractor, payload) for extractor, payload, _, _ in INCOMPLETE_ANSWERS)]
    renumbered_answers = []
    for position, (extractor, payload) in enumerate(answers, start=1):
        invoice_number = INVOICE_NUMBERS[extractor]
        assert invoice_number in payload
        renumbered_answers.append((extractor, payload.replace(invoice_number, f"{invoice_number}-N{position}")))
    validation = _validate_answers(*renumbered_answers)
    verdicts, findings = validation.verdicts.to_pylist(), validation.findings.to_pylist()
    result_by_answer: AnswerResults = {}
    for position, answer in enumerate(answers, start=1):
        invoice_id = compute_invoice_id(f"d{position}", 1)
        result_by_answer[answer] = (
            [row["verdict"] for row in verdicts if row["invoice_id"] == invoice_id],
            [row for row in findings if row["document_sha256"] == f"d{position}"],
        )
    assert len(verdicts) == len(result_by_answer) == len(answers)  # one invoice per answer, and no answer twice
    return result_by_answer


@pytest.mark.parametrize("answer", COMPLETE_ANSWERS.values(), ids=COMPLETE_ANSWERS.keys())
def test_a_complete_answer_of_a_vendor_is_accepted(answer: tuple[str, str], result_by_answer: AnswerResults) -> None:
    assert result_by_answer[answer] == (["accepted"], [])


@pytest.mark.parametrize(("extractor", "payload", "verdict", "rules"), INCOMPLETE_ANSWERS)
def test_an_incomplete_or_contradictory_answer_has_a_finding(
    extractor: str,
    payload: str,
    verdict: str,
    rules: list[str],
    result_by_answer: AnswerResults,
) -> None:
    verdicts, findings = result_by_answer[extractor, payload]
    assert [finding["rule_id"] for finding in findings] == rules
    assert verdicts == [verdict]


def test_a_batch_without_invoices_has_no_verdict() -> None:
    batch = build_candidate_batch(
        build_extraction_table([("d1", "smartbills_com", "{}")]), KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS
    )
    validation = validate_candidates(batch)
    assert (validation.verdicts.num_rows, validation.findings.num_rows, batch.empty_answers.num_rows) == (0, 0, 1)


def test_a_batch_that_lost_its_candidates_is_not_validated() -> None:
    batch = _build_einvoice_batch(build_einvoice_payload())
    with pytest.raises(ContractError, match="of 1 documents in the batch, 0 have candidates"):
        validate_candidates(replace(batch, candidates=batch.candidates.slice(0, 0)))


def test_a_missing_check_of_one_candidate_stops_the_batch() -> None:
    batch = _build_einvoice_batch(build_einvoice_payload(), build_einvoice_payload({"invoice_number": "2"}))
    assert batch.checks.num_rows == 2 * len(RULES)
    with pytest.raises(ContractError, match="2 candidates and"):
        validate_candidates(replace(batch, checks=batch.checks.slice(1)))


def run_ephemeral_suite(rules: list[Rule], outcomes: pd.DataFrame) -> None:
    """Run a suite of these rules; Great Expectations takes seconds to import, so only where it is needed."""
    from expectations.suites import create_ephemeral_context, run_suite

    run_suite(create_ephemeral_context(), "t", rules, outcomes)


def test_a_rule_without_a_column_raises_an_error() -> None:
    outcomes = pd.DataFrame({"invoice_id": ["i1"], "A": ["holds"]})
    with pytest.raises(ContractError, match="rule 'B' was not checked"):
        run_ephemeral_suite([Rule("A", "info", "a"), Rule("B", "info", "b")], outcomes)


@pytest.mark.parametrize(("rules", "row_count"), [([], 1), ([Rule("A", "info", "a")], 0)])
def test_nothing_to_check_is_a_stop_and_not_a_success(rules: list[Rule], row_count: int) -> None:
    outcomes = pd.DataFrame({"invoice_id": ["i1"] * row_count, "A": ["holds"] * row_count})
    with pytest.raises(ContractError, match="has nothing to check"):
        run_ephemeral_suite(rules, outcomes)


def test_an_empty_outcome_is_not_skipped() -> None:
    outcomes = pd.DataFrame({"invoice_id": ["i1", "i2"], "A": ["holds", None]})
    with pytest.raises(ContractError, match="1 of them have no outcome"):
        run_ephemeral_suite([Rule("A", "info", "a")], outcomes)


def test_verdicts_do_not_depend_on_how_the_documents_are_batched() -> None:
    wrong, sound = build_einvoice_payload(WRONG_SUM_CHANGES), build_einvoice_payload()
    together = _list_verdicts(wrong, sound, sound)
    first = _build_einvoice_batch(wrong)
    assert validate_candidates(first).verdicts.column("verdict").to_pylist() == ["quarantined"]
    second = build_candidate_batch(
        build_einvoice_table(wrong, sound, sound).slice(1), KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS
    )
    assert ["quarantined", *validate_candidates(second).verdicts.column("verdict").to_pylist()] == together
    assert together == ["quarantined", "accepted", "duplicate"]


def test_the_correct_invoice_breaks_no_rule() -> None:
    checks = _build_einvoice_batch(build_einvoice_payload()).checks
    assert checks.filter(pc.equal(checks.column("outcome"), "broken")).num_rows == 0


def test_validating_writes_no_file_and_prints_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from tests.integration.extraction_payloads import build_einvoice_payload, build_einvoice_table\n"
        "from expectations.validation import validate_candidates\n"
        "assert not [m for m in sys.modules if m.startswith('great_expectations')]\n"
        "from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, build_candidate_batch\n"
        "table = build_einvoice_table(build_einvoice_payload())\n"
        "validate_candidates(build_candidate_batch(table, KNOWN_KEYS_SCHEMA.empty_table(), []))\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(CHECKOUT)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
