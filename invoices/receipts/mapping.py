"""From an accepted invoice to the receipt that smartbills.io takes, and the check before it is sent.

The body is in the vendor's own dialect (contract sheet 05 §4 and §10): eleven required fields, the currency named at
every amount, the API's own spellings (``comapny``, ``refferingSite``) kept as they are. The API has no type for a
credit note and says nothing about negative amounts, so a credit note is not published: it waits with a reason.
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
from invoices.model.currencies import minor_unit, rounded

SOURCE_NAME = "invoices"
NOT_APPLICABLE = "n/a"
DESCRIPTION_LOCALE = "en-CA"  # the vendor's own default; the language of a line is not known
TOLERANCE = Decimal("0.01")  # contract sheet 05 §10, for the totals, and once per line for their sum
ADDED = ("totalFees", "totalTip", "totalDuties", "totalShipping")
TOTALS = ("subTotal", "totalDiscounts", *ADDED, "totalTaxes", "total", "totalPayments")
_CURRENCY = re.compile(r"[A-Z]{3}")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom a receipt is for, as the API finds them: by id, e-mail or phone number."""

    customer_id: int | None = None
    email: str | None = None
    phone: str | None = None

    @property
    def is_reachable(self) -> bool:
        """Whether there is anything to find the customer by."""
        return self.customer_id is not None or bool(self.email) or bool(self.phone)


def find_customer(invoice: Invoice, directory: Mapping[str, Customer], default: Customer | None) -> Customer | None:
    """Return the invoice's buyer as the API knows them, or None: then do not publish (contract sheet 05 §4.3).

    Looks in ``directory`` for the buyer's tax id, then for the name, both without regard to case and spacing; then
    takes ``default``. An entry without id, e-mail and phone counts as none.
    """
    folded = {_fold(key): customer for key, customer in directory.items()}
    keys = [_fold(text) for text in (invoice.customer.tax_id, invoice.customer.name) if text and _fold(text)]
    known = [folded.get(key) for key in keys]
    return next((customer for customer in [*known, default] if customer is not None and customer.is_reachable), None)


def receipt_body(invoice: Invoice, customer: Customer, receipt_id: str) -> dict[str, Any]:
    """Return the body of a create call: amounts are ``Decimal`` at the currency's minor unit, instants ISO text.

    Raises DocumentError with the reason code ``credit_note_not_published``, ``receipt_incomplete`` (no net or tax
    amount, no usable currency, a line without a net amount, no customer) or ``receipt_arithmetic`` (an amount finer
    than its currency).
    """
    _check_publishable(invoice, customer)
    currency = invoice.currency
    net, tax = _stated(invoice, "net_amount"), _stated(invoice, "tax_amount")
    discount, charge = invoice.discount_amount or ZERO, invoice.charge_amount or ZERO
    amounts = {
        "subTotal": net + discount - charge,  # BT-106: before taxes and discounts
        "totalDiscounts": discount,
        **dict.fromkeys(ADDED, ZERO),
        "totalFees": charge,
        "totalTaxes": tax,
        "total": invoice.total_amount,
        "totalPayments": invoice.prepaid_amount or ZERO,
    }
    return {
        "receiptId": receipt_id,
        "type": "OFFICIAL",
        "currency": currency,
        "date": _instant(invoice.issued_on),
        **({"dueDate": _instant(invoice.due_on)} if invoice.due_on else {}),
        **({"orderNumber": invoice.order_number} if invoice.order_number else {}),
        "paymentStatus": "Paid" if amounts["totalPayments"] >= amounts["total"] > 0 else "Pending",
        **_customer(customer),
        **_billing(invoice.customer),
        "taxesIncluded": False,
        **({"items": items} if (items := [_item(invoice, line) for line in invoice.lines]) else {}),
        **_listed(invoice, discount, charge),
        **{name: _money(_exact(invoice, name, amount), currency) for name, amount in amounts.items()},
        "source": SOURCE_NAME,
        "receiptMetadata": {
            "sourceName": SOURCE_NAME, "refferingSite": NOT_APPLICABLE, "tags": f"invoice:{invoice.invoice_number}",
        },
    }  # fmt: skip


def check_receipt(body: Mapping[str, Any]) -> None:
    """Hold a receipt to the vendor's arithmetic before it is sent; raises DocumentError naming the receipt.

    Reason codes: ``receipt_incomplete`` (a required amount is missing), ``receipt_currency`` (more than one currency),
    ``receipt_arithmetic`` (the total, or the sum of the items, is off by more than 0.01, or per item for their sum).
    """
    name = f"the receipt {body.get('receiptId')!r}"
    missing = [total for total in TOTALS if not _is_money(body.get(total))]
    if missing or not isinstance(body.get("taxesIncluded"), bool) or not body.get("type"):
        raise DocumentError(f"{name} lacks {missing or ['taxesIncluded or type']!r}", reason_code="receipt_incomplete")
    currencies = {money["currency"] for money in _moneys(body)} | {body.get("currency")}
    if len(currencies) != 1:
        found = sorted(map(str, currencies))
        raise DocumentError(f"{name} mixes the currencies {found!r}", reason_code="receipt_currency")
    amount = {total: Decimal(body[total]["amount"]) for total in TOTALS}
    tax = ZERO if body["taxesIncluded"] else amount["totalTaxes"]
    expected = amount["subTotal"] - amount["totalDiscounts"] + sum(amount[part] for part in ADDED) + tax
    if abs(expected - amount["total"]) > TOLERANCE:
        raise DocumentError(
            f"{name} does not add up: its parts give {expected}, its total is {amount['total']}",
            reason_code="receipt_arithmetic",
        )
    _check_items(name, body.get("items") or [], amount["subTotal"])


def _check_items(name: str, items: list[Mapping[str, Any]], sub_total: Decimal) -> None:
    total = sum((Decimal(item["subTotal"]["amount"]) for item in items), ZERO)
    if items and abs(total - sub_total) > TOLERANCE * len(items):
        raise DocumentError(
            f"{name} does not add up: its items give {total}, its subTotal is {sub_total}",
            reason_code="receipt_arithmetic",
        )


def _check_publishable(invoice: Invoice, customer: Customer) -> None:
    if invoice.kind == "credit_note" or invoice.total_amount < 0:
        raise DocumentError(
            f"{_name(invoice)} is a credit note; the receipts API has no type for one",
            reason_code="credit_note_not_published",
        )
    if not _CURRENCY.fullmatch(invoice.currency):
        raise _incomplete(invoice, f"its currency {invoice.currency!r} is no ISO 4217 code")
    if not customer.is_reachable:
        raise _incomplete(invoice, "its customer has no id, e-mail or phone number")


def _stated(invoice: Invoice, field: str) -> Decimal:
    amount: Decimal | None = getattr(invoice, field)
    if amount is None:
        raise _incomplete(invoice, f"it states no {field}")
    return amount


def _exact(invoice: Invoice, name: str, amount: Decimal) -> Decimal:
    """Return the amount at the minor unit; a total is never rounded, for then it would no longer be the document's."""
    if rounded(amount, invoice.currency) != amount:
        raise DocumentError(
            f"{_name(invoice)}: {name} {amount} is finer than {minor_unit(invoice.currency)} {invoice.currency}",
            reason_code="receipt_arithmetic",
        )
    return rounded(amount, invoice.currency)


def _item(invoice: Invoice, line: Line) -> dict[str, Any]:
    """Return one item: net price each, net sum, and its tax where the line tells it."""
    currency = invoice.currency
    net = _line_net(invoice, line)
    quantity = line.quantity if line.quantity else Decimal(1)
    price = line.unit_price_amount if line.unit_price_amount is not None and line.quantity else net / quantity
    name = line.description or f"Line {line.line_number}"
    item = {
        "name": name,
        "description": {DESCRIPTION_LOCALE: name},
        "quantity": _trimmed(quantity),
        "price": _money(rounded(price, currency), currency),
        "subTotal": _money(rounded(net, currency), currency),
    }
    tax = line.tax_amount
    if tax is None and line.tax_rate is not None:
        tax = net * line.tax_rate / 100
    if tax is None:
        return item
    tax = rounded(tax, currency)
    item["totalTaxes"] = _money(tax, currency)
    item["total"] = _money(rounded(net, currency) + tax, currency)
    if line.tax_rate is not None:
        item["taxes"] = [{"name": _tax_name(None), "amount": tax, "percentage": _trimmed(line.tax_rate)}]
    item["taxable"] = tax != 0 or bool(line.tax_rate)
    return item


def _line_net(invoice: Invoice, line: Line) -> Decimal:
    if line.net_amount is not None:
        return line.net_amount
    if line.quantity is not None and line.unit_price_amount is not None:
        return line.quantity * line.unit_price_amount
    raise _incomplete(invoice, f"its line {line.line_number} states no net amount")


def _listed(invoice: Invoice, discount: Decimal, charge: Decimal) -> dict[str, Any]:
    """Return the lists behind the totals; amounts of fees and discounts are bare numbers there (sheet 05 §4.1)."""
    currency = invoice.currency
    lists: dict[str, list[dict[str, Any]]] = {
        "discounts": [{"name": "Allowances", "amount": rounded(discount, currency)}] if discount else [],
        "fees": [{"type": "CHARGE", "amount": rounded(charge, currency), "total": rounded(charge, currency)}]
        if charge
        else [],
        "taxes": [
            {
                "name": _tax_name(tax.tax_category),
                **({"percentage": _trimmed(tax.tax_rate)} if tax.tax_rate is not None else {}),
                "total": _money(rounded(tax.tax_amount, currency), currency),
                **({"taxIdentificationNumber": invoice.supplier.tax_id} if invoice.supplier.tax_id else {}),
            }
            for tax in invoice.taxes
            if tax.tax_amount is not None
        ],
    }
    return {name: entries for name, entries in lists.items() if entries}


def _tax_name(category: str | None) -> str:
    return f"VAT {category}" if category else "VAT"


def _customer(customer: Customer) -> dict[str, Any]:
    """Return the surest way to find the customer and no other personal data (sheet 05 §4.3)."""
    if customer.customer_id is not None:
        return {"customerId": customer.customer_id}
    return {"customer": {"email": customer.email} if customer.email else {"phoneNumber": customer.phone}}


def _billing(buyer: Party) -> dict[str, Any]:
    if not buyer.name:
        return {}
    country = {"address": {"countryCode": buyer.country}} if buyer.country else {}
    return {"billingAddress": {"name": buyer.name, "comapny": buyer.name, **country}}


def _money(amount: Decimal, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def _trimmed(number: Decimal) -> Decimal:
    """Return the number without the zeros that a column's scale added."""
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _is_money(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("amount"), (Decimal, int)) and "currency" in value


def _moneys(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if set(value) == {"amount", "currency"}:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _moneys(inner)


def _instant(day: dt.date) -> str:
    return f"{day.isoformat()}T00:00:00.000Z"


def _fold(text: str) -> str:
    return "".join(text.casefold().split())


def _name(invoice: Invoice) -> str:
    return f"invoice {invoice.invoice_number!r} ({invoice.invoice_id})"


def _incomplete(invoice: Invoice, why: str) -> DocumentError:
    return DocumentError(f"{_name(invoice)} cannot become a receipt: {why}", reason_code="receipt_incomplete")
