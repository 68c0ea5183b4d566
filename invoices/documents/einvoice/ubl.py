"""UBL 2 Invoice and CreditNote as a payload, in the terms of EN 16931-1 (syntax binding CEN/TS 16931-3-2)."""

from __future__ import annotations

from invoices.documents.einvoice import xml_tree
from invoices.documents.einvoice.payload_values import (
    Record,
    classify_type_code,
    find_single_distinct_value,
    normalise_iso_date,
)
from invoices.documents.einvoice.ubl_relatives import apply_national_conventions
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text, iter_texts

_TOTAL_ELEMENTS = {
    "line_total": "LineExtensionAmount",  # BT-106
    "allowance_total": "AllowanceTotalAmount",  # BT-107
    "charge_total": "ChargeTotalAmount",  # BT-108
    "tax_exclusive": "TaxExclusiveAmount",  # BT-109
    "tax_inclusive": "TaxInclusiveAmount",  # BT-112
    "prepaid": "PrepaidAmount",  # BT-113
    "rounding": "PayableRoundingAmount",  # BT-114
    "payable": "PayableAmount",  # BT-115
}


def find_specification_id(root: Element) -> str | None:
    """Return the specification identifier (BT-24)."""
    return find_text(root, "CustomizationID")


def extract_invoices(root: Element) -> list[Record]:
    """Return the one invoice of a tree without namespaces; see the package for the keys."""
    currency = find_text(root, "DocumentCurrencyCode") or xml_tree.find_common_currency(root.find("LegalMonetaryTotal"))
    invoice = drop_absent_values({
        **_extract_header_fields(root),
        "currency": currency,
        "tax_currency": find_text(root, "TaxCurrencyCode"),
        "seller": _extract_party(root.find("AccountingSupplierParty/Party")),
        "buyer": _extract_party(root.find("AccountingCustomerParty/Party")),
        **_extract_payment_fields(root),
        "totals": _extract_totals(root, currency),
        "taxes": _extract_taxes(root),
        "allowances": _extract_allowances_or_charges(root, charges=False),
        "charges": _extract_allowances_or_charges(root, charges=True),
        "lines": [
            _extract_line(line) for line in [*root.iterfind("InvoiceLine"), *root.iterfind("CreditNoteLine")]
        ],
    })  # fmt: skip
    return [apply_national_conventions(root, invoice)]


def _extract_header_fields(root: Element) -> Record:
    type_code = find_text(root, "InvoiceTypeCode") or find_text(root, "CreditNoteTypeCode")
    return {
        "invoice_number": find_text(root, "ID"),
        "issue_date": xml_tree.find_date(root, "IssueDate"),
        "type_code": type_code,
        "kind": "credit_note" if root.tag == "CreditNote" else classify_type_code(type_code),
        "note": "\n".join(xml_tree.iter_texts(root, "Note")) or None,
        "buyer_reference": find_text(root, "BuyerReference"),
        "order_number": find_text(root, "OrderReference/ID"),
        "delivery_date": xml_tree.find_date(root, "Delivery/ActualDeliveryDate"),
        "period_start": xml_tree.find_date(root, "InvoicePeriod/StartDate"),
        "period_end": xml_tree.find_date(root, "InvoicePeriod/EndDate"),
    }


def _extract_payment_fields(root: Element) -> Record:
    due_date_paths = ("DueDate", "PaymentMeans/PaymentDueDate", "PaymentTerms/PaymentDueDate")
    due_dates = next((dates for path in due_date_paths if (dates := list(xml_tree.iter_texts(root, path)))), [])
    due_date = find_single_distinct_value(due_dates)
    return {
        "due_date": normalise_iso_date(due_date) if due_date else None,
        "payment_terms": "\n".join(xml_tree.iter_texts(root, "PaymentTerms/Note")) or None,
        "payee_name": find_text(root, "PayeeParty/PartyName/Name"),
        "iban": next(iter_texts(root, "PaymentMeans/PayeeFinancialAccount/ID"), None),
        "payment_means": [_extract_payment_means(means) for means in root.iterfind("PaymentMeans")],
    }


def _extract_payment_means(means: Element) -> Record:
    account = means.find("PayeeFinancialAccount")
    return drop_absent_values({
        "code": find_text(means, "PaymentMeansCode"),
        "reference": find_text(means, "PaymentID"),
        "iban": find_text(account, "ID"),
        "account_name": find_text(account, "Name"),
        "bic": find_text(account, "FinancialInstitutionBranch/ID"),
    })  # fmt: skip


def _extract_totals(root: Element, currency: str | None) -> Record:
    summation = root.find("LegalMonetaryTotal")
    totals = {key: find_text(summation, name) for key, name in _TOTAL_ELEMENTS.items()}
    return drop_absent_values(
        {**totals, **xml_tree.split_tax_totals_by_currency(root.findall("TaxTotal/TaxAmount"), currency)}
    )


def _extract_taxes(root: Element) -> list[Record]:
    return [
        drop_absent_values({
            "category": find_text(tax, "TaxCategory/ID"),
            "rate": find_text(tax, "TaxCategory/Percent") or find_text(tax, "Percent"),
            "taxable_amount": find_text(tax, "TaxableAmount"),
            "tax_amount": find_text(tax, "TaxAmount"),
            "exemption_reason": find_text(tax, "TaxCategory/TaxExemptionReason"),
            "exemption_code": find_text(tax, "TaxCategory/TaxExemptionReasonCode"),
        })
        for tax in root.iterfind("TaxTotal/TaxSubtotal")
    ]  # fmt: skip


def _extract_allowances_or_charges(parent: Element, *, charges: bool) -> list[Record]:
    return [
        drop_absent_values({
            "amount": find_text(item, "Amount"),
            "base_amount": find_text(item, "BaseAmount"),
            "percentage": find_text(item, "MultiplierFactorNumeric"),
            "reason": find_text(item, "AllowanceChargeReason"),
            "reason_code": find_text(item, "AllowanceChargeReasonCode"),
            "tax_category": find_text(item, "TaxCategory/ID"),
            "tax_rate": find_text(item, "TaxCategory/Percent"),
        })
        for item in parent.iterfind("AllowanceCharge")
        if (find_text(item, "ChargeIndicator") in {"true", "1"}) == charges
    ]  # fmt: skip


def _extract_party(party: Element | None) -> Record:
    if party is None:
        return {}
    address = party.find("PostalAddress")
    trading_name = find_text(party, "PartyName/Name")
    registered_name = find_text(party, "PartyLegalEntity/RegistrationName")
    return drop_absent_values({
        "name": registered_name or trading_name,
        "trading_name": trading_name if registered_name else None,
        **_extract_party_tax_schemes(party),
        "legal_id": find_text(party, "PartyLegalEntity/CompanyID"),
        "country": find_text(address, "Country/IdentificationCode"),
        "city": find_text(address, "CityName"),
        "postcode": find_text(address, "PostalZone"),
        "line1": find_text(address, "StreetName"),
        "email": find_text(party, "Contact/ElectronicMail"),
        "endpoint": find_text(party, "EndpointID"),
    })  # fmt: skip


def _extract_party_tax_schemes(party: Element) -> Record:
    """Return BT-31 (scheme VAT) and BT-32 (any other scheme), each from the first scheme with a company id."""
    registrations: Record = {}
    for scheme in party.iterfind("PartyTaxScheme"):
        key = "vat_id" if (find_text(scheme, "TaxScheme/ID") or "").upper() == "VAT" else "tax_number"
        if (company_id := find_text(scheme, "CompanyID")) is not None:
            registrations.setdefault(key, company_id)
    return registrations


def _extract_line(line: Element) -> Record:
    item, price = line.find("Item"), line.find("Price")
    return drop_absent_values({
        "line_id": find_text(line, "ID"),
        "description": find_text(item, "Name"),
        "details": find_text(item, "Description"),
        "note": find_text(line, "Note"),
        **_extract_quantity(line),
        "unit_price": find_text(price, "PriceAmount"),
        "gross_price": find_text(price, "AllowanceCharge/BaseAmount"),
        "price_base_quantity": find_text(price, "BaseQuantity"),
        "net_amount": find_text(line, "LineExtensionAmount"),
        "tax_category": find_text(item, "ClassifiedTaxCategory/ID"),
        "tax_rate": find_text(item, "ClassifiedTaxCategory/Percent"),
        "order_line": find_text(line, "OrderLineReference/LineID"),
        "allowances": _extract_allowances_or_charges(line, charges=False),
        "charges": _extract_allowances_or_charges(line, charges=True),
        "sub_lines": [
            _extract_line(sub_line)
            for sub_line in [*line.iterfind("SubInvoiceLine"), *line.iterfind("SubCreditNoteLine")]
        ],
    })  # fmt: skip


def _extract_quantity(line: Element) -> Record:
    quantity = line.find("InvoicedQuantity")
    if quantity is None:
        quantity = line.find("CreditedQuantity")
    if quantity is None:
        return {}
    return {"quantity": find_text(quantity), "unit": (quantity.get("unitCode") or "").strip() or None}
