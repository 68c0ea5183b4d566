"""UBL 2 Invoice and CreditNote as a payload, in the terms of EN 16931-1 (syntax binding CEN/TS 16931-3-2)."""

from __future__ import annotations

from invoices.documents.einvoice import tree
from invoices.documents.einvoice.tree import Element, drop_absent, text
from invoices.documents.einvoice.values import Record, iso_date, kind_of, only_one

_TOTALS = {
    "line_total": "LineExtensionAmount",  # BT-106
    "allowance_total": "AllowanceTotalAmount",  # BT-107
    "charge_total": "ChargeTotalAmount",  # BT-108
    "tax_exclusive": "TaxExclusiveAmount",  # BT-109
    "tax_inclusive": "TaxInclusiveAmount",  # BT-112
    "prepaid": "PrepaidAmount",  # BT-113
    "rounding": "PayableRoundingAmount",  # BT-114
    "payable": "PayableAmount",  # BT-115
}


def specification(root: Element) -> str | None:
    """Return the specification identifier (BT-24)."""
    return text(root, "CustomizationID")


def invoices(root: Element) -> list[Record]:
    """Return the one invoice of a tree without namespaces; see the package for the keys."""
    currency = text(root, "DocumentCurrencyCode") or tree.currency_of_amounts(root.find("LegalMonetaryTotal"))
    return [
        drop_absent({
            **_head(root),
            "currency": currency,
            "tax_currency": text(root, "TaxCurrencyCode"),
            "seller": _party(root.find("AccountingSupplierParty/Party")),
            "buyer": _party(root.find("AccountingCustomerParty/Party")),
            **_payment(root),
            "totals": _totals(root, currency),
            "taxes": _taxes(root),
            "allowances": _allowances(root, charges=False),
            "charges": _allowances(root, charges=True),
            "lines": [_line(line) for line in [*root.iterfind("InvoiceLine"), *root.iterfind("CreditNoteLine")]],
        })
    ]  # fmt: skip


def _head(root: Element) -> Record:
    type_code = text(root, "InvoiceTypeCode") or text(root, "CreditNoteTypeCode")
    return {
        "invoice_number": text(root, "ID"),
        "issue_date": tree.date(root, "IssueDate"),
        "type_code": type_code,
        "kind": "credit_note" if root.tag == "CreditNote" else kind_of(type_code),
        "note": "\n".join(tree.texts(root, "Note")) or None,
        "buyer_reference": text(root, "BuyerReference"),
        "order_number": text(root, "OrderReference/ID"),
        "delivery_date": tree.date(root, "Delivery/ActualDeliveryDate"),
        "period_start": tree.date(root, "InvoicePeriod/StartDate"),
        "period_end": tree.date(root, "InvoicePeriod/EndDate"),
    }


def _payment(root: Element) -> Record:
    paths = ("DueDate", "PaymentMeans/PaymentDueDate", "PaymentTerms/PaymentDueDate")
    due = next((stated for path in paths if (stated := list(tree.texts(root, path)))), [])
    one = only_one(due)
    return {
        "due_date": iso_date(one) if one else None,
        "payment_terms": "\n".join(tree.texts(root, "PaymentTerms/Note")) or None,
        "payee_name": text(root, "PayeeParty/PartyName/Name"),
        "iban": text(root, "PaymentMeans/PayeeFinancialAccount/ID"),
    }


def _totals(root: Element, currency: str | None) -> Record:
    sums = root.find("LegalMonetaryTotal")
    stated = {key: text(sums, name) for key, name in _TOTALS.items()}
    return drop_absent({**stated, **tree.tax_totals(root.findall("TaxTotal/TaxAmount"), currency)})


def _taxes(root: Element) -> list[Record]:
    return [
        drop_absent({
            "category": text(tax, "TaxCategory/ID"),
            "rate": text(tax, "TaxCategory/Percent") or text(tax, "Percent"),
            "taxable_amount": text(tax, "TaxableAmount"),
            "tax_amount": text(tax, "TaxAmount"),
            "exemption_reason": text(tax, "TaxCategory/TaxExemptionReason"),
            "exemption_code": text(tax, "TaxCategory/TaxExemptionReasonCode"),
        })
        for tax in root.iterfind("TaxTotal/TaxSubtotal")
    ]  # fmt: skip


def _allowances(parent: Element, *, charges: bool) -> list[Record]:
    return [
        drop_absent({
            "amount": text(item, "Amount"),
            "base_amount": text(item, "BaseAmount"),
            "percentage": text(item, "MultiplierFactorNumeric"),
            "reason": text(item, "AllowanceChargeReason"),
            "reason_code": text(item, "AllowanceChargeReasonCode"),
            "tax_category": text(item, "TaxCategory/ID"),
            "tax_rate": text(item, "TaxCategory/Percent"),
        })
        for item in parent.iterfind("AllowanceCharge")
        if (text(item, "ChargeIndicator") in {"true", "1"}) == charges
    ]  # fmt: skip


def _party(party: Element | None) -> Record:
    if party is None:
        return {}
    address = party.find("PostalAddress")
    trading_name = text(party, "PartyName/Name")
    registered = text(party, "PartyLegalEntity/RegistrationName")
    return drop_absent({
        "name": registered or trading_name,
        "trading_name": trading_name if registered else None,
        **_tax_registrations(party),
        "legal_id": text(party, "PartyLegalEntity/CompanyID"),
        "country": text(address, "Country/IdentificationCode"),
        "city": text(address, "CityName"),
        "postcode": text(address, "PostalZone"),
        "line1": text(address, "StreetName"),
        "email": text(party, "Contact/ElectronicMail"),
        "endpoint": text(party, "EndpointID"),
    })  # fmt: skip


def _tax_registrations(party: Element) -> Record:
    """Return BT-31 (scheme VAT) and BT-32 (any other scheme)."""
    found: Record = {}
    for scheme in party.iterfind("PartyTaxScheme"):
        key = "vat_id" if (text(scheme, "TaxScheme/ID") or "").upper() == "VAT" else "tax_number"
        found.setdefault(key, text(scheme, "CompanyID"))
    return found


def _line(line: Element) -> Record:
    item, price = line.find("Item"), line.find("Price")
    return drop_absent({
        "line_id": text(line, "ID"),
        "description": text(item, "Name"),
        "details": text(item, "Description"),
        "note": text(line, "Note"),
        **_quantity(line),
        "unit_price": text(price, "PriceAmount"),
        "gross_price": text(price, "AllowanceCharge/BaseAmount"),
        "price_base_quantity": text(price, "BaseQuantity"),
        "net_amount": text(line, "LineExtensionAmount"),
        "tax_category": text(item, "ClassifiedTaxCategory/ID"),
        "tax_rate": text(item, "ClassifiedTaxCategory/Percent"),
        "order_line": text(line, "OrderLineReference/LineID"),
        "allowances": _allowances(line, charges=False),
        "charges": _allowances(line, charges=True),
        "sub_lines": [_line(sub) for sub in [*line.iterfind("SubInvoiceLine"), *line.iterfind("SubCreditNoteLine")]],
    })  # fmt: skip


def _quantity(line: Element) -> Record:
    quantity = line.find("InvoicedQuantity")
    if quantity is None:
        quantity = line.find("CreditedQuantity")
    if quantity is None:
        return {}
    return {"quantity": text(quantity), "unit": (quantity.get("unitCode") or "").strip() or None}
