"""Cross Industry Invoice (CII D16B), in the profiles of Factur-X, ZUGFeRD 2 and XRechnung."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from lxml import etree

from sandbox.world.papers import Adjustment, Company, Line, Paper, TaxSum
from sandbox.world.tree import Tree, serialised

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

make = Tree(
    {
        "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
        "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
        "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
        "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    }
)


def render(paper: Paper, profile: str = "EN 16931", *, pretty: bool = True) -> bytes:
    """Return the paper as CII XML; ``profile`` is a key of PROFILES and decides how much of it is told."""
    lines = [] if profile in {"MINIMUM", "BASIC WL"} else [_line(paper, n, x) for n, x in enumerate(paper.lines, 1)]
    root = make(
        "rsm:CrossIndustryInvoice",
        _context(profile),
        _document(paper, profile),
        make(
            "rsm:SupplyChainTradeTransaction",
            *lines,
            _agreement(paper, profile),
            _delivery(paper, profile),
            _settlement(paper, profile),
        ),
    )
    return serialised(root, pretty=pretty)


def _context(profile: str) -> Element:
    process = make(
        "ram:BusinessProcessSpecifiedDocumentContextParameter",
        make("ram:ID", "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"),
    )
    return make(
        "rsm:ExchangedDocumentContext",
        process if profile == "XRECHNUNG" else None,
        make("ram:GuidelineSpecifiedDocumentContextParameter", make("ram:ID", PROFILES[profile])),
    )


def _document(paper: Paper, profile: str) -> Element:
    note = make("ram:IncludedNote", make("ram:Content", paper.note)) if paper.note and profile != "MINIMUM" else None
    return make(
        "rsm:ExchangedDocument",
        make("ram:ID", paper.number),
        make("ram:TypeCode", TYPE_CODES[paper.kind]),
        make("ram:IssueDateTime", _date(paper.issued)),
        note,
    )


def _date(day: dt.date, name: str = "udt:DateTimeString") -> Element:
    return make(name, day.strftime("%Y%m%d"), format="102")


def _line(paper: Paper, number: int, line: Line) -> Element:
    price = make(
        "ram:NetPriceProductTradePrice",
        make("ram:ChargeAmount", str(line.price)),
        make("ram:BasisQuantity", str(line.per), unitCode=line.unit) if line.per != 1 else None,
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
            _category("ram:ApplicableTradeTax", line.category, line.rate),
            *(_adjustment(adjustment) for adjustment in line.adjustments),
            make(
                "ram:SpecifiedTradeSettlementLineMonetarySummation",
                make("ram:LineTotalAmount", str(paper.net_of(line))),
            ),
        ),
    )


def _category(name: str, category: str, rate: Decimal) -> Element:
    percent = None if category == "O" else make("ram:RateApplicablePercent", str(rate))
    return make(name, make("ram:TypeCode", "VAT"), make("ram:CategoryCode", category), percent)


def _adjustment(adjustment: Adjustment, *, of_document: bool = False) -> Element:
    percent, basis = adjustment.percent, adjustment.basis
    tax = _category("ram:CategoryTradeTax", adjustment.category, adjustment.rate) if of_document else None
    return make(
        "ram:SpecifiedTradeAllowanceCharge",
        make("ram:ChargeIndicator", make("udt:Indicator", "true" if adjustment.is_charge else "false")),
        make("ram:CalculationPercent", str(percent)) if percent is not None else None,
        make("ram:BasisAmount", str(basis)) if basis is not None else None,
        make("ram:ActualAmount", str(adjustment.amount)),
        make("ram:Reason", adjustment.reason),
        tax,
    )


def _agreement(paper: Paper, profile: str) -> Element:
    order = (
        make("ram:BuyerOrderReferencedDocument", make("ram:IssuerAssignedID", paper.order_number))
        if paper.order_number
        else None
    )
    return make(
        "ram:ApplicableHeaderTradeAgreement",
        make("ram:BuyerReference", "04011000-12345-03") if profile == "XRECHNUNG" else None,
        _party("ram:SellerTradeParty", paper.seller, profile),
        _party("ram:BuyerTradeParty", paper.buyer, profile),
        order,
    )


def _party(name: str, company: Company, profile: str) -> Element:
    brief = profile == "MINIMUM"
    seller = name == "ram:SellerTradeParty"
    email = make("ram:URIUniversalCommunication", make("ram:URIID", company.email, schemeID="EM"))
    registration = make("ram:SpecifiedTaxRegistration", make("ram:ID", company.vat_id, schemeID="VA"))
    return make(
        name,
        make("ram:Name", company.name),
        _contact(company) if seller and profile in {"EN 16931", "EXTENDED", "XRECHNUNG"} else None,
        None if brief and not seller else _address(company, brief),
        None if brief else email,
        None if brief and not seller else registration,
    )


def _contact(company: Company) -> Element:
    return make(
        "ram:DefinedTradeContact",
        make("ram:PersonName", company.contact),
        make("ram:TelephoneUniversalCommunication", make("ram:CompleteNumber", company.phone)),
        make("ram:EmailURIUniversalCommunication", make("ram:URIID", company.email)),
    )


def _address(company: Company, brief: bool) -> Element:
    if brief:
        return make("ram:PostalTradeAddress", make("ram:CountryID", company.country))
    return make(
        "ram:PostalTradeAddress",
        make("ram:PostcodeCode", company.postcode),
        make("ram:LineOne", company.street),
        make("ram:CityName", company.city),
        make("ram:CountryID", company.country),
    )


def _delivery(paper: Paper, profile: str) -> Element:
    if paper.delivered is None or profile == "MINIMUM":
        return make("ram:ApplicableHeaderTradeDelivery")
    return make(
        "ram:ApplicableHeaderTradeDelivery",
        make("ram:ShipToTradeParty", _address(paper.buyer, brief=False)),
        make("ram:ActualDeliverySupplyChainEvent", make("ram:OccurrenceDateTime", _date(paper.delivered))),
    )


def _settlement(paper: Paper, profile: str) -> Element:
    currency = make("ram:InvoiceCurrencyCode", paper.currency)
    if profile == "MINIMUM":
        return make("ram:ApplicableHeaderTradeSettlement", currency, _sums(paper, profile))
    return make(
        "ram:ApplicableHeaderTradeSettlement",
        make("ram:PaymentReference", paper.number),
        currency,
        _means(paper.seller),
        *(_tax(part) for part in paper.taxes),
        *(_adjustment(adjustment, of_document=True) for adjustment in paper.adjustments),
        _terms(paper),
        _sums(paper, profile),
        _corrected(paper),
    )


def _means(seller: Company) -> Element | None:
    if not seller.iban:
        return None
    account = make("ram:PayeePartyCreditorFinancialAccount", make("ram:IBANID", seller.iban))
    return make("ram:SpecifiedTradeSettlementPaymentMeans", make("ram:TypeCode", "58"), account)


def _tax(part: TaxSum) -> Element:
    return make(
        "ram:ApplicableTradeTax",
        make("ram:CalculatedAmount", str(part.tax)),
        make("ram:TypeCode", "VAT"),
        make.optional("ram:ExemptionReason", part.reason),
        make("ram:BasisAmount", str(part.taxable)),
        make("ram:CategoryCode", part.category),
        None if part.category == "O" else make("ram:RateApplicablePercent", str(part.rate)),
    )


def _terms(paper: Paper) -> Element | None:
    if not (paper.due or paper.terms):
        return None
    return make(
        "ram:SpecifiedTradePaymentTerms",
        make.optional("ram:Description", paper.terms),
        make("ram:DueDateDateTime", _date(paper.due)) if paper.due else None,
    )


def _sums(paper: Paper, profile: str) -> Element:
    brief = profile == "MINIMUM"
    return make(
        "ram:SpecifiedTradeSettlementHeaderMonetarySummation",
        None if brief else make("ram:LineTotalAmount", str(paper.line_sum)),
        make("ram:ChargeTotalAmount", str(paper.charge_sum)) if paper.charge_sum and not brief else None,
        make("ram:AllowanceTotalAmount", str(paper.allowance_sum)) if paper.allowance_sum and not brief else None,
        make("ram:TaxBasisTotalAmount", str(paper.net)),
        make("ram:TaxTotalAmount", str(paper.tax), currencyID=paper.currency),
        make("ram:GrandTotalAmount", str(paper.gross)),
        make("ram:TotalPrepaidAmount", str(paper.rounded(paper.prepaid))) if paper.prepaid and not brief else None,
        make("ram:DuePayableAmount", str(paper.payable)),
    )


def _corrected(paper: Paper) -> Element | None:
    if not paper.corrects:
        return None
    return make("ram:InvoiceReferencedDocument", make("ram:IssuerAssignedID", paper.corrects))
