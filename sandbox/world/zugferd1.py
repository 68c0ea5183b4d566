"""ZUGFeRD 1.0, the vocabulary before EN 16931: other namespaces, other names, a currency on every amount."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from lxml import etree

from sandbox.world.papers import Company, Line, Paper, TaxSum
from sandbox.world.tree import Tree, serialised

Element = etree._Element

make = Tree(
    {
        "rsm": "urn:ferd:CrossIndustryDocument:invoice:1p0",
        "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:12",
        "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:15",
    }
)


def render(paper: Paper, profile: str = "comfort") -> bytes:
    """Return the paper as ZUGFeRD 1.0 XML; ``profile`` is basic, comfort or extended."""
    guideline = make("ram:ID", f"urn:ferd:CrossIndustryDocument:invoice:1p0:{profile}")
    root = make(
        "rsm:CrossIndustryDocument",
        make(
            "rsm:SpecifiedExchangedDocumentContext",
            make("ram:GuidelineSpecifiedDocumentContextParameter", guideline),
        ),
        make(
            "rsm:HeaderExchangedDocument",
            make("ram:ID", paper.number),
            make("ram:Name", "RECHNUNG"),
            make("ram:TypeCode", "380"),
            make("ram:IssueDateTime", _date(paper.issued)),
        ),
        make(
            "rsm:SpecifiedSupplyChainTradeTransaction",
            _agreement(paper),
            _delivery(paper),
            _settlement(paper),
            *(_line(paper, number, line) for number, line in enumerate(paper.lines, 1)),
        ),
    )
    return serialised(root)


def _date(day: dt.date) -> Element:
    return make("udt:DateTimeString", day.strftime("%Y%m%d"), format="102")


def _amount(name: str, amount: Decimal, paper: Paper) -> Element:
    return make(name, str(amount), currencyID=paper.currency)


def _agreement(paper: Paper) -> Element:
    return make(
        "ram:ApplicableSupplyChainTradeAgreement",
        _party("ram:SellerTradeParty", paper.seller),
        _party("ram:BuyerTradeParty", paper.buyer),
    )


def _party(name: str, company: Company) -> Element:
    return make(
        name,
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


def _delivery(paper: Paper) -> Element:
    day = paper.delivered or paper.issued
    event = make("ram:ActualDeliverySupplyChainEvent", make("ram:OccurrenceDateTime", _date(day)))
    return make("ram:ApplicableSupplyChainTradeDelivery", event)


def _settlement(paper: Paper) -> Element:
    account = make("ram:PayeePartyCreditorFinancialAccount", make("ram:IBANID", paper.seller.iban))
    return make(
        "ram:ApplicableSupplyChainTradeSettlement",
        make("ram:PaymentReference", paper.number),
        make("ram:InvoiceCurrencyCode", paper.currency),
        make("ram:SpecifiedTradeSettlementPaymentMeans", make("ram:TypeCode", "31"), account),
        *(_tax(paper, part) for part in paper.taxes),
        make(
            "ram:SpecifiedTradePaymentTerms",
            make("ram:Description", paper.terms or "Zahlbar ohne Abzug"),
            make("ram:DueDateDateTime", _date(paper.due)) if paper.due else None,
        ),
        _sums(paper),
    )


def _tax(paper: Paper, part: TaxSum) -> Element:
    return make(
        "ram:ApplicableTradeTax",
        _amount("ram:CalculatedAmount", part.tax, paper),
        make("ram:TypeCode", "VAT"),
        make.optional("ram:ExemptionReason", part.reason),
        _amount("ram:BasisAmount", part.taxable, paper),
        make("ram:CategoryCode", part.category),
        make("ram:ApplicablePercent", str(part.rate)),
    )


def _sums(paper: Paper) -> Element:
    return make(
        "ram:SpecifiedTradeSettlementMonetarySummation",
        _amount("ram:LineTotalAmount", paper.line_sum, paper),
        _amount("ram:ChargeTotalAmount", paper.charge_sum, paper),
        _amount("ram:AllowanceTotalAmount", paper.allowance_sum, paper),
        _amount("ram:TaxBasisTotalAmount", paper.net, paper),
        _amount("ram:TaxTotalAmount", paper.tax, paper),
        _amount("ram:GrandTotalAmount", paper.gross, paper),
        _amount("ram:DuePayableAmount", paper.payable, paper),
    )


def _line(paper: Paper, number: int, line: Line) -> Element:
    tax = make(
        "ram:ApplicableTradeTax",
        make("ram:TypeCode", "VAT"),
        make("ram:CategoryCode", line.category),
        make("ram:ApplicablePercent", str(line.rate)),
    )
    price = make("ram:NetPriceProductTradePrice", _amount("ram:ChargeAmount", line.price, paper))
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
                _amount("ram:LineTotalAmount", paper.net_of(line), paper),
            ),
        ),
        make("ram:SpecifiedTradeProduct", make("ram:Name", line.name)),
    )
