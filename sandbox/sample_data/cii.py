"""Cross Industry Invoice (CII D16B), in the profiles of Factur-X, ZUGFeRD 2 and XRechnung."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from lxml import etree

from sandbox.sample_data.documents import Adjustment, Company, InvoiceLine, SampleInvoice, TaxBreakdown
from sandbox.sample_data.xml_builder import XmlBuilder, serialise_xml

Element = etree._Element

PROFILES = {
    "MINIMUM": "urn:factur-x.eu:1p0:minimum",
    "BASIC WL": "urn:factur-x.eu:1p0:basicwl",
    "BASIC": "urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic",
    "ZUGFERD 2.0 BASIC": "urn:cen.eu:en16931:2017#compliant#urn:zugferd.de:2p0:basic",
    "EN 16931": "urn:cen.eu:en16931:2017",
    "EXTENDED": "urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended",
    "XRECHNUNG": "urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0",
}
"""The guideline identifier of each profile (BT-24)."""

TYPE_CODES = {"invoice": "380", "credit_note": "381"}

make = XmlBuilder(
    {
        "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
        "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
        "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
        "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    }
)


def render_cii_invoice(invoice: SampleInvoice, profile: str = "EN 16931", *, pretty: bool = True) -> bytes:
    """Return the invoice as CII XML; ``profile`` is a key of PROFILES and decides which elements it has."""
    lines = (
        []
        if profile in {"MINIMUM", "BASIC WL"}
        else [_build_line(invoice, number, line) for number, line in enumerate(invoice.lines, 1)]
    )
    root = make(
        "rsm:CrossIndustryInvoice",
        _build_context(profile),
        _build_document_header(invoice, profile),
        make(
            "rsm:SupplyChainTradeTransaction",
            *lines,
            _build_trade_agreement(invoice, profile),
            _build_delivery(invoice, profile),
            _build_settlement(invoice, profile),
        ),
    )
    return serialise_xml(root, pretty=pretty)


def _build_context(profile: str) -> Element:
    process = make(
        "ram:BusinessProcessSpecifiedDocumentContextParameter",
        make("ram:ID", "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"),
    )
    return make(
        "rsm:ExchangedDocumentContext",
        process if profile == "XRECHNUNG" else None,
        make("ram:GuidelineSpecifiedDocumentContextParameter", make("ram:ID", PROFILES[profile])),
    )


def _build_document_header(invoice: SampleInvoice, profile: str) -> Element:
    note = (
        make("ram:IncludedNote", make("ram:Content", invoice.note)) if invoice.note and profile != "MINIMUM" else None
    )
    return make(
        "rsm:ExchangedDocument",
        make("ram:ID", invoice.number),
        make("ram:TypeCode", TYPE_CODES[invoice.kind]),
        make("ram:IssueDateTime", _build_date(invoice.issue_date)),
        note,
    )


def _build_date(day: dt.date, element_name: str = "udt:DateTimeString") -> Element:
    return make(element_name, day.strftime("%Y%m%d"), format="102")


def _build_line(invoice: SampleInvoice, number: int, line: InvoiceLine) -> Element:
    price = make(
        "ram:NetPriceProductTradePrice",
        make("ram:ChargeAmount", str(line.price)),
        make("ram:BasisQuantity", str(line.price_base_quantity), unitCode=line.unit)
        if line.price_base_quantity != 1
        else None,
    )
    return make(
        "ram:IncludedSupplyChainTradeLineItem",
        make("ram:AssociatedDocumentLineDocument", make("ram:LineID", str(number))),
        make("ram:SpecifiedTradeProduct", make("ram:Name", line.name)),
        make("ram:SpecifiedLineTradeAgreement", price),
        make(
            "ram:SpecifiedLineTradeDelivery",
            make("ram:BilledQuantity", str(line.quantity), unitCode=line.unit),
        ),
        make(
            "ram:SpecifiedLineTradeSettlement",
            _build_tax_category("ram:ApplicableTradeTax", line.category, line.rate),
            *(_build_allowance_charge(adjustment) for adjustment in line.adjustments),
            make(
                "ram:SpecifiedTradeSettlementLineMonetarySummation",
                make("ram:LineTotalAmount", str(invoice.compute_line_net(line))),
            ),
        ),
    )


def _build_tax_category(element_name: str, category: str, rate: Decimal) -> Element:
    percent = None if category == "O" else make("ram:RateApplicablePercent", str(rate))
    return make(element_name, make("ram:TypeCode", "VAT"), make("ram:CategoryCode", category), percent)


def _build_allowance_charge(adjustment: Adjustment, *, is_document_level: bool = False) -> Element:
    percent, basis = adjustment.percent, adjustment.basis
    tax = (
        _build_tax_category("ram:CategoryTradeTax", adjustment.category, adjustment.rate) if is_document_level else None
    )
    return make(
        "ram:SpecifiedTradeAllowanceCharge",
        make("ram:ChargeIndicator", make("udt:Indicator", "true" if adjustment.is_charge else "false")),
        make("ram:CalculationPercent", str(percent)) if percent is not None else None,
        make("ram:BasisAmount", str(basis)) if basis is not None else None,
        make("ram:ActualAmount", str(adjustment.amount)),
        make("ram:Reason", adjustment.reason),
        tax,
    )


def _build_trade_agreement(invoice: SampleInvoice, profile: str) -> Element:
    order_reference = (
        make("ram:BuyerOrderReferencedDocument", make("ram:IssuerAssignedID", invoice.order_number))
        if invoice.order_number
        else None
    )
    return make(
        "ram:ApplicableHeaderTradeAgreement",
        make("ram:BuyerReference", "04011000-12345-03") if profile == "XRECHNUNG" else None,
        _build_party("ram:SellerTradeParty", invoice.seller, profile),
        _build_party("ram:BuyerTradeParty", invoice.buyer, profile),
        order_reference,
    )


def _build_party(element_name: str, company: Company, profile: str) -> Element:
    is_minimum = profile == "MINIMUM"
    is_seller = element_name == "ram:SellerTradeParty"
    email = make("ram:URIUniversalCommunication", make("ram:URIID", company.email, schemeID="EM"))
    tax_registration = make("ram:SpecifiedTaxRegistration", make("ram:ID", company.vat_id, schemeID="VA"))
    return make(
        element_name,
        make("ram:Name", company.name),
        _build_contact(company) if is_seller and profile in {"EN 16931", "EXTENDED", "XRECHNUNG"} else None,
        None if is_minimum and not is_seller else _build_address(company, is_minimum),
        None if is_minimum else email,
        None if is_minimum and not is_seller else tax_registration,
    )


def _build_contact(company: Company) -> Element:
    return make(
        "ram:DefinedTradeContact",
        make("ram:PersonName", company.contact),
        make("ram:TelephoneUniversalCommunication", make("ram:CompleteNumber", company.phone)),
        make("ram:EmailURIUniversalCommunication", make("ram:URIID", company.email)),
    )


def _build_address(company: Company, is_minimum: bool) -> Element:
    if is_minimum:
        return make("ram:PostalTradeAddress", make("ram:CountryID", company.country))
    return make(
        "ram:PostalTradeAddress",
        make("ram:PostcodeCode", company.postcode),
        make("ram:LineOne", company.street),
        make("ram:CityName", company.city),
        make("ram:CountryID", company.country),
    )


def _build_delivery(invoice: SampleInvoice, profile: str) -> Element:
    if invoice.delivery_date is None or profile == "MINIMUM":
        return make("ram:ApplicableHeaderTradeDelivery")
    return make(
        "ram:ApplicableHeaderTradeDelivery",
        make("ram:ShipToTradeParty", _build_address(invoice.buyer, is_minimum=False)),
        make("ram:ActualDeliverySupplyChainEvent", make("ram:OccurrenceDateTime", _build_date(invoice.delivery_date))),
    )


def _build_settlement(invoice: SampleInvoice, profile: str) -> Element:
    currency = make("ram:InvoiceCurrencyCode", invoice.currency)
    if profile == "MINIMUM":
        return make("ram:ApplicableHeaderTradeSettlement", currency, _build_totals(invoice, profile))
    return make(
        "ram:ApplicableHeaderTradeSettlement",
        make("ram:PaymentReference", invoice.number),
        currency,
        _build_payment_means(invoice.seller),
        *(_build_tax_breakdown(tax_breakdown) for tax_breakdown in invoice.tax_breakdowns),
        *(_build_allowance_charge(adjustment, is_document_level=True) for adjustment in invoice.adjustments),
        _build_payment_terms(invoice),
        _build_totals(invoice, profile),
        _build_corrected_reference(invoice),
    )


def _build_payment_means(seller: Company) -> Element | None:
    if not seller.iban:
        return None
    account = make("ram:PayeePartyCreditorFinancialAccount", make("ram:IBANID", seller.iban))
    return make("ram:SpecifiedTradeSettlementPaymentMeans", make("ram:TypeCode", "58"), account)


def _build_tax_breakdown(tax_breakdown: TaxBreakdown) -> Element:
    return make(
        "ram:ApplicableTradeTax",
        make("ram:CalculatedAmount", str(tax_breakdown.tax)),
        make("ram:TypeCode", "VAT"),
        make.build_optional("ram:ExemptionReason", tax_breakdown.reason),
        make("ram:BasisAmount", str(tax_breakdown.taxable)),
        make("ram:CategoryCode", tax_breakdown.category),
        None if tax_breakdown.category == "O" else make("ram:RateApplicablePercent", str(tax_breakdown.rate)),
    )


def _build_payment_terms(invoice: SampleInvoice) -> Element | None:
    if not (invoice.due_date or invoice.terms):
        return None
    return make(
        "ram:SpecifiedTradePaymentTerms",
        make.build_optional("ram:Description", invoice.terms),
        make("ram:DueDateDateTime", _build_date(invoice.due_date)) if invoice.due_date else None,
    )


def _build_totals(invoice: SampleInvoice, profile: str) -> Element:
    is_minimum = profile == "MINIMUM"
    return make(
        "ram:SpecifiedTradeSettlementHeaderMonetarySummation",
        None if is_minimum else make("ram:LineTotalAmount", str(invoice.line_sum)),
        make("ram:ChargeTotalAmount", str(invoice.charge_sum)) if invoice.charge_sum and not is_minimum else None,
        make("ram:AllowanceTotalAmount", str(invoice.allowance_sum))
        if invoice.allowance_sum and not is_minimum
        else None,
        make("ram:TaxBasisTotalAmount", str(invoice.net)),
        make("ram:TaxTotalAmount", str(invoice.tax), currencyID=invoice.currency),
        make("ram:GrandTotalAmount", str(invoice.gross)),
        make("ram:TotalPrepaidAmount", str(invoice.round_amount(invoice.prepaid_amount)))
        if invoice.prepaid_amount and not is_minimum
        else None,
        make("ram:DuePayableAmount", str(invoice.payable)),
    )


def _build_corrected_reference(invoice: SampleInvoice) -> Element | None:
    if not invoice.corrected_invoice_number:
        return None
    return make("ram:InvoiceReferencedDocument", make("ram:IssuerAssignedID", invoice.corrected_invoice_number))
