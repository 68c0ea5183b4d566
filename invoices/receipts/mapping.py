"""Building the receipt for smartbills.io from an accepted invoice, and validating it before it is sent.

The body follows the vendor's API (contract sheet 05 §4 and §10): eleven required fields, a currency with every amount,
and the API's own misspellings (``comapny``, ``refferingSite``). The API has no type for a credit note and does not
document negative amounts, so a credit note is not published: it is held with a reason.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from invoices.errors import DocumentError
from invoices.model import Invoice, Line, Party
from invoices.model.currencies import get_minor_unit, round_to_minor_unit

SOURCE_NAME = "invoices"
REHEARSAL_SOURCE_NAME = "invoices (rehearsal)"
NOT_APPLICABLE = "n/a"
DESCRIPTION_LOCALE = "en-CA"  # the vendor's default; the language of a line is unknown
TOLERANCE = Decimal("0.01")  # contract sheet 05 §10: for the total, and once per item for the sum of the items
ADDED_TOTAL_FIELDS = ("totalFees", "totalTip", "totalDuties", "totalShipping")
TOTAL_FIELDS = ("subTotal", "totalDiscounts", *ADDED_TOTAL_FIELDS, "totalTaxes", "total", "totalPayments")
_CURRENCY_PATTERN = re.compile(r"[A-Z]{3}")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Customer:
    """The customer of a receipt; the API finds them by id, e-mail or phone number."""

    customer_id: int | None = None
    email: str | None = None
    phone: str | None = None

    @property
    def is_reachable(self) -> bool:
        """Whether the API can find the customer."""
        return self.customer_id is not None or bool(self.email) or bool(self.phone)


def find_customer(
    invoice: Invoice, directory: Mapping[str, Customer], default_customer: Customer | None
) -> Customer | None:
    """Return the API's customer for the invoice's buyer, or None: then do not publish (contract sheet 05 §4.3).

    Searches ``directory`` for the buyer's tax id, then for the name, ignoring case and spaces; then uses
    ``default_customer``. An entry without id, e-mail and phone does not count.
    """
    customers_by_key = {_normalise_lookup_key(key): customer for key, customer in directory.items()}
    keys = [_normalise_lookup_key(text or "") for text in (invoice.customer.tax_id, invoice.customer.name)]
    customers = [*(customers_by_key.get(key) for key in keys if key), default_customer]
    return next((customer for customer in customers if customer is not None and customer.is_reachable), None)


def build_receipt_body(
    invoice: Invoice, customer: Customer, receipt_id: str, *, is_rehearsal: bool = False
) -> dict[str, Any]:
    """Return the body of a create call: amounts are ``Decimal`` at the currency's minor unit, times ISO 8601 text.

    The receipt of a rehearsal is marked as one in ``source``, ``sourceName`` and ``tags``.

    Raises DocumentError with the reason code ``credit_note_not_published``, ``receipt_incomplete`` (no net or tax
    amount, no usable currency, a line without a net amount, no customer) or ``receipt_arithmetic`` (an amount finer
    than its currency).
    """
    _check_publishable(invoice, customer)
    currency, source_name = invoice.currency, REHEARSAL_SOURCE_NAME if is_rehearsal else SOURCE_NAME
    net, tax = _get_stated_amount(invoice, "net_amount"), _get_stated_amount(invoice, "tax_amount")
    discount, charge = invoice.discount_amount or ZERO, invoice.charge_amount or ZERO
    amounts = {
        "subTotal": net + discount - charge,  # BT-106: before taxes and discounts
        "totalDiscounts": discount,
        **dict.fromkeys(ADDED_TOTAL_FIELDS, ZERO),
        "totalFees": charge,
        "totalTaxes": tax,
        "total": invoice.total_amount,
        "totalPayments": invoice.prepaid_amount or ZERO,
    }
    return {
        "receiptId": receipt_id,
        "type": "OFFICIAL",
        "currency": currency,
        "date": _format_midnight_utc(invoice.issued_on),
        **({"dueDate": _format_midnight_utc(invoice.due_on)} if invoice.due_on else {}),
        **({"orderNumber": invoice.order_number} if invoice.order_number else {}),
        "paymentStatus": "Paid" if amounts["totalPayments"] >= amounts["total"] > 0 else "Pending",
        **_build_customer_fields(customer),
        **_build_billing_address(invoice.customer),
        "taxesIncluded": False,
        **({"items": items} if (items := [_build_item(invoice, line) for line in invoice.lines]) else {}),
        **_build_detail_lists(invoice, discount, charge),
        **{
            name: _build_money(_require_exact_amount(invoice, name, amount), currency)
            for name, amount in amounts.items()
        },
        "source": source_name,
        "receiptMetadata": {
            "sourceName": source_name, "refferingSite": NOT_APPLICABLE,
            "tags": f"{'rehearsal ' if is_rehearsal else ''}invoice:{invoice.invoice_number}",
        },
    }  # fmt: skip


def validate_receipt_body(body: Mapping[str, Any]) -> None:
    """Check a receipt against the vendor's rules before it is sent; raises DocumentError naming the receipt.

    Reason codes: ``receipt_incomplete`` (a required field is missing), ``receipt_currency`` (more than one currency),
    ``receipt_arithmetic`` (the total is wrong by more than 0.01, or the sum of the items by more than 0.01 per item).
    """
    label = f"the receipt {body.get('receiptId')!r}"
    missing_fields = [name for name in TOTAL_FIELDS if not _is_money_object(body.get(name))]
    if missing_fields or not isinstance(body.get("taxesIncluded"), bool) or not body.get("type"):
        raise DocumentError(
            f"{label} lacks {', '.join(missing_fields) or 'taxesIncluded or type'}", reason_code="receipt_incomplete"
        )
    currencies = {money["currency"] for money in _iter_money_objects(body)} | {body.get("currency")}
    if len(currencies) != 1:
        currency_names = sorted(map(str, currencies))
        raise DocumentError(f"{label} mixes the currencies {currency_names!r}", reason_code="receipt_currency")
    amounts = {name: Decimal(body[name]["amount"]) for name in TOTAL_FIELDS}
    expected_total = amounts["subTotal"] - amounts["totalDiscounts"] + sum(amounts[name] for name in ADDED_TOTAL_FIELDS)
    if not body["taxesIncluded"]:
        expected_total += amounts["totalTaxes"]
    if abs(expected_total - amounts["total"]) > TOLERANCE:
        raise DocumentError(
            f"{label} does not add up: its parts give {expected_total}, its total is {amounts['total']}",
            reason_code="receipt_arithmetic",
        )
    items, sub_total = body.get("items") or [], amounts["subTotal"]
    item_sum = sum((Decimal(item["subTotal"]["amount"]) for item in items), ZERO)
    if items and abs(item_sum - sub_total) > TOLERANCE * len(items):
        raise DocumentError(
            f"{label} does not add up: its items give {item_sum}, its subTotal is {sub_total}",
            reason_code="receipt_arithmetic",
        )


def _check_publishable(invoice: Invoice, customer: Customer) -> None:
    if invoice.kind == "credit_note" or invoice.total_amount < 0:
        raise DocumentError(
            f"{_format_invoice_label(invoice)} is a credit note, and the receipts API has no type for credit notes",
            reason_code="credit_note_not_published",
        )
    if not _CURRENCY_PATTERN.fullmatch(invoice.currency):
        raise _build_incomplete_error(invoice, f"its currency {invoice.currency!r} is not an ISO 4217 code")
    if not customer.is_reachable:
        raise _build_incomplete_error(invoice, "its customer has no id, e-mail or phone number")


def _get_stated_amount(invoice: Invoice, field_name: str) -> Decimal:
    amount: Decimal | None = getattr(invoice, field_name)
    if amount is None:
        raise _build_incomplete_error(invoice, f"it states no {field_name}")
    return amount


def _require_exact_amount(invoice: Invoice, field_name: str, amount: Decimal) -> Decimal:
    """Return the amount at the minor unit. A total is never rounded: it must stay the one of the document."""
    rounded_amount = round_to_minor_unit(amount, invoice.currency)
    if rounded_amount != amount:
        raise DocumentError(
            f"{_format_invoice_label(invoice)}: {field_name} {amount} is not a multiple of the minor unit "
            f"{get_minor_unit(invoice.currency)} {invoice.currency}",
            reason_code="receipt_arithmetic",
        )
    return rounded_amount


def _build_item(invoice: Invoice, line: Line) -> dict[str, Any]:
    """Return one item: net unit price, net amount, and the tax if the line states it."""
    currency = invoice.currency
    net_amount = _get_line_net_amount(invoice, line)
    quantity = line.quantity or Decimal(1)
    unit_price = line.unit_price_amount
    if unit_price is None or not line.quantity:
        unit_price = net_amount / quantity
    name = line.description or f"Line {line.line_number}"
    item = {
        "name": name,
        "description": {DESCRIPTION_LOCALE: name},
        "quantity": _trim_trailing_zeros(quantity),
        "price": _build_money(round_to_minor_unit(unit_price, currency), currency),
        "subTotal": _build_money(round_to_minor_unit(net_amount, currency), currency),
    }
    tax_amount = line.tax_amount
    if tax_amount is None and line.tax_rate is not None:
        tax_amount = net_amount * line.tax_rate / 100
    if tax_amount is None:
        return item
    tax_amount = round_to_minor_unit(tax_amount, currency)
    item["totalTaxes"] = _build_money(tax_amount, currency)
    item["total"] = _build_money(round_to_minor_unit(net_amount, currency) + tax_amount, currency)
    if line.tax_rate is not None:
        item["taxes"] = [{"name": "VAT", "amount": tax_amount, "percentage": _trim_trailing_zeros(line.tax_rate)}]
    item["taxable"] = tax_amount != 0 or bool(line.tax_rate)
    return item


def _get_line_net_amount(invoice: Invoice, line: Line) -> Decimal:
    if line.net_amount is not None:
        return line.net_amount
    if line.quantity is not None and line.unit_price_amount is not None:
        return line.quantity * line.unit_price_amount
    raise _build_incomplete_error(invoice, f"its line {line.line_number} states no net amount")


def _build_detail_lists(invoice: Invoice, discount: Decimal, charge: Decimal) -> dict[str, Any]:
    """Return the lists behind the totals; amounts of fees and discounts are plain numbers there (sheet 05 §4.1)."""
    currency = invoice.currency
    discount, charge = round_to_minor_unit(discount, currency), round_to_minor_unit(charge, currency)
    lists: dict[str, list[dict[str, Any]]] = {
        "discounts": [{"name": "Allowances", "amount": discount}] if discount else [],
        "fees": [{"type": "CHARGE", "amount": charge, "total": charge}] if charge else [],
        "taxes": [
            {
                "name": f"VAT {tax.tax_category}" if tax.tax_category else "VAT",
                **({"percentage": _trim_trailing_zeros(tax.tax_rate)} if tax.tax_rate is not None else {}),
                "total": _build_money(round_to_minor_unit(tax.tax_amount, currency), currency),
                **({"taxIdentificationNumber": invoice.supplier.tax_id} if invoice.supplier.tax_id else {}),
            }
            for tax in invoice.taxes
            if tax.tax_amount is not None
        ],
    }
    return {name: entries for name, entries in lists.items() if entries}


def _build_customer_fields(customer: Customer) -> dict[str, Any]:
    """Return the most reliable key of the customer, and no other personal data (sheet 05 §4.3)."""
    if customer.customer_id is not None:
        return {"customerId": customer.customer_id}
    if customer.email:
        return {"customer": {"email": customer.email}}
    return {"customer": {"phoneNumber": customer.phone}}


def _build_billing_address(buyer: Party) -> dict[str, Any]:
    if not buyer.name:
        return {}
    country = {"address": {"countryCode": buyer.country}} if buyer.country else {}
    return {"billingAddress": {"name": buyer.name, "comapny": buyer.name, **country}}


def _build_money(amount: Decimal, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def _trim_trailing_zeros(number: Decimal) -> Decimal:
    """Return the number without the trailing zeros that a column's scale has added."""
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _is_money_object(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("amount"), (Decimal, int)) and "currency" in value


def _iter_money_objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if set(value) == {"amount", "currency"}:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from _iter_money_objects(child)


def _format_midnight_utc(day: dt.date) -> str:
    return f"{day.isoformat()}T00:00:00.000Z"


def _normalise_lookup_key(text: str) -> str:
    return "".join(text.casefold().split())


def _format_invoice_label(invoice: Invoice) -> str:
    return f"invoice {invoice.invoice_number!r} ({invoice.invoice_id})"


def _build_incomplete_error(invoice: Invoice, problem: str) -> DocumentError:
    return DocumentError(
        f"{_format_invoice_label(invoice)} cannot become a receipt: {problem}", reason_code="receipt_incomplete"
    )
