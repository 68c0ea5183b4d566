"""Values of every kind in vendors' answers: an amount has one reading and is exact, or the answer is not accepted."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from expectations.validation import RULES
from invoices.clients.strict_json import parse_json_keeping_odd_values
from invoices.extraction.extraction_recorder import to_exact_json
from tests.integration.extraction_payloads import (
    build_billflowai_payload,
    build_extraction_table,
    build_rows_payload,
)
from tests.odd_amounts import BLANKS, DIALECTS, MISSING, ODD_JSON_VALUES
from tests.sweep_size import spread
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, CandidateBatch, build_candidate_batch

STRICT_SEVERITIES = ("critical", "warning")
BILLFLOWAI_AMOUNTS = ["total", "subtotal", "discount", "tax"]
ROW_AMOUNTS = ["Net amount", "Tax amount", "Total amount", "Line net amount"]


def build_billflowai_body(field: str, value: str, number: int) -> str:
    """Return a sound body, as the vendor sends it, in which a field has this JSON value."""
    sound = {"invoice_number": f"N{number}", "subtotal": 1040, "discount": 20, "total": 1200, "items": []}
    return replace_field(json.loads(build_billflowai_payload(sound)), field, value)


def build_row_body(field: str, value: str, number: int) -> str:
    """Return a sound payload of rows in which a field of the only row has this JSON value."""
    payload = json.loads(build_rows_payload([{"Invoice number": f"N{number}"}]))
    row = replace_field(payload["rows"][0], field, value)
    return json.dumps(payload | {"rows": ["ROW"]}).replace('"ROW"', row)


def replace_field(fields: dict[str, Any], field: str, value: str) -> str:
    if value == MISSING:
        return json.dumps({name: content for name, content in fields.items() if name != field})
    return json.dumps(fields | {field: "VALUE"}).replace('"VALUE"', value)


def validate_bodies(extractor: str, bodies: Sequence[str]) -> tuple[CandidateBatch, dict[str, set[str]]]:
    """Return the batch of these bodies (d0, d1, …), and by document the rules that keep it from being accepted."""
    answers = [
        (f"d{number}", extractor, to_exact_json(parse_json_keeping_odd_values(body.encode())))
        for number, body in enumerate(bodies)
    ]
    batch = build_candidate_batch(build_extraction_table(answers), KNOWN_KEYS_SCHEMA.empty_table(), [])
    documents = {row["invoice_id"]: row["document_sha256"] for row in batch.candidates.to_pylist()}
    broken_rules: dict[str, set[str]] = {document: set() for document in documents.values()}
    for check in batch.checks.to_pylist():
        if check["outcome"] == "broken" and RULES[check["rule_id"]].severity in STRICT_SEVERITIES:
            broken_rules[documents[check["invoice_id"]]].add(check["rule_id"])
    assert batch.document_count == len(bodies) == len(broken_rules)
    return batch, broken_rules


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("extractor", "fields", "build_body"),
    [
        ("billflowai", BILLFLOWAI_AMOUNTS, build_billflowai_body),
        ("invoicedataextraction_com", ROW_AMOUNTS, build_row_body),
    ],
)
def test_an_answer_with_an_odd_amount_is_never_accepted(
    extractor: str, fields: list[str], build_body: Callable[[str, str, int], str]
) -> None:
    values = [*ODD_JSON_VALUES, *BLANKS, MISSING]
    cases = spread(list(itertools.product(fields, values)), 200)
    bodies = [build_body(field, value, number) for number, (field, value) in enumerate(cases)]
    _, broken_rules = validate_bodies(extractor, bodies)
    accepted = [case for number, case in enumerate(cases) if not broken_rules[f"d{number}"]]
    assert accepted == []


def test_an_answer_with_an_odd_text_is_never_accepted() -> None:
    values = ["true", "false", "[1]", "{}", '{"a": 1}', '["A-17"]', '"[]"', *BLANKS, MISSING]
    fields = ["invoice_number", "date", "counterparty", "currency"]
    cases = [*itertools.product(fields, values), *(("items", value) for value in values[:7])]
    cases = [case for case in cases if case not in (("invoice_number", '"[]"'), ("counterparty", '"[]"'))]
    _, broken_rules = validate_bodies(
        "billflowai", [build_billflowai_body(field, value, number) for number, (field, value) in enumerate(cases)]
    )
    assert [case for number, case in enumerate(cases) if not broken_rules[f"d{number}"]] == []


@pytest.mark.parametrize("extractor", ["billflowai", "invoicedataextraction_com"])
def test_amounts_in_ten_dialects_are_the_same_amounts(extractor: str) -> None:
    bodies = []
    for number, write in enumerate(DIALECTS.values()):
        net, tax, total = write("1,250,000.50"), write("237,500.10"), write("1,487,500.60")
        if extractor == "billflowai":
            changes = {"subtotal": net, "discount": None, "tax": tax, "total": total, "items": [{"line_total": net}]}
            bodies.append(build_billflowai_payload(changes | {"invoice_number": f"N{number}"}))
        else:
            row = {"Net amount": net, "Tax amount": tax, "Total amount": total, "Line net amount": net}
            row |= {"Line quantity": "1", "Line unit price": net, "Invoice number": f"N{number}"}
            bodies.append(build_rows_payload([row]))
    batch, broken_rules = validate_bodies(extractor, bodies)
    assert {number: rules for number, rules in broken_rules.items() if rules} == {}
    amounts = {(row["net_amount"], row["tax_amount"], row["total_amount"]) for row in batch.candidates.to_pylist()}
    assert amounts == {(Decimal("1250000.50"), Decimal("237500.10"), Decimal("1487500.60"))}
    assert {row["net_amount"] for row in batch.lines.to_pylist()} == {Decimal("1250000.50")}
