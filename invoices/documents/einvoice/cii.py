"""Cross Industry Invoice (ZUGFeRD 1 and 2, Factur-X, XRechnung) as a payload, in the terms of EN 16931-1.

Paths follow the syntax binding CEN/TS 16931-3-3; ZUGFeRD 1.0 used other names for the same things, which are renamed
before reading.
"""

from __future__ import annotations

from invoices.documents.einvoice import tree
from invoices.documents.einvoice.tree import Element, drop_absent, text
from invoices.documents.einvoice.values import Record, kind_of, only_one

ZUGFERD1_NAMES = {
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

_TOTALS = {
    "line_total": "LineTotalAmount",  # BT-106
    "allowance_total": "AllowanceTotalAmount",  # BT-107
    "charge_total": "ChargeTotalAmount",  # BT-108
    "tax_exclusive": "TaxBasisTotalAmount",  # BT-109
    "tax_inclusive": "GrandTotalAmount",  # BT-112
    "prepaid": "TotalPrepaidAmount",  # BT-113
    "rounding": "RoundingAmount",  # BT-114
    "payable": "DuePayableAmount",  # BT-115
}

_LINE_SUBSTANCE = (
    "SpecifiedTradeProduct",
    "SpecifiedLineTradeDelivery",
    "SpecifiedLineTradeSettlement//LineTotalAmount",
)


def specification(root: Element) -> str | None:
    """Return the specification identifier (BT-24)."""
    return text(root, "ExchangedDocumentContext/GuidelineSpecifiedDocumentContextParameter/ID")


def invoices(root: Element) -> list[Record]:
    """Return the one invoice of a tree without namespaces; see the package for the keys."""
    document = root.find("ExchangedDocument")
    trade = root.find("SupplyChainTradeTransaction")
    if document is None or trade is None:
        return [{}]
    settlement = trade.find("ApplicableHeaderTradeSettlement")
    items = trade.findall("IncludedSupplyChainTradeLineItem")
    currency = text(settlement, "InvoiceCurrencyCode") or tree.currency_of_amounts(settlement)
    return [
        drop_absent({
            **_head(document, trade),
            "currency": currency,
            "seller": _party(trade.find("ApplicableHeaderTradeAgreement/SellerTradeParty")),
            "buyer": _party(trade.find("ApplicableHeaderTradeAgreement/BuyerTradeParty")),
            **_settlement(settlement, currency),
            "line_texts": [_line_text(item) for item in items if not _is_invoiced(item)],
            "lines": [_line(item) for item in items if _is_invoiced(item)],
        })
    ]  # fmt: skip


def _head(document: Element, trade: Element) -> Record:
    agreement = "ApplicableHeaderTradeAgreement/"
    type_code = text(document, "TypeCode")
    return {
        "invoice_number": text(document, "ID"),
        "issue_date": _date(document, "IssueDateTime"),
        "type_code": type_code,
        "kind": kind_of(type_code),
        "note": "\n".join(tree.texts(document, "IncludedNote/Content")) or None,
        "buyer_reference": text(trade, agreement + "BuyerReference"),
        "order_number": _reference(trade.find(agreement + "BuyerOrderReferencedDocument")),
        "delivery_date": _date(
            trade.find("ApplicableHeaderTradeDelivery/ActualDeliverySupplyChainEvent"), "OccurrenceDateTime"
        ),
    }


def _settlement(settlement: Element | None, currency: str | None) -> Record:
    if settlement is None:
        return {}
    terms = [_date(term, "DueDateDateTime") for term in settlement.iterfind("SpecifiedTradePaymentTerms")]
    period = settlement.find("BillingSpecifiedPeriod")
    return {
        "tax_currency": text(settlement, "TaxCurrencyCode"),
        "due_date": only_one([due for due in terms if due]),
        "payment_terms": "\n".join(tree.texts(settlement, "SpecifiedTradePaymentTerms/Description")) or None,
        "period_start": _date(period, "StartDateTime"),
        "period_end": _date(period, "EndDateTime"),
        "payee_name": text(settlement, "PayeeTradeParty/Name"),
        "iban": text(
            settlement, "SpecifiedTradeSettlementPaymentMeans/PayeePartyCreditorFinancialAccount/IBANID"
        ),
        "totals": _totals(settlement, currency),
        "taxes": [_tax(tax) for tax in settlement.iterfind("ApplicableTradeTax")],
        "allowances": _allowances(settlement, charges=False),
        "charges": _allowances(settlement, charges=True)
        + [_logistics(charge) for charge in settlement.iterfind("SpecifiedLogisticsServiceCharge")],
    }


def _totals(settlement: Element, currency: str | None) -> Record:
    sums = settlement.find("SpecifiedTradeSettlementHeaderMonetarySummation")
    if sums is None:
        sums = settlement.find("SpecifiedTradeSettlementMonetarySummation")
    if sums is None:
        return {}
    stated = {key: text(sums, name) for key, name in _TOTALS.items()}
    return drop_absent({**stated, **tree.tax_totals(sums.findall("TaxTotalAmount"), currency)})


def _tax(tax: Element) -> Record:
    return drop_absent({
        "category": text(tax, "CategoryCode"),
        "rate": text(tax, "RateApplicablePercent"),
        "taxable_amount": text(tax, "BasisAmount"),
        "tax_amount": text(tax, "CalculatedAmount"),
        "exemption_reason": text(tax, "ExemptionReason"),
        "exemption_code": text(tax, "ExemptionReasonCode"),
    })  # fmt: skip


def _allowances(parent: Element, *, charges: bool) -> list[Record]:
    return [
        drop_absent({
            "amount": text(item, "ActualAmount"),
            "base_amount": text(item, "BasisAmount"),
            "percentage": text(item, "CalculationPercent"),
            "reason": text(item, "Reason"),
            "reason_code": text(item, "ReasonCode"),
            "tax_category": text(item, "CategoryTradeTax/CategoryCode"),
            "tax_rate": text(item, "CategoryTradeTax/RateApplicablePercent"),
        })
        for item in parent.iterfind("SpecifiedTradeAllowanceCharge")
        if _is_charge(item) == charges
    ]  # fmt: skip


def _logistics(charge: Element) -> Record:
    return drop_absent({
        "amount": text(charge, "AppliedAmount"),
        "reason": text(charge, "Description"),
        "tax_category": text(charge, "AppliedTradeTax/CategoryCode"),
        "tax_rate": text(charge, "AppliedTradeTax/RateApplicablePercent"),
    })  # fmt: skip


def _is_charge(item: Element) -> bool:
    return (text(item, "ChargeIndicator/Indicator") or text(item, "ChargeIndicator")) in {"true", "1"}


def _party(party: Element | None) -> Record:
    if party is None:
        return {}
    address = party.find("PostalTradeAddress")
    return drop_absent({
        "name": text(party, "Name"),
        "trading_name": text(party, "SpecifiedLegalOrganization/TradingBusinessName"),
        "vat_id": _registration(party, "VA"),
        "tax_number": _registration(party, "FC"),
        "legal_id": text(party, "SpecifiedLegalOrganization/ID"),
        "country": text(address, "CountryID"),
        "city": text(address, "CityName"),
        "postcode": text(address, "PostcodeCode"),
        "line1": text(address, "LineOne"),
        "email": text(party, "DefinedTradeContact/EmailURIUniversalCommunication/URIID"),
        "endpoint": text(party, "URIUniversalCommunication/URIID"),
    })  # fmt: skip


def _registration(party: Element, scheme: str) -> str | None:
    return text(party, f"SpecifiedTaxRegistration/ID[@schemeID='{scheme}']")


def _is_invoiced(line: Element) -> bool:
    """Return whether the item states a product, a quantity or an amount: ZUGFeRD 1 also has mere texts."""
    return any(line.find(path) is not None for path in _LINE_SUBSTANCE)


def _line_text(line: Element) -> str:
    return "\n".join(tree.texts(line, "AssociatedDocumentLineDocument/IncludedNote/Content"))


def _line(line: Element) -> Record:
    document = line.find("AssociatedDocumentLineDocument")
    agreement = line.find("SpecifiedLineTradeAgreement")
    return drop_absent({
        "line_id": text(document, "LineID"),
        "parent_line_id": text(document, "ParentLineID"),
        "line_kind": (text(document, "LineStatusReasonCode") or "").lower() or None,
        "description": text(line, "SpecifiedTradeProduct/Name"),
        "details": text(line, "SpecifiedTradeProduct/Description"),
        "note": text(document, "IncludedNote/Content"),
        **_quantity(line),
        "unit_price": text(agreement, "NetPriceProductTradePrice/ChargeAmount"),
        "gross_price": text(agreement, "GrossPriceProductTradePrice/ChargeAmount"),
        "price_base_quantity": text(agreement, "NetPriceProductTradePrice/BasisQuantity"),
        "order_line": text(agreement, "BuyerOrderReferencedDocument/LineID"),
        **_line_settlement(line.find("SpecifiedLineTradeSettlement")),
    })  # fmt: skip


def _quantity(line: Element) -> Record:
    billed = line.find("SpecifiedLineTradeDelivery/BilledQuantity")
    return {} if billed is None else {"quantity": text(billed), "unit": (billed.get("unitCode") or "").strip() or None}


def _line_settlement(settlement: Element | None) -> Record:
    if settlement is None:
        return {}
    sums = settlement.find("SpecifiedTradeSettlementLineMonetarySummation")
    if sums is None:
        sums = settlement.find("SpecifiedTradeSettlementMonetarySummation")
    return {
        "net_amount": text(sums, "LineTotalAmount"),
        "allowance_total": text(sums, "AllowanceTotalAmount"),
        "charge_total": text(sums, "ChargeTotalAmount"),
        "tax_category": text(settlement, "ApplicableTradeTax/CategoryCode"),
        "tax_rate": text(settlement, "ApplicableTradeTax/RateApplicablePercent"),
        "allowances": _allowances(settlement, charges=False),
        "charges": _allowances(settlement, charges=True),
    }


def _reference(document: Element | None) -> str | None:
    return text(document, "IssuerAssignedID") or text(document, "ID")


def _date(element: Element | None, path: str) -> str | None:
    return next((day for end in ("/DateTimeString", "/DateTime", "") if (day := tree.date(element, path + end))), None)
