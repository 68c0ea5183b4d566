"""Cross Industry Invoice (ZUGFeRD 1 and 2, Factur-X, XRechnung) as a payload, in the terms of EN 16931-1.

Paths follow the syntax binding CEN/TS 16931-3-3; elements that ZUGFeRD 1.0 named otherwise are renamed before reading.
"""

from __future__ import annotations

from invoices.documents.einvoice import xml_tree
from invoices.documents.einvoice.payload_values import Record, classify_type_code, find_single_distinct_value
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text, iter_texts

CII_NAME_BY_ZUGFERD1_NAME = {
    "SpecifiedExchangedDocumentContext": "ExchangedDocumentContext",
    "HeaderExchangedDocument": "ExchangedDocument",
    "SpecifiedSupplyChainTradeTransaction": "SupplyChainTradeTransaction",
    "ApplicableSupplyChainTradeAgreement": "ApplicableHeaderTradeAgreement",
    "ApplicableSupplyChainTradeDelivery": "ApplicableHeaderTradeDelivery",
    "ApplicableSupplyChainTradeSettlement": "ApplicableHeaderTradeSettlement",
    "SpecifiedSupplyChainTradeAgreement": "SpecifiedLineTradeAgreement",
    "SpecifiedSupplyChainTradeDelivery": "SpecifiedLineTradeDelivery",
    "SpecifiedSupplyChainTradeSettlement": "SpecifiedLineTradeSettlement",
    "ApplicablePercent": "RateApplicablePercent",
}

_TOTAL_ELEMENTS = {
    "line_total": "LineTotalAmount",  # BT-106
    "allowance_total": "AllowanceTotalAmount",  # BT-107
    "charge_total": "ChargeTotalAmount",  # BT-108
    "tax_exclusive": "TaxBasisTotalAmount",  # BT-109
    "tax_inclusive": "GrandTotalAmount",  # BT-112
    "prepaid": "TotalPrepaidAmount",  # BT-113
    "rounding": "RoundingAmount",  # BT-114
    "payable": "DuePayableAmount",  # BT-115
}

_PAYMENT_MEANS = "SpecifiedTradeSettlementPaymentMeans"
_LINE_CONTENT_PATHS = (
    "SpecifiedTradeProduct",
    "SpecifiedLineTradeDelivery",
    "SpecifiedLineTradeSettlement//LineTotalAmount",
)


def find_specification_id(root: Element) -> str | None:
    """Return the specification identifier (BT-24)."""
    return find_text(root, "ExchangedDocumentContext/GuidelineSpecifiedDocumentContextParameter/ID")


def extract_invoices(root: Element) -> list[Record]:
    """Return the one invoice of a tree without namespaces; see the package for the keys."""
    document = root.find("ExchangedDocument")
    trade = root.find("SupplyChainTradeTransaction")
    if document is None or trade is None:
        return [{}]
    settlement = trade.find("ApplicableHeaderTradeSettlement")
    line_items = trade.findall("IncludedSupplyChainTradeLineItem")
    currency = find_text(settlement, "InvoiceCurrencyCode") or xml_tree.find_common_currency(settlement)
    return [
        drop_absent_values({
            **_extract_header_fields(document, trade),
            "currency": currency,
            "seller": _extract_party(trade.find("ApplicableHeaderTradeAgreement/SellerTradeParty")),
            "buyer": _extract_party(trade.find("ApplicableHeaderTradeAgreement/BuyerTradeParty")),
            **_extract_settlement_fields(settlement, currency),
            "line_texts": [
                "\n".join(xml_tree.iter_texts(line_item, "AssociatedDocumentLineDocument/IncludedNote/Content"))
                for line_item in line_items if not _is_billed_line(line_item)
            ],
            "lines": [_extract_line(line_item) for line_item in line_items if _is_billed_line(line_item)],
        })
    ]  # fmt: skip


def _extract_header_fields(document: Element, trade: Element) -> Record:
    agreement = trade.find("ApplicableHeaderTradeAgreement")
    order_reference = trade.find("ApplicableHeaderTradeAgreement/BuyerOrderReferencedDocument")
    delivery_event = trade.find("ApplicableHeaderTradeDelivery/ActualDeliverySupplyChainEvent")
    type_code = find_text(document, "TypeCode")
    return {
        "invoice_number": find_text(document, "ID"),
        "issue_date": _find_date(document, "IssueDateTime"),
        "type_code": type_code,
        "kind": classify_type_code(type_code),
        "note": "\n".join(xml_tree.iter_texts(document, "IncludedNote/Content")) or None,
        "buyer_reference": find_text(agreement, "BuyerReference"),
        "order_number": find_text(order_reference, "IssuerAssignedID") or find_text(order_reference, "ID"),
        "delivery_date": _find_date(delivery_event, "OccurrenceDateTime"),
    }


def _extract_settlement_fields(settlement: Element | None, currency: str | None) -> Record:
    if settlement is None:
        return {}
    due_dates = [
        _find_date(payment_term, "DueDateDateTime")
        for payment_term in settlement.iterfind("SpecifiedTradePaymentTerms")
    ]
    period = settlement.find("BillingSpecifiedPeriod")
    return {
        "tax_currency": find_text(settlement, "TaxCurrencyCode"),
        "due_date": find_single_distinct_value([due_date for due_date in due_dates if due_date]),
        "payment_terms": "\n".join(xml_tree.iter_texts(settlement, "SpecifiedTradePaymentTerms/Description")) or None,
        "period_start": _find_date(period, "StartDateTime"),
        "period_end": _find_date(period, "EndDateTime"),
        "payee_name": find_text(settlement, "PayeeTradeParty/Name"),
        "iban": next(iter_texts(settlement, f"{_PAYMENT_MEANS}/PayeePartyCreditorFinancialAccount/IBANID"), None),
        "payment_means": [_extract_payment_means(means, settlement) for means in settlement.iterfind(_PAYMENT_MEANS)],
        "totals": _extract_totals(settlement, currency),
        "taxes": [_extract_tax(tax) for tax in settlement.iterfind("ApplicableTradeTax")],
        "allowances": _extract_allowances_or_charges(settlement, charges=False),
        "charges": _extract_allowances_or_charges(settlement, charges=True)
        + [_extract_logistics_charge(charge) for charge in settlement.iterfind("SpecifiedLogisticsServiceCharge")],
    }


def _extract_payment_means(means: Element, settlement: Element) -> Record:
    account = means.find("PayeePartyCreditorFinancialAccount")
    return drop_absent_values({
        "code": find_text(means, "TypeCode"),
        "reference": find_text(settlement, "PaymentReference"),
        "iban": find_text(account, "IBANID") or find_text(account, "ProprietaryID"),
        "account_name": find_text(account, "AccountName"),
        "bic": find_text(means, "PayeeSpecifiedCreditorFinancialInstitution/BICID"),
    })  # fmt: skip


def _extract_totals(settlement: Element, currency: str | None) -> Record:
    summation = settlement.find("SpecifiedTradeSettlementHeaderMonetarySummation")
    if summation is None:
        summation = settlement.find("SpecifiedTradeSettlementMonetarySummation")
    if summation is None:
        return {}
    totals = {key: find_text(summation, name) for key, name in _TOTAL_ELEMENTS.items()}
    return drop_absent_values(
        {**totals, **xml_tree.split_tax_totals_by_currency(summation.findall("TaxTotalAmount"), currency)}
    )


def _extract_tax(tax: Element) -> Record:
    return drop_absent_values({
        "category": find_text(tax, "CategoryCode"),
        "rate": find_text(tax, "RateApplicablePercent"),
        "taxable_amount": find_text(tax, "BasisAmount"),
        "tax_amount": find_text(tax, "CalculatedAmount"),
        "exemption_reason": find_text(tax, "ExemptionReason"),
        "exemption_code": find_text(tax, "ExemptionReasonCode"),
    })  # fmt: skip


def _extract_allowances_or_charges(parent: Element, *, charges: bool) -> list[Record]:
    return [
        drop_absent_values({
            "amount": find_text(item, "ActualAmount"),
            "base_amount": find_text(item, "BasisAmount"),
            "percentage": find_text(item, "CalculationPercent"),
            "reason": find_text(item, "Reason"),
            "reason_code": find_text(item, "ReasonCode"),
            "tax_category": find_text(item, "CategoryTradeTax/CategoryCode"),
            "tax_rate": find_text(item, "CategoryTradeTax/RateApplicablePercent"),
        })
        for item in parent.iterfind("SpecifiedTradeAllowanceCharge")
        for indicator in [find_text(item, "ChargeIndicator/Indicator") or find_text(item, "ChargeIndicator")]
        if (indicator in {"true", "1"}) == charges
    ]  # fmt: skip


def _extract_logistics_charge(charge: Element) -> Record:
    return drop_absent_values({
        "amount": find_text(charge, "AppliedAmount"),
        "reason": find_text(charge, "Description"),
        "tax_category": find_text(charge, "AppliedTradeTax/CategoryCode"),
        "tax_rate": find_text(charge, "AppliedTradeTax/RateApplicablePercent"),
    })  # fmt: skip


def _extract_party(party: Element | None) -> Record:
    if party is None:
        return {}
    address = party.find("PostalTradeAddress")
    return drop_absent_values({
        "name": find_text(party, "Name"),
        "trading_name": find_text(party, "SpecifiedLegalOrganization/TradingBusinessName"),
        "vat_id": _find_tax_registration_id(party, "VA"),
        "tax_number": _find_tax_registration_id(party, "FC"),
        "legal_id": find_text(party, "SpecifiedLegalOrganization/ID"),
        "country": find_text(address, "CountryID"),
        "city": find_text(address, "CityName"),
        "postcode": find_text(address, "PostcodeCode"),
        "line1": find_text(address, "LineOne"),
        "email": find_text(party, "DefinedTradeContact/EmailURIUniversalCommunication/URIID"),
        "endpoint": find_text(party, "URIUniversalCommunication/URIID"),
    })  # fmt: skip


def _find_tax_registration_id(party: Element, scheme: str) -> str | None:
    return find_text(party, f"SpecifiedTaxRegistration/ID[@schemeID='{scheme}']")


def _is_billed_line(line: Element) -> bool:
    """Return whether the line states a product, a quantity or an amount; ZUGFeRD 1 also has lines of text only."""
    return any(line.find(path) is not None for path in _LINE_CONTENT_PATHS)


def _extract_line(line: Element) -> Record:
    document = line.find("AssociatedDocumentLineDocument")
    agreement = line.find("SpecifiedLineTradeAgreement")
    return drop_absent_values({
        "line_id": find_text(document, "LineID"),
        "parent_line_id": find_text(document, "ParentLineID"),
        "line_kind": (find_text(document, "LineStatusReasonCode") or "").lower() or None,
        "description": find_text(line, "SpecifiedTradeProduct/Name"),
        "details": find_text(line, "SpecifiedTradeProduct/Description"),
        "note": find_text(document, "IncludedNote/Content"),
        **_extract_quantity(line),
        "unit_price": find_text(agreement, "NetPriceProductTradePrice/ChargeAmount"),
        "gross_price": find_text(agreement, "GrossPriceProductTradePrice/ChargeAmount"),
        "price_base_quantity": find_text(agreement, "NetPriceProductTradePrice/BasisQuantity"),
        "order_line": find_text(agreement, "BuyerOrderReferencedDocument/LineID"),
        **_extract_line_settlement_fields(line.find("SpecifiedLineTradeSettlement")),
    })  # fmt: skip


def _extract_quantity(line: Element) -> Record:
    quantity = line.find("SpecifiedLineTradeDelivery/BilledQuantity")
    if quantity is None:
        return {}
    return {"quantity": find_text(quantity), "unit": (quantity.get("unitCode") or "").strip() or None}


def _extract_line_settlement_fields(settlement: Element | None) -> Record:
    if settlement is None:
        return {}
    summation = settlement.find("SpecifiedTradeSettlementLineMonetarySummation")
    if summation is None:
        summation = settlement.find("SpecifiedTradeSettlementMonetarySummation")
    return {
        "net_amount": find_text(summation, "LineTotalAmount"),
        "allowance_total": find_text(summation, "AllowanceTotalAmount"),
        "charge_total": find_text(summation, "ChargeTotalAmount"),
        "tax_category": find_text(settlement, "ApplicableTradeTax/CategoryCode"),
        "tax_rate": find_text(settlement, "ApplicableTradeTax/RateApplicablePercent"),
        "allowances": _extract_allowances_or_charges(settlement, charges=False),
        "charges": _extract_allowances_or_charges(settlement, charges=True),
    }


def _find_date(element: Element | None, path: str) -> str | None:
    dates = (xml_tree.find_date(element, path + suffix) for suffix in ("/DateTimeString", "/DateTime", ""))
    return next((date for date in dates if date), None)
