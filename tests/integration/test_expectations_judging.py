"""Verdicts by Great Expectations over what the SQL decided."""

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
from stored_answers import billflowai, einvoice, einvoices, rows_of, stored

from expectations.judging import RULES, STOPPING_RULES, Judged, judge
from expectations.rules import Rule
from expectations.suites import broken_by_rule, quiet_context
from invoices.errors import ContractError
from invoices.model import invoice_id
from transforms.shaping import KNOWN, Shaped, shape

TOLD = '{"invoice_number": "A", "date": "2026-02-01", "total_amount": 5, "currency": "EUR", "vendor": {"name": "K"}}'
ROW = json.loads(rows_of())["rows"][0]
WRONG_SUM: dict[str, Any] = {"totals": {"payable": "1.00"}}


def _shape(*payloads: str) -> Shaped:
    return shape(einvoices(*payloads), KNOWN.empty_table(), [], STOPPING_RULES)


def _judge(*answers: tuple[str, str]) -> Judged:
    """Return the judgement of answers (extractor, payload), each about a document of its own."""
    documents = [(f"d{number}", *answer) for number, answer in enumerate(answers, start=1)]
    return judge(shape(stored(documents), KNOWN.empty_table(), [], STOPPING_RULES))


def _verdicts(*payloads: str) -> list[str]:
    return list(judge(_shape(*payloads)).verdicts.column("verdict").to_pylist())


def test_the_worst_broken_rule_decides() -> None:
    no_country = einvoice({"invoice_number": "1", "seller": {"country": None}})
    no_name = einvoice({"invoice_number": "2", "seller": {"name": None}})
    wrong_sum = einvoice({"invoice_number": "3", "seller": {"name": None}, **WRONG_SUM})
    assert _verdicts(einvoice(), no_country, no_name, wrong_sum) == ["accepted", "accepted", "review", "quarantined"]


def test_what_came_twice_is_a_duplicate_unless_it_is_wrong_as_well() -> None:
    wrong = einvoice({"invoice_number": "2", **WRONG_SUM})
    assert _verdicts(einvoice(), einvoice(), wrong, wrong) == ["accepted", "duplicate", "quarantined", "quarantined"]


def test_a_sum_that_is_wrong_outweighs_having_come_before() -> None:
    wrong = einvoices(einvoice(WRONG_SUM))
    approved = shape(wrong, KNOWN.empty_table(), []).keys.to_pylist()[0] | {"invoice_id": "approved"}
    shaped = shape(wrong, lambda *_: [{name: approved[name] for name in KNOWN.names}], [], STOPPING_RULES)
    judged = judge(shaped)
    assert judged.findings.column("rule_id").to_pylist() == ["BR-CO-16", "DUPLICATE-CONTENT"]
    assert judged.verdicts.column("verdict").to_pylist() == ["quarantined"]


def test_each_broken_rule_is_a_finding_with_its_document_severity_and_words() -> None:
    judged = judge(_shape(einvoice(), einvoice({"invoice_number": "2", "seller": {"country": None}, **WRONG_SUM})))
    assert judged.findings.to_pylist() == [
        {
            "invoice_id": invoice_id("d2", 1),
            "document_sha256": "d2",
            "rule_id": "BR-CO-16",
            "severity": "critical",
            "message": "the amount due is 1.00, but total 113.05 − prepaid 13.05 + rounding 0.00 make 100.00",
        },
        {
            "invoice_id": invoice_id("d2", 1),
            "document_sha256": "d2",
            "rule_id": "BR-09",
            "severity": "info",
            "message": "the supplier's country is missing",
        },
    ]


def test_a_vendors_answer_waits_for_a_person_to_add_the_tax() -> None:
    judged = _judge(("smartbills_com", TOLD))
    assert judged.verdicts.column("verdict").to_pylist() == ["review"]
    assert judged.findings.column("rule_id").to_pylist() == ["TAX-STATED"]


IDE = "invoicedataextraction_com"
SMUDGED = {"message": "smudged", "affected_fields": ["Total amount"], "rows": [1]}


@pytest.mark.parametrize(
    ("extractor", "payload"),
    [
        (IDE, rows_of([{"Line quantity": "4.8", "Line net amount": "60"},
                       {"Line quantity": "3,2", "Line net amount": 40}])),
        (IDE, rows_of([{"Document type": "credit note", "Net amount": -100, "Tax amount": -19, "Total amount": -119,
                        "Line net amount": -100}])),
        (IDE, rows_of([{name: None for name in ROW if name.startswith("Line")}], output_structure="per_invoice")),
        ("billflowai", billflowai({})),
        ("billflowai", billflowai({"items": [], "total": 1416, "tax": 216})),
        ("billflowai", billflowai({"meta": {"source": "cache"}})),
    ],
    ids=["lines", "a negative credit note", "no lines", "the vendor's sample", "net less discount", "a cached answer"],
)  # fmt: skip
def test_a_sound_answer_of_a_vendor_that_states_tax_is_accepted(extractor: str, payload: str) -> None:
    judged = _judge((extractor, payload))
    assert (judged.verdicts.column("verdict").to_pylist(), judged.findings.to_pylist()) == (["accepted"], [])


@pytest.mark.parametrize(
    ("extractor", "payload", "verdict", "rules"),
    [
        (IDE, rows_of([{"Total amount": "119.01"}]), "quarantined", ["BR-CO-15"]),
        (IDE, rows_of([{"Total amount": "1.250"}]), "quarantined", ["BR-14", "AMOUNT-EXACT"]),
        (IDE, rows_of([{"Net amount": None}]), "review", ["BR-13"]),
        (IDE, rows_of([{"Tax amount": None}]), "review", ["TAX-STATED"]),
        (IDE, rows_of([{"Line net amount": "1"}]), "review", ["LINES-AGREE", "PEPPOL-R120"]),
        (IDE, rows_of([{}], page_count=2), "review", ["PAGES-READ"]),
        (IDE, rows_of([{}], review_needed=[SMUDGED]), "review", ["EXTRACTOR-SURE"]),
        (IDE, rows_of([{"Review Needed": "which logo?"}]), "accepted", ["EXTRACTOR-NOTE"]),
        (IDE, rows_of([{"Line net amount": "60"}, {"Total amount": 7, "Line net amount": "40"}]), "review",
         ["SAME-HEADER", "PEPPOL-R120"]),
        ("billflowai", billflowai({"total": 1201}), "quarantined", ["TOTALS-AGREE", "BR-13"]),
        ("billflowai", billflowai({"meta": {"source": "duplicate"}}), "review", ["EXTRACTOR-DUPLICATE"]),
        ("billflowai", billflowai({"date": "03/05/2026"}), "quarantined", ["BR-03", "DATE-EXACT"]),
        ("smartbills_com", TOLD.replace("5", "-5"), "review", ["NEGATIVE-TOTAL", "TAX-STATED"]),
    ],
)  # fmt: skip
def test_a_success_that_is_none_is_a_finding(extractor: str, payload: str, verdict: str, rules: list[str]) -> None:
    judged = _judge((extractor, payload))
    assert judged.findings.column("rule_id").to_pylist() == rules
    assert judged.verdicts.column("verdict").to_pylist() == [verdict]


def test_a_batch_without_any_invoice_has_no_verdict() -> None:
    shaped = shape(stored([("d1", "smartbills_com", "{}")]), KNOWN.empty_table(), [], STOPPING_RULES)
    judged = judge(shaped)
    assert (judged.verdicts.num_rows, judged.findings.num_rows, shaped.empty.num_rows) == (0, 0, 1)


def test_a_batch_that_lost_its_candidates_is_not_judged() -> None:
    shaped = _shape(einvoice())
    with pytest.raises(ContractError, match="1 documents were handed in, 0 have candidates"):
        judge(replace(shaped, candidates=shaped.candidates.slice(0, 0)))


def test_a_rule_left_undecided_for_one_candidate_stops_the_batch() -> None:
    shaped = _shape(einvoice(), einvoice({"invoice_number": "2"}))
    assert shaped.checks.num_rows == 2 * len(RULES)
    with pytest.raises(ContractError, match="2 candidates and"):
        judge(replace(shaped, checks=shaped.checks.slice(1)))


def test_a_rule_with_no_column_is_a_stop_and_not_merely_a_failure() -> None:
    outcomes = pd.DataFrame({"invoice_id": ["i1"], "A": ["holds"]})
    with pytest.raises(ContractError, match="rule 'B' was not checked"):
        broken_by_rule(quiet_context(), "t", [Rule("A", "info", "a"), Rule("B", "info", "b")], outcomes)


@pytest.mark.parametrize(("rules", "row_count"), [([], 1), ([Rule("A", "info", "a")], 0)])
def test_nothing_to_check_is_a_stop_and_not_a_success(rules: list[Rule], row_count: int) -> None:
    outcomes = pd.DataFrame({"invoice_id": ["i1"] * row_count, "A": ["holds"] * row_count})
    with pytest.raises(ContractError, match="decide nothing"):
        broken_by_rule(quiet_context(), "t", rules, outcomes)


def test_an_empty_outcome_is_a_stop_and_not_skipped() -> None:
    outcomes = pd.DataFrame({"invoice_id": ["i1", "i2"], "A": ["holds", None]})
    with pytest.raises(ContractError, match="1 empty"):
        broken_by_rule(quiet_context(), "t", [Rule("A", "info", "a")], outcomes)


def test_verdicts_do_not_depend_on_how_the_documents_are_batched() -> None:
    wrong, sound = einvoice(WRONG_SUM), einvoice()
    together = _verdicts(wrong, sound, sound)
    first = _shape(wrong)
    assert judge(first).verdicts.column("verdict").to_pylist() == ["quarantined"]
    second = shape(einvoices(wrong, sound, sound).slice(1), KNOWN.empty_table(), [], STOPPING_RULES)
    assert ["quarantined", *judge(second).verdicts.column("verdict").to_pylist()] == together
    assert together == ["quarantined", "accepted", "duplicate"]


def test_no_rule_is_broken_by_the_sound_invoice() -> None:
    checks = _shape(einvoice()).checks
    assert checks.filter(pc.equal(checks.column("outcome"), "broken")).num_rows == 0


def test_judging_writes_no_file_and_no_word(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from stored_answers import einvoice, einvoices\n"
        "from expectations.judging import judge\n"
        "assert not [m for m in sys.modules if m.startswith('great_expectations')]\n"
        "from transforms.shaping import KNOWN, shape\n"
        "judge(shape(einvoices(einvoice()), KNOWN.empty_table(), []))\n"
    )
    here = Path(__file__).parent
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(here), str(here.parents[1])],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
