"""National formats of UBL: each gets its profile, and a sound document of each is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from expectations.validation import CRITICAL_RULE_IDS, validate_candidates
from invoices.documents.xml_reader import read_xml_document
from tests.integration.extraction_payloads import build_einvoice_table
from tests.ubl_relative_fixtures import RELATIVES, build_oioubl_invoice, build_relative, build_ubl_tr_invoice
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, build_candidate_batch

OIOUBL_TOTALS = {
    "line_total": "200.00", "allowance_total": "20.00", "charge_total": "10.00", "tax_exclusive": "190.00",
    "tax_total": "47.50", "tax_inclusive": "237.50", "payable": "237.50",
}  # fmt: skip


def read_payload(content: bytes) -> dict[str, Any]:
    payload = read_xml_document(content).payload
    assert payload is not None
    return payload


def list_outcomes(*contents: bytes) -> list[tuple[str, str]]:
    """Return of each document its profile and its verdict, or its profile and the rules that it breaks badly."""
    payloads = [read_payload(content) for content in contents]
    table = build_einvoice_table(*(json.dumps(payload) for payload in payloads))
    batch = build_candidate_batch(table, KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS)
    result = validate_candidates(batch)
    verdicts = {row["invoice_id"]: row["verdict"] for row in result.verdicts.to_pylist()}
    broken: dict[str, list[str]] = {}
    for row in result.findings.to_pylist():
        if row["severity"] != "info":
            broken.setdefault(row["invoice_id"], []).append(row["rule_id"])
    ids = {row["document_sha256"]: row["invoice_id"] for row in batch.candidates.to_pylist()}
    outcomes = []
    for payload, sha256 in zip(payloads, table.column("document_sha256").to_pylist(), strict=True):
        rules = " ".join(sorted(broken.get(ids[sha256], [])))
        outcomes.append((payload["profile"], rules or verdicts[ids[sha256]]))
    return outcomes


def test_a_sound_document_of_each_format_gets_its_profile_and_is_accepted() -> None:
    contents = [build_relative(profile) for profile in RELATIVES]
    contents += [build_oioubl_invoice(), build_oioubl_invoice(version="OIOUBL-2.02"), build_ubl_tr_invoice()]
    contents.append(build_oioubl_invoice(root="CreditNote"))
    profiles = [*RELATIVES, "oioubl", "oioubl", "ubl_tr", "oioubl"]
    assert list_outcomes(*contents) == [(profile, "accepted") for profile in profiles]


def test_an_oioubl_document_is_read_in_the_terms_of_en_16931() -> None:
    (invoice,) = read_payload(build_oioubl_invoice())["invoices"]
    assert invoice["totals"] == OIOUBL_TOTALS
    assert [(tax["category"], tax["rate"]) for tax in invoice["taxes"]] == [("S", "25")]
    assert (invoice["lines"][0]["tax_category"], invoice["lines"][0]["tax_rate"]) == ("S", "25")
    assert [invoice[name][0]["tax_category"] for name in ("allowances", "charges")] == ["S", "S"]
    assert (invoice["seller"]["vat_id"], invoice["seller"]["legal_id"]) == ("DK99999999", "DK99999999")
    assert "tax_number" not in invoice["seller"]
    assert (invoice["due_date"], invoice["iban"]) == ("2026-02-25", "1234567890")


def test_a_total_without_tax_stays_in_an_oioubl_document_that_states_it_as_en_16931_does() -> None:
    (invoice,) = read_payload(build_oioubl_invoice(tax_exclusive="190.00"))["invoices"]
    assert invoice["totals"] == OIOUBL_TOTALS


def test_wrong_sums_of_oioubl_are_found() -> None:
    wrong_tax = build_oioubl_invoice(tax_exclusive="48.50")
    wrong_total = build_oioubl_invoice().replace(b">237.50<", b">238.50<")
    wrong_line = build_oioubl_invoice().replace(b">200.00\n<", b">201.00<").replace(b"'DKK'>200.00", b"'DKK'>201.00", 1)
    rules = [rules.split() for _, rules in list_outcomes(wrong_tax, wrong_total, wrong_line)]
    assert "BR-CO-13" in rules[0]
    assert "BR-CO-15" in rules[1]
    assert rules[2] != ["accepted"]


def test_several_taxes_of_oioubl_are_summed() -> None:
    duty = b"<a:TaxTotal><b:TaxAmount currencyID='DKK'>5.00</b:TaxAmount></a:TaxTotal><a:LegalMonetaryTotal>"
    content = build_oioubl_invoice(tax_exclusive="52.50").replace(b"<a:LegalMonetaryTotal>", duty)
    totals = read_payload(content)["invoices"][0]["totals"]
    assert (totals["tax_total"], totals["tax_exclusive"]) == ("52.50", "190.00")


@pytest.mark.parametrize("type_code", ["IADE", "TEVKIFAT"])
def test_a_turkish_document_that_is_no_sale_goes_to_a_person(type_code: str) -> None:
    (invoice,) = read_payload(build_ubl_tr_invoice(type_code))["invoices"]
    assert invoice["type_code"] == type_code
    assert [tax["category"] for tax in invoice["taxes"]] == ["S"]
    assert invoice["seller"]["tax_number"] == "1234567890"
    assert list_outcomes(build_ubl_tr_invoice(type_code)) == [("ubl_tr", "BR-CL-01")]
