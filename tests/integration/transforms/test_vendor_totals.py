"""Answers of vendors with one total changed are never accepted; the same answers without the change are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from expectations.validation import RULES
from tests.integration.extraction_payloads import (
    build_billflowai_payload,
    build_extraction_table,
    build_rows_payload,
)
from tests.sweep_size import spread
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, CandidateBatch, build_candidate_batch

SHIFTS = [sign * Decimal(cents) / 100 for cents in (1, 2, 3, 5, 10, 33, 50, 99, 100) for sign in (1, -1)]
STRICT_SEVERITIES = ("critical", "warning")


def build_billflowai_answers() -> Iterator[dict[str, Any]]:
    """Yield sound answers: with and without lines, discount, subtotal and tax, before and after tax."""
    lines = [{"description": "a", "quantity": 1, "price": "700.00"}, {"description": "b", "line_total": "320.00"}]
    for tax, items, invoice in itertools.product(("180.00", "0.00"), (lines, []), range(8)):
        total = Decimal("1020.00") + Decimal(tax)
        answer: dict[str, Any] = {"tax": tax, "total": str(total), "items": items, "discount": None}
        answer["invoice_number"], answer["subtotal"] = f"{tax}-{len(items)}-{invoice}", "1020.00"
        if invoice in (1, 2):
            answer["discount"], answer["total"] = "20.00" if invoice == 1 else "-20.00", str(total - 20)
        if invoice == 3:
            answer["subtotal"] = None
        if invoice == 4:
            answer["subtotal"] = str(total)
        if invoice == 5:
            answer |= {"subtotal": str(total + 100), "discount": "100.00"}
        if invoice == 6:
            answer |= {"subtotal": None, "discount": "20.00", "total": str(total - 20)}
        if invoice == 7:
            answer |= {"subtotal": "1040.00", "discount": "20.00"}
        is_confirmed = bool(items) or (answer["subtotal"] is not None and (invoice not in (4, 5) or tax == "0.00"))
        if is_confirmed:
            yield answer


def build_row_answers() -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of sound answers: with and without lines, rates of lines, and tax."""
    for tax, line_count, has_rates in itertools.product(("19.00", "0.00"), (0, 1, 2), (True, False)):
        rate = {"19.00": 19, "0.00": 0}[tax] if has_rates else None
        lines = [None, "100.00"][line_count : line_count + 1] or ["60.00", "40.00"]
        header = {"Invoice number": f"{tax}-{line_count}-{has_rates}", "Net amount": "100.00", "Tax amount": tax}
        header["Total amount"] = str(Decimal("100.00") + Decimal(tax))
        no_line = {
            "Line description": None, "Line quantity": None, "Line unit price": None, "Line tax rate": None,
        }  # fmt: skip
        yield [
            header
            | ({"Line tax rate": rate} if amount else no_line)
            | {"Line net amount": amount, "Line unit price": None, "Line quantity": None}
            for amount in lines
        ]


def validate(answers: list[tuple[str, str, str]]) -> CandidateBatch:
    return build_candidate_batch(build_extraction_table(answers), KNOWN_KEYS_SCHEMA.empty_table(), [])


def list_broken_rules(batch: CandidateBatch) -> dict[str, set[str]]:
    """Return the rules that keep the candidates of a document from being accepted, by document."""
    documents = {row["invoice_id"]: row["document_sha256"] for row in batch.candidates.to_pylist()}
    broken_rules: dict[str, set[str]] = {document: set() for document in documents.values()}
    for check in batch.checks.to_pylist():
        if check["outcome"] == "broken" and RULES[check["rule_id"]].severity in STRICT_SEVERITIES:
            broken_rules[documents[check["invoice_id"]]].add(check["rule_id"])
    return broken_rules


def test_sound_answers_are_accepted_with_the_amounts_that_they_state() -> None:
    answers = [("billflowai", build_billflowai_payload(answer)) for answer in build_billflowai_answers()]
    answers += [("invoicedataextraction_com", build_rows_payload(rows)) for rows in build_row_answers()]
    batch = validate([(f"d{number}", *answer) for number, answer in enumerate(answers)])
    assert {document: rules for document, rules in list_broken_rules(batch).items() if rules} == {}
    assert batch.candidates.num_rows == len(answers) >= 30
    for document, row in zip(answers, batch.candidates.to_pylist(), strict=True):
        payload = json.loads(document[1])
        header = payload["rows"][0] if "rows" in payload else payload
        assert row["total_amount"] == Decimal(header.get("Total amount") or header["total"])
        assert row["tax_amount"] == Decimal(header.get("Tax amount") or header["tax"])
        assert row["net_amount"] + row["tax_amount"] == row["total_amount"]


@pytest.mark.sweep
@pytest.mark.parametrize("field", ["total", "subtotal", "tax", "discount"])
def test_an_answer_of_billflowai_with_a_total_that_does_not_fit_is_never_accepted(field: str) -> None:
    answers: list[tuple[str, str, str]] = []
    for answer, shift in itertools.product(build_billflowai_answers(), SHIFTS):
        if answer[field] is not None:
            changed = answer | {field: str(Decimal(answer[field]) + shift), "invoice_number": str(len(answers))}
            answers.append((f"d{len(answers)}", "billflowai", build_billflowai_payload(changed)))
    answers = spread(answers, 150)
    assert [document for document, rules in list_broken_rules(validate(answers)).items() if not rules] == []


@pytest.mark.sweep
@pytest.mark.parametrize("field", ["Net amount", "Tax amount", "Total amount"])
def test_rows_with_a_total_that_does_not_fit_are_never_accepted(field: str) -> None:
    answers: list[tuple[str, str, str]] = []
    for rows, shift in itertools.product(build_row_answers(), SHIFTS):
        number = {"Invoice number": str(len(answers))}
        changed = [row | number | {field: str(Decimal(row[field]) + shift)} for row in rows]
        answers.append((f"d{len(answers)}", "invoicedataextraction_com", build_rows_payload(changed)))
    answers = spread(answers, 150)
    assert [document for document, rules in list_broken_rules(validate(answers)).items() if not rules] == []


def test_no_total_of_smartbills_com_is_accepted_because_nothing_confirms_it() -> None:
    payload = (
        '{"invoice_number": "1", "date": "2026-02-01", "currency": "EUR", "vendor": {"name": "N"}, "total_amount": 5}'
    )
    assert list_broken_rules(validate([("d1", "smartbills_com", payload)])) == {"d1": {"TAX-STATED"}}
