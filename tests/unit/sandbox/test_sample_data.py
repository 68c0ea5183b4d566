"""The committed sample data: its manifest is right, and its correct e-invoices have the sums of the standard."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from sandbox import get_samples_directory
from sandbox.sample_data import cii, invoices, ubl
from sandbox.sample_data.documents import SampleInvoice
from sandbox.sample_manifest import load_manifest

SAMPLE_DOCUMENTS = {name: value for name, value in vars(invoices).items() if isinstance(value, SampleInvoice)}
CORRECT_DOCUMENTS = {name: document for name, document in SAMPLE_DOCUMENTS.items() if not document.misprints}


def test_the_manifest_has_the_hash_and_size_of_each_file() -> None:
    for row in load_manifest():
        content = (get_samples_directory() / row["path"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["bytes"]), row["path"]


def test_the_manifest_names_every_file_and_no_other() -> None:
    inbox = get_samples_directory() / "inbox"
    files = {f"inbox/{path.relative_to(inbox).as_posix()}" for path in inbox.rglob("*") if path.is_file()}
    assert files == {row["path"] for row in load_manifest()}


def test_the_sample_data_are_large_enough_and_small_enough() -> None:
    states = Counter(row["expected_state"] for row in load_manifest())
    assert sum(states.values()) >= 40
    assert all(states[state] for state in ("accepted", "review", "quarantined", "duplicate", "not_invoice"))
    assert sum(row["bytes"] for row in load_manifest()) < 4_000_000


def test_every_profile_currency_and_category_occurs() -> None:
    kinds = {row["kind"].partition(" ")[2] for row in load_manifest() if row["kind"].startswith("pdf+cii")}
    assert kinds == set(cii.PROFILES)
    assert {document.currency for document in SAMPLE_DOCUMENTS.values()} >= {"EUR", "USD", "GBP", "CHF", "SEK", "JPY"}
    assert {line.category for document in SAMPLE_DOCUMENTS.values() for line in document.lines} >= set("SZEKGO") | {
        "AE"
    }


def test_only_the_intended_invoice_number_of_a_supplier_occurs_twice() -> None:
    numbers = Counter((document.seller.name, document.number) for document in SAMPLE_DOCUMENTS.values())
    assert [number for (_, number), count in numbers.items() if count > 1] == ["RE-26-00317"]


@pytest.mark.parametrize("name", sorted(CORRECT_DOCUMENTS))
def test_a_correct_document_has_the_fields_that_the_standard_requires(name: str) -> None:
    document = CORRECT_DOCUMENTS[name]
    assert document.due_date or document.terms
    assert all(party.name and party.vat_id and len(party.country) == 2 for party in (document.seller, document.buyer))
    assert document.issue_date.year == 2026
    assert 1 <= document.issue_date.month <= 10
    assert all(part.reason for part in document.tax_breakdowns if part.category not in {"S", "Z"})
    assert document.delivery_date or all(line.category != "K" for line in document.lines)


@pytest.mark.parametrize("name", sorted(CORRECT_DOCUMENTS))
@pytest.mark.parametrize("syntax", ["cii", "ubl"])
def test_the_xml_of_a_correct_document_holds_every_sum(name: str, syntax: str) -> None:
    document = CORRECT_DOCUMENTS[name]
    stated_sums = (
        _parse_cii_sums(cii.render_cii_invoice(document))
        if syntax == "cii"
        else _parse_ubl_sums(ubl.render_ubl_invoice(document))
    )
    sums = stated_sums["sums"]
    half = Decimal("0.5") if document.currency == "JPY" else Decimal("0.005")
    allowances = sum((amount for amount, charge in stated_sums["adjustments"] if not charge), Decimal(0))
    charges = sum((amount for amount, charge in stated_sums["adjustments"] if charge), Decimal(0))
    assert sums["line_sum"] == sum(stated_sums["lines"]), "BR-CO-10"
    assert sums["allowances"] == allowances, "BR-CO-11"
    assert sums["charges"] == charges, "BR-CO-12"
    assert sums["net"] == sums["line_sum"] - allowances + charges, "BR-CO-13"
    assert sums["tax"] == sum(tax for _, _, tax in stated_sums["taxes"]), "BR-CO-14"
    assert sums["gross"] == sums["net"] + sums["tax"], "BR-CO-15"
    assert sums["payable"] == sums["gross"] - sums["prepaid"], "BR-CO-16"
    assert all(abs(taxable * rate / 100 - tax) <= half for taxable, rate, tax in stated_sums["taxes"]), "BR-CO-17"
    assert sum(taxable for taxable, _, _ in stated_sums["taxes"]) == sums["net"], "BR-S-08"


def test_the_sums_of_the_wrong_documents_do_not_hold() -> None:
    assert invoices.WRONG_TOTAL.gross != invoices.WRONG_TOTAL.net + invoices.WRONG_TOTAL.tax
    stated_sums = _parse_ubl_sums(ubl.render_ubl_invoice(invoices.WRONG_LINE_SUM))
    assert stated_sums["sums"]["line_sum"] != sum(stated_sums["lines"])


def _find_numbers(root: etree._Element, *paths: str) -> Iterator[Decimal]:
    for path in paths:
        for element in root.findall(path):
            yield Decimal(element.text or "")


def _find_number(root: etree._Element, path: str) -> Decimal:
    return next(_find_numbers(root, path), Decimal(0))


def _parse_cii_sums(xml: bytes) -> dict[str, Any]:
    root = etree.fromstring(xml)
    for element in root.iter():
        element.tag = etree.QName(element).localname
    settlement = root.find(".//ApplicableHeaderTradeSettlement")
    assert settlement is not None
    sums = {
        "line_sum": "LineTotalAmount", "allowances": "AllowanceTotalAmount", "charges": "ChargeTotalAmount",
        "net": "TaxBasisTotalAmount", "tax": "TaxTotalAmount", "gross": "GrandTotalAmount",
        "prepaid": "TotalPrepaidAmount", "payable": "DuePayableAmount",
    }  # fmt: skip
    taxes = settlement.findall("ApplicableTradeTax")
    return {
        "sums": {
            name: _find_number(settlement, f"SpecifiedTradeSettlementHeaderMonetarySummation/{tag}")
            for name, tag in sums.items()
        },
        "lines": list(_find_numbers(root, ".//SpecifiedTradeSettlementLineMonetarySummation/LineTotalAmount")),
        "taxes": [
            (
                _find_number(t, "BasisAmount"),
                _find_number(t, "RateApplicablePercent"),
                _find_number(t, "CalculatedAmount"),
            )
            for t in taxes
        ],
        "adjustments": [
            (_find_number(a, "ActualAmount"), a.findtext("ChargeIndicator/Indicator") == "true")
            for a in settlement.findall("SpecifiedTradeAllowanceCharge")
        ],
    }


def _parse_ubl_sums(xml: bytes) -> dict[str, Any]:
    root = etree.fromstring(xml)
    for element in root.iter():
        element.tag = etree.QName(element).localname
    sums = {
        "line_sum": "LineExtensionAmount", "allowances": "AllowanceTotalAmount", "charges": "ChargeTotalAmount",
        "net": "TaxExclusiveAmount", "gross": "TaxInclusiveAmount", "prepaid": "PrepaidAmount",
        "payable": "PayableAmount",
    }  # fmt: skip
    totals = {name: _find_number(root, f"LegalMonetaryTotal/{tag}") for name, tag in sums.items()}
    return {
        "sums": {**totals, "tax": _find_number(root, "TaxTotal/TaxAmount")},
        "lines": list(_find_numbers(root, "InvoiceLine/LineExtensionAmount", "CreditNoteLine/LineExtensionAmount")),
        "taxes": [
            (_find_number(t, "TaxableAmount"), _find_number(t, "TaxCategory/Percent"), _find_number(t, "TaxAmount"))
            for t in root.findall("TaxTotal/TaxSubtotal")
        ],
        "adjustments": [
            (_find_number(a, "Amount"), a.findtext("ChargeIndicator") == "true")
            for a in root.findall("AllowanceCharge")
        ],
    }
