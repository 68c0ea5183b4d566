"""The committed sample world: its manifest tells the truth, and its correct e-invoices hold the standard's sums."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from sandbox import samples_directory
from sandbox.samples import manifest
from sandbox.world import cii, ubl
from sandbox.world import invoices as of
from sandbox.world.papers import Paper

PAPERS = {name: value for name, value in vars(of).items() if isinstance(value, Paper)}
CORRECT = {name: paper for name, paper in PAPERS.items() if not paper.misprints}


def test_the_manifest_has_the_hash_and_size_of_each_file() -> None:
    for row in manifest():
        content = (samples_directory() / row["path"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["bytes"]), row["path"]


def test_the_manifest_names_every_file_and_no_other() -> None:
    inbox = samples_directory() / "inbox"
    files = {f"inbox/{path.relative_to(inbox).as_posix()}" for path in inbox.rglob("*") if path.is_file()}
    assert files == {row["path"] for row in manifest()}


def test_the_world_is_large_enough_and_small_enough() -> None:
    states = Counter(row["expected_state"] for row in manifest())
    assert sum(states.values()) >= 40
    assert all(states[state] for state in ("accepted", "review", "quarantined", "duplicate", "not_invoice"))
    assert sum(row["bytes"] for row in manifest()) < 4_000_000


def test_every_profile_currency_and_category_occurs() -> None:
    kinds = {row["kind"].partition(" ")[2] for row in manifest() if row["kind"].startswith("pdf+cii")}
    assert kinds == set(cii.PROFILES)
    assert {paper.currency for paper in PAPERS.values()} >= {"EUR", "USD", "GBP", "CHF", "SEK", "JPY"}
    assert {line.category for paper in PAPERS.values() for line in paper.lines} >= set("SZEKGO") | {"AE"}


def test_no_number_of_a_supplier_occurs_twice_unless_that_is_the_point() -> None:
    numbers = Counter((paper.seller.name, paper.number) for paper in PAPERS.values())
    assert [number for (_, number), count in numbers.items() if count > 1] == ["RE-26-00317"]


@pytest.mark.parametrize("name", sorted(CORRECT))
def test_a_correct_paper_has_what_the_standard_wants_present(name: str) -> None:
    paper = CORRECT[name]
    assert paper.due or paper.terms
    assert all(party.name and party.vat_id and len(party.country) == 2 for party in (paper.seller, paper.buyer))
    assert paper.issued.year == 2026
    assert 1 <= paper.issued.month <= 10
    assert all(part.reason for part in paper.taxes if part.category not in {"S", "Z"})
    assert paper.delivered or all(line.category != "K" for line in paper.lines)


@pytest.mark.parametrize("name", sorted(CORRECT))
@pytest.mark.parametrize("syntax", ["cii", "ubl"])
def test_the_xml_of_a_correct_paper_holds_every_sum(name: str, syntax: str) -> None:
    paper = CORRECT[name]
    told = _told_by_cii(cii.render(paper)) if syntax == "cii" else _told_by_ubl(ubl.render(paper))
    sums = told["sums"]
    half = Decimal("0.5") if paper.currency == "JPY" else Decimal("0.005")
    allowances = sum((amount for amount, charge in told["adjustments"] if not charge), Decimal(0))
    charges = sum((amount for amount, charge in told["adjustments"] if charge), Decimal(0))
    assert sums["line_sum"] == sum(told["lines"]), "BR-CO-10"
    assert sums["allowances"] == allowances, "BR-CO-11"
    assert sums["charges"] == charges, "BR-CO-12"
    assert sums["net"] == sums["line_sum"] - allowances + charges, "BR-CO-13"
    assert sums["tax"] == sum(tax for _, _, tax in told["taxes"]), "BR-CO-14"
    assert sums["gross"] == sums["net"] + sums["tax"], "BR-CO-15"
    assert sums["payable"] == sums["gross"] - sums["prepaid"], "BR-CO-16"
    assert all(abs(taxable * rate / 100 - tax) <= half for taxable, rate, tax in told["taxes"]), "BR-CO-17"
    assert sum(taxable for taxable, _, _ in told["taxes"]) == sums["net"], "BR-S-08"


def test_the_sums_that_should_not_hold_do_not() -> None:
    assert of.WRONG_TOTAL.gross != of.WRONG_TOTAL.net + of.WRONG_TOTAL.tax
    told = _told_by_ubl(ubl.render(of.WRONG_LINE_SUM))
    assert told["sums"]["line_sum"] != sum(told["lines"])


def _numbers(root: etree._Element, *paths: str) -> Iterator[Decimal]:
    for path in paths:
        for found in root.findall(path):
            yield Decimal(found.text or "")


def _one(root: etree._Element, path: str) -> Decimal:
    return next(_numbers(root, path), Decimal(0))


def _told_by_cii(xml: bytes) -> dict[str, Any]:
    root = etree.fromstring(xml)
    for element in root.iter():
        element.tag = etree.QName(element).localname
    head = root.find(".//ApplicableHeaderTradeSettlement")
    assert head is not None
    sums = {
        "line_sum": "LineTotalAmount", "allowances": "AllowanceTotalAmount", "charges": "ChargeTotalAmount",
        "net": "TaxBasisTotalAmount", "tax": "TaxTotalAmount", "gross": "GrandTotalAmount",
        "prepaid": "TotalPrepaidAmount", "payable": "DuePayableAmount",
    }  # fmt: skip
    taxes = head.findall("ApplicableTradeTax")
    return {
        "sums": {
            name: _one(head, f"SpecifiedTradeSettlementHeaderMonetarySummation/{tag}") for name, tag in sums.items()
        },
        "lines": list(_numbers(root, ".//SpecifiedTradeSettlementLineMonetarySummation/LineTotalAmount")),
        "taxes": [
            (_one(t, "BasisAmount"), _one(t, "RateApplicablePercent"), _one(t, "CalculatedAmount")) for t in taxes
        ],
        "adjustments": [
            (_one(a, "ActualAmount"), a.findtext("ChargeIndicator/Indicator") == "true")
            for a in head.findall("SpecifiedTradeAllowanceCharge")
        ],
    }


def _told_by_ubl(xml: bytes) -> dict[str, Any]:
    root = etree.fromstring(xml)
    for element in root.iter():
        element.tag = etree.QName(element).localname
    sums = {
        "line_sum": "LineExtensionAmount", "allowances": "AllowanceTotalAmount", "charges": "ChargeTotalAmount",
        "net": "TaxExclusiveAmount", "gross": "TaxInclusiveAmount", "prepaid": "PrepaidAmount",
        "payable": "PayableAmount",
    }  # fmt: skip
    totals = {name: _one(root, f"LegalMonetaryTotal/{tag}") for name, tag in sums.items()}
    return {
        "sums": {**totals, "tax": _one(root, "TaxTotal/TaxAmount")},
        "lines": list(_numbers(root, "InvoiceLine/LineExtensionAmount", "CreditNoteLine/LineExtensionAmount")),
        "taxes": [
            (_one(t, "TaxableAmount"), _one(t, "TaxCategory/Percent"), _one(t, "TaxAmount"))
            for t in root.findall("TaxTotal/TaxSubtotal")
        ],
        "adjustments": [
            (_one(a, "Amount"), a.findtext("ChargeIndicator") == "true") for a in root.findall("AllowanceCharge")
        ],
    }
