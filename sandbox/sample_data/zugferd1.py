"""ZUGFeRD 1.0, the format before EN 16931: other namespaces and names, and a currency on every amount."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from lxml import etree

from sandbox.sample_data.documents import Company, InvoiceLine, SampleInvoice, TaxBreakdown
from sandbox.sample_data.xml_builder import XmlBuilder, serialise_xml

Element = etree._Element

make = XmlBuilder(
    {
        "rsm": "urn:ferd:CrossIndustryDocument:invoice:1p0",
        "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:12",
        "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:15",
    }
)


def render_zugferd1_invoice(invoice: SampleInvoice, profile: str = "comfort") -> bytes:
    """Return the invoice as ZUGFeRD 1.0 XML; ``profile`` is basic, comfort or extended."""
    guideline = make("ram:ID", f"urn:ferd:CrossIndustryDocument:invoice:1p0:{profile}")
    root = make(
        "rsm:CrossIndustryDocument",
        make(
            "rsm:SpecifiedExchangedDocumentContext",
            make("ram:GuidelineSpecifiedDocumentContextParameter", guideline),
        ),
        make(
            "rsm:HeaderExchangedDocument",
            make("ram:ID", invoice.number),
            make("ram:Name", "RECHNUNG"),
            make("ram:TypeCode", "380"),
            make("ram:IssueDateTime", _build_date(invoice.issue_date)),
        ),
        make(
            "rsm:SpecifiedSupplyChainTradeTransaction",
            _build_seller_and_buyer_agreement(invoice),
            _build_delivery(invoice),
            _build_settlement(invoice),
            *(_build_line(invoice, number, line) for number, line in enumerate(invoice.lines, 1)),
        ),
    )
    return serialise_xml(root)


def _build_date(day: dt.date) -> Element:
    return make("udt:DateTimeString", day.strftime("%Y%m%d"), format="102")


def _build_amount(element_name: str, amount: Decimal, invoice: SampleInvoice) -> Element:
    return make(element_name, str(amount), currencyID=invoice.currency)


def _build_seller_and_buyer_agreement(invoice: SampleInvoice) -> Element:
    return make(
        "ram:ApplicableSupplyChainTradeAgreement",
        _build_party("ram:SellerTradeParty", invoice.seller),
        _build_party("ram:BuyerTradeParty", invoice.buyer),
    )


def _build_party(element_name: str, company: Company) -> Element:
    return make(
        element_name,
        make("ram:Name", company.name),
        make(
            "ram:PostalTradeAddress",
            make("ram:PostcodeCode", company.postcode),
            make("ram:LineOne", company.street),
            make("ram:CityName", company.city),
            make("ram:CountryID", company.country),
        ),
        make("ram:SpecifiedTaxRegistration", make("ram:ID", company.vat_id, schemeID="VA")),
    )


def _build_delivery(invoice: SampleInvoice) -> Element:
    day = invoice.delivery_date or invoice.issue_date
    event = make("ram:ActualDeliverySupplyChainEvent", make("ram:OccurrenceDateTime", _build_date(day)))
    return make("ram:ApplicableSupplyChainTradeDelivery", event)


def _build_settlement(invoice: SampleInvoice) -> Element:
    account = make("ram:PayeePartyCreditorFinancialAccount", make("ram:IBANID", invoice.seller.iban))
    return make(
        "ram:ApplicableSupplyChainTradeSettlement",
        make("ram:PaymentReference", invoice.number),
        make("ram:InvoiceCurrencyCode", invoice.currency),
        make("ram:SpecifiedTradeSettlementPaymentMeans", make("ram:TypeCode", "31"), account),
        *(_build_tax_breakdown(invoice, tax_breakdown) for tax_breakdown in invoice.tax_breakdowns),
        make(
            "ram:SpecifiedTradePaymentTerms",
            make("ram:Description", invoice.terms or "Zahlbar ohne Abzug"),
            make("ram:DueDateDateTime", _build_date(invoice.due_date)) if invoice.due_date else None,
        ),
        _build_totals(invoice),
    )


def _build_tax_breakdown(invoice: SampleInvoice, tax_breakdown: TaxBreakdown) -> Element:
    return make(
        "ram:ApplicableTradeTax",
        _build_amount("ram:CalculatedAmount", tax_breakdown.tax, invoice),
        make("ram:TypeCode", "VAT"),
        make.build_optional("ram:ExemptionReason", tax_breakdown.reason),
        _build_amount("ram:BasisAmount", tax_breakdown.taxable, invoice),
        make("ram:CategoryCode", tax_breakdown.category),
        make("ram:ApplicablePercent", str(tax_breakdown.rate)),
    )


def _build_totals(invoice: SampleInvoice) -> Element:
    return make(
        "ram:SpecifiedTradeSettlementMonetarySummation",
        _build_amount("ram:LineTotalAmount", invoice.line_sum, invoice),
        _build_amount("ram:ChargeTotalAmount", invoice.charge_sum, invoice),
        _build_amount("ram:AllowanceTotalAmount", invoice.allowance_sum, invoice),
        _build_amount("ram:TaxBasisTotalAmount", invoice.net, invoice),
        _build_amount("ram:TaxTotalAmount", invoice.tax, invoice),
        _build_amount("ram:GrandTotalAmount", invoice.gross, invoice),
        _build_amount("ram:DuePayableAmount", invoice.payable, invoice),
    )


def _build_line(invoice: SampleInvoice, number: int, line: InvoiceLine) -> Element:
    tax = make(
        "ram:ApplicableTradeTax",
        make("ram:TypeCode", "VAT"),
        make("ram:CategoryCode", line.category),
        make("ram:ApplicablePercent", str(line.rate)),
    )
    price = make("ram:NetPriceProductTradePrice", _build_amount("ram:ChargeAmount", line.price, invoice))
    return make(
        "ram:IncludedSupplyChainTradeLineItem",
        make("ram:AssociatedDocumentLineDocument", make("ram:LineID", str(number))),
        make("ram:SpecifiedSupplyChainTradeAgreement", price),
        make(
            "ram:SpecifiedSupplyChainTradeDelivery",
            make("ram:BilledQuantity", str(line.quantity), unitCode=line.unit),
        ),
        make(
            "ram:SpecifiedSupplyChainTradeSettlement",
            tax,
            make(
                "ram:SpecifiedTradeSettlementMonetarySummation",
                _build_amount("ram:LineTotalAmount", invoice.compute_line_net(line), invoice),
            ),
        ),
        make("ram:SpecifiedTradeProduct", make("ram:Name", line.name)),
    )
