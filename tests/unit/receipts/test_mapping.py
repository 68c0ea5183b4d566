"""Receipts from invoices: all required amounts, one currency, correct sums, and a reason if it is not possible."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.errors import DocumentError
from invoices.model import Invoice, Line, Party, Tax
from invoices.model.currencies import get_minor_unit
from invoices.receipts.mapping import TOTAL_FIELDS, Customer, build_receipt_body, find_customer, validate_receipt_body

D = Decimal
BUYER = Customer(email="buyer@example.org")
INVOICE = Invoice(
    invoice_id="7f3a", document_sha256="0" * 64, ordinal=1, kind="invoice", direction="expense", invoice_number="A-17",
    issued_on=dt.date(2026, 1, 15), due_on=dt.date(2026, 2, 14), currency="EUR", order_number="PO 9",
    customer=Party("Käufer  GmbH", "DE 1", "DE"), supplier=Party("Beispiel SA", "FR2", "FR"),
    net_amount=D("100.0000"), discount_amount=D(5), charge_amount=D(3), tax_amount=D(20),
    total_amount=D(120), prepaid_amount=D(20), payable_amount=D(100),
    lines=(Line(1, "Service", D("2.000000"), "C62", D(51), D(102), D(20), None),),
    taxes=(Tax("S", D("20.000000"), D(100), D(20)),),
)  # fmt: skip


def build_changed_receipt(**changes: Any) -> dict[str, Any]:
    return build_receipt_body(replace(INVOICE, **changes), BUYER, "7f3a-v1")


def get_refusal_code(**changes: Any) -> str:
    with pytest.raises(DocumentError) as error_info:
        validate_receipt_body(build_changed_receipt(**changes))
    assert "A-17" in str(error_info.value) or "7f3a-v1" in str(error_info.value)
    return error_info.value.reason_code


def list_total_amounts(receipt: dict[str, Any]) -> dict[str, str]:
    return {name: str(receipt[name]["amount"]) for name in TOTAL_FIELDS}


def test_every_total_is_there_with_its_currency() -> None:
    receipt = build_changed_receipt()
    validate_receipt_body(receipt)
    assert list_total_amounts(receipt) == {
        "subTotal": "102.00", "totalDiscounts": "5.00", "totalFees": "3.00", "totalTip": "0.00", "totalDuties": "0.00",
        "totalShipping": "0.00", "totalTaxes": "20.00", "total": "120.00", "totalPayments": "20.00",
    }  # fmt: skip
    assert {receipt[name]["currency"] for name in TOTAL_FIELDS} == {"EUR"}
    assert (receipt["type"], receipt["taxesIncluded"], receipt["currency"]) == ("OFFICIAL", False, "EUR")


def test_the_other_fields_come_from_the_invoice() -> None:
    receipt = build_changed_receipt()
    assert receipt["receiptId"] == "7f3a-v1"
    assert (receipt["date"], receipt["dueDate"]) == ("2026-01-15T00:00:00.000Z", "2026-02-14T00:00:00.000Z")
    assert receipt["orderNumber"] == "PO 9"
    assert receipt["paymentStatus"] == "Pending"
    assert receipt["customer"] == {"email": "buyer@example.org"}
    assert receipt["billingAddress"] == {
        "name": "Käufer  GmbH", "comapny": "Käufer  GmbH", "address": {"countryCode": "DE"},
    }  # fmt: skip
    assert receipt["receiptMetadata"]["sourceName"] == "invoices"
    assert receipt["discounts"] == [{"name": "Allowances", "amount": D("5.00")}]
    assert receipt["fees"] == [{"type": "CHARGE", "amount": D("3.00"), "total": D("3.00")}]
    assert receipt["taxes"] == [{
        "name": "VAT S", "percentage": D(20), "total": {"amount": D("20.00"), "currency": "EUR"},
        "taxIdentificationNumber": "FR2",
    }]  # fmt: skip


def test_a_receipt_of_a_rehearsal_says_so() -> None:
    real, rehearsed = (
        build_receipt_body(INVOICE, BUYER, "7f3a-v1", is_rehearsal=is_rehearsal) for is_rehearsal in (False, True)
    )
    assert rehearsed["source"] == "invoices (rehearsal)"
    assert {name for name in real if real[name] != rehearsed[name]} == {"source", "receiptMetadata"}
    assert rehearsed["receiptMetadata"]["tags"] == f"rehearsal {real['receiptMetadata']['tags']}"


def test_an_item_has_its_net_price_and_its_tax() -> None:
    [item] = build_changed_receipt()["items"]
    money = {name: str(item[name]["amount"]) for name in ("price", "subTotal", "totalTaxes", "total")}
    assert money == {"price": "51.00", "subTotal": "102.00", "totalTaxes": "20.40", "total": "122.40"}
    assert (item["name"], item["description"], str(item["quantity"])) == ("Service", {"en-CA": "Service"}, "2")
    assert (item["taxable"], item["taxes"][0]["percentage"]) == (True, D(20))


@pytest.mark.parametrize(
    ("line", "price", "sub_total"),
    [
        (Line(1, None, None, None, None, D(102)), "102.00", "102.00"),
        (Line(1, None, D(4), None, None, D(102)), "25.50", "102.00"),
        (Line(1, None, D(4), None, D("25.5"), None), "25.50", "102.00"),
        (Line(1, None, D(0), None, D(7), D(102)), "102.00", "102.00"),
        (Line(1, None, D(3), None, None, D(102)), "34.00", "102.00"),
    ],
)
def test_missing_values_of_a_line_are_derived_from_the_others(line: Line, price: str, sub_total: str) -> None:
    receipt = build_changed_receipt(lines=(line,))
    validate_receipt_body(receipt)
    [item] = receipt["items"]
    assert (str(item["price"]["amount"]), str(item["subTotal"]["amount"])) == (price, sub_total)
    assert item["name"] == "Line 1"
    assert "totalTaxes" not in item


def test_an_invoice_without_lines_has_no_items() -> None:
    receipt = build_changed_receipt(lines=())
    validate_receipt_body(receipt)
    assert "items" not in receipt


@pytest.mark.parametrize(
    ("currency", "total", "sent"), [("JPY", "121", "121"), ("EUR", "121", "121.00"), ("KWD", "121.125", "121.125")]
)
def test_amounts_have_the_decimals_of_their_currency(currency: str, total: str, sent: str) -> None:
    simple: dict[str, Any] = {"discount_amount": None, "charge_amount": None, "lines": (), "taxes": ()}
    receipt = build_changed_receipt(currency=currency, total_amount=D(total), tax_amount=D(total) - 100, **simple)
    validate_receipt_body(receipt)
    assert str(receipt["total"]["amount"]) == sent


@pytest.mark.parametrize(("currency", "unit"), [("JPY", "1"), ("EUR", "0.01"), ("BHD", "0.001"), ("CLF", "0.0001")])
def test_minor_units_follow_iso_4217(currency: str, unit: str) -> None:
    assert get_minor_unit(currency) == D(unit)


@pytest.mark.parametrize(
    ("changes", "reason_code"),
    [
        ({"net_amount": None}, "receipt_incomplete"),
        ({"tax_amount": None}, "receipt_incomplete"),
        ({"currency": "EURO"}, "receipt_incomplete"),
        ({"currency": "eur"}, "receipt_incomplete"),
        ({"lines": (Line(1, "x"),)}, "receipt_incomplete"),
        ({"lines": (Line(1, "x", D(2)),)}, "receipt_incomplete"),
        ({"total_amount": D("120.02")}, "receipt_arithmetic"),
        ({"total_amount": D("119.98")}, "receipt_arithmetic"),
        ({"total_amount": D("120.005")}, "receipt_arithmetic"),
        ({"tax_amount": D(19)}, "receipt_arithmetic"),
        ({"discount_amount": None}, "receipt_arithmetic"),
        ({"lines": (Line(1, "x", net_amount=D("102.02")),)}, "receipt_arithmetic"),
        ({"kind": "credit_note"}, "credit_note_not_published"),
        ({"total_amount": D(-120), "net_amount": D(-100), "tax_amount": D(-20)}, "credit_note_not_published"),
    ],
)
def test_an_invoice_that_cannot_be_a_receipt_is_refused_with_a_reason(
    changes: dict[str, Any], reason_code: str
) -> None:
    assert get_refusal_code(**changes) == reason_code


@pytest.mark.parametrize("total", ["120.01", "119.99"])
def test_a_cent_of_rounding_is_accepted(total: str) -> None:
    validate_receipt_body(build_changed_receipt(total_amount=D(total)))


def test_an_invoice_without_a_reachable_customer_is_refused() -> None:
    with pytest.raises(DocumentError) as caught:
        build_receipt_body(INVOICE, Customer(email=""), "r")
    assert caught.value.reason_code == "receipt_incomplete"


def test_a_fully_paid_invoice_has_the_status_paid() -> None:
    assert build_changed_receipt(prepaid_amount=D(120))["paymentStatus"] == "Paid"
    assert build_changed_receipt(prepaid_amount=None)["paymentStatus"] == "Pending"


@pytest.mark.parametrize("name", TOTAL_FIELDS)
def test_a_missing_required_amount_is_refused(name: str) -> None:
    for invalid_value in (None, 5, {"amount": D(1)}, {"currency": "EUR"}, {"amount": 1.0, "currency": "EUR"}):
        with pytest.raises(DocumentError) as caught:
            validate_receipt_body({**build_changed_receipt(), name: invalid_value})
        assert caught.value.reason_code == "receipt_incomplete"


def test_a_second_currency_anywhere_is_refused() -> None:
    for path in (("total",), ("items", 0, "price"), ("taxes", 0, "total")):
        receipt: Any = copy.deepcopy(build_changed_receipt())
        money = receipt
        for key in path:
            money = money[key]
        money["currency"] = "CAD"
        with pytest.raises(DocumentError, match=r"\['CAD', 'EUR'\]") as caught:
            validate_receipt_body(receipt)
        assert caught.value.reason_code == "receipt_currency"


def test_included_taxes_are_not_added_again() -> None:
    receipt = build_changed_receipt()
    validate_receipt_body({**receipt, "taxesIncluded": True, "total": {"amount": D(100), "currency": "EUR"}})
    with pytest.raises(DocumentError):
        validate_receipt_body({**receipt, "taxesIncluded": True})


@pytest.mark.parametrize(
    ("customer", "fields"),
    [
        (Customer(7, "a@example.org", "+1"), {"customerId": 7}),
        (Customer(None, "a@example.org", "+1"), {"customer": {"email": "a@example.org"}}),
        (Customer(None, None, "+1"), {"customer": {"phoneNumber": "+1"}}),
    ],
)
def test_only_the_most_reliable_customer_key_is_sent(customer: Customer, fields: dict[str, Any]) -> None:
    receipt = build_receipt_body(INVOICE, customer, "r")
    assert {name: receipt[name] for name in ("customerId", "customer") if name in receipt} == fields


@pytest.mark.parametrize(
    ("directory", "default_customer", "expected"),
    [
        ({"de1": Customer(1), "käufer gmbh": Customer(2)}, Customer(3), Customer(1)),
        ({"KÄUFER GMBH ": Customer(2)}, Customer(3), Customer(2)),
        ({"DE1": Customer(), "käufergmbh": Customer(2)}, None, Customer(2)),
        ({"other": Customer(1), "": Customer(9)}, Customer(3), Customer(3)),
        ({}, Customer(), None),
        ({}, None, None),
    ],
)
def test_a_buyer_is_found_by_tax_id_then_name_then_default(
    directory: dict[str, Customer], default_customer: Customer | None, expected: Customer | None
) -> None:
    assert find_customer(INVOICE, directory, default_customer) == expected


def test_a_buyer_without_name_and_tax_id_gets_the_default() -> None:
    assert find_customer(replace(INVOICE, customer=Party()), {"": Customer(1)}, BUYER) == BUYER


CENTS = st.integers(0, 10**9).map(lambda cents: D(cents).scaleb(-2))


@given(lines=st.lists(CENTS, min_size=1, max_size=20), discount=CENTS, charge=CENTS, tax=CENTS)
def test_every_invoice_that_adds_up_becomes_a_receipt_that_adds_up(
    lines: list[D], discount: D, charge: D, tax: D
) -> None:
    net = sum(lines, D(0)) - discount + charge
    if net + tax < 0:
        return
    receipt = build_changed_receipt(
        net_amount=net, discount_amount=discount, charge_amount=charge, tax_amount=tax, total_amount=net + tax,
        lines=tuple(Line(n, "x", net_amount=amount) for n, amount in enumerate(lines, 1)), taxes=(),
    )  # fmt: skip
    validate_receipt_body(receipt)
    assert receipt["total"]["amount"] == net + tax
