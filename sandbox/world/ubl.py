"""UBL 2.1: Invoice and CreditNote as Peppol BIS Billing 3.0 and XRechnung write them, and an Order."""

from __future__ import annotations

from decimal import Decimal

from lxml import etree

from sandbox.world.papers import Adjustment, Company, Line, Paper, TaxSum
from sandbox.world.tree import Tree, serialised

Element = etree._Element

CUSTOMIZATIONS = {
    "PEPPOL": "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0",
    "XRECHNUNG": "urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0",
    "EN 16931": "urn:cen.eu:en16931:2017",
}


def _vocabulary(document: str) -> Tree:
    return Tree(
        {
            None: f"urn:oasis:names:specification:ubl:schema:xsd:{document}-2",
            "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
            "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
        }
    )


def render(paper: Paper, customization: str = "PEPPOL", *, pretty: bool = True) -> bytes:
    """Return the paper as a UBL Invoice or CreditNote; ``customization`` is a key of CUSTOMIZATIONS."""
    document = "CreditNote" if paper.kind == "credit_note" else "Invoice"
    return serialised(_Writer(paper, document).document(CUSTOMIZATIONS[customization]), pretty=pretty)


def render_order(paper: Paper) -> bytes:
    """Return a UBL Order for the paper's lines: a document that looks like an invoice and is none."""
    return serialised(_Writer(paper, "Order").order())


class _Writer:
    """Writes one paper in the vocabulary of one document type."""

    def __init__(self, paper: Paper, document: str) -> None:
        self._paper, self._document, self._make = paper, document, _vocabulary(document)

    def document(self, customization: str) -> Element:
        paper, make = self._paper, self._make
        credit = self._document == "CreditNote"
        return make(
            self._document,
            make("cbc:CustomizationID", customization),
            make("cbc:ProfileID", "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"),
            make("cbc:ID", paper.number),
            make("cbc:IssueDate", paper.issued.isoformat()),
            make("cbc:DueDate", paper.due.isoformat()) if paper.due and not credit else None,
            make(f"cbc:{self._document}TypeCode", "381" if credit else "380"),
            make.optional("cbc:Note", paper.note),
            make("cbc:DocumentCurrencyCode", paper.currency),
            make("cbc:BuyerReference", "04011000-12345-03"),
            make("cac:OrderReference", make("cbc:ID", paper.order_number)) if paper.order_number else None,
            self._corrected(),
            make("cac:AccountingSupplierParty", self._party(paper.seller)),
            make("cac:AccountingCustomerParty", self._party(paper.buyer)),
            self._delivery(),
            self._means(),
            make("cac:PaymentTerms", make("cbc:Note", paper.terms)) if paper.terms else None,
            *(self._adjustment(adjustment, of_document=True) for adjustment in paper.adjustments),
            make("cac:TaxTotal", self._amount("TaxAmount", paper.tax), *(self._tax(part) for part in paper.taxes)),
            self._sums(),
            *(self._line(number, line) for number, line in enumerate(paper.lines, 1)),
        )

    def order(self) -> Element:
        paper, make = self._paper, self._make
        return make(
            "Order",
            make("cbc:ID", paper.number),
            make("cbc:IssueDate", paper.issued.isoformat()),
            make("cbc:DocumentCurrencyCode", paper.currency),
            make("cac:BuyerCustomerParty", self._party(paper.buyer)),
            make("cac:SellerSupplierParty", self._party(paper.seller)),
            *(self._order_line(number, line) for number, line in enumerate(paper.lines, 1)),
        )

    def _order_line(self, number: int, line: Line) -> Element:
        make = self._make
        item = make(
            "cac:LineItem",
            make("cbc:ID", str(number)),
            make("cbc:Quantity", str(line.quantity), unitCode=line.unit),
            make("cac:Price", self._amount("PriceAmount", line.price)),
            make("cac:Item", make("cbc:Name", line.name)),
        )
        return make("cac:OrderLine", item)

    def _amount(self, name: str, amount: Decimal) -> Element:
        return self._make(f"cbc:{name}", str(amount), currencyID=self._paper.currency)

    def _corrected(self) -> Element | None:
        make = self._make
        if not self._paper.corrects:
            return None
        return make(
            "cac:BillingReference",
            make("cac:InvoiceDocumentReference", make("cbc:ID", self._paper.corrects)),
        )

    def _party(self, company: Company) -> Element:
        make = self._make
        scheme = make("cac:TaxScheme", make("cbc:ID", "VAT"))
        return make(
            "cac:Party",
            make("cbc:EndpointID", company.email, schemeID="EM"),
            make("cac:PartyName", make("cbc:Name", company.name)),
            make(
                "cac:PostalAddress",
                make("cbc:StreetName", company.street),
                make("cbc:CityName", company.city),
                make("cbc:PostalZone", company.postcode),
                make("cac:Country", make("cbc:IdentificationCode", company.country)),
            ),
            make("cac:PartyTaxScheme", make("cbc:CompanyID", company.vat_id), scheme),
            make("cac:PartyLegalEntity", make("cbc:RegistrationName", company.name)),
            make(
                "cac:Contact",
                make("cbc:Name", company.contact),
                make("cbc:Telephone", company.phone),
                make("cbc:ElectronicMail", company.email),
            ),
        )

    def _delivery(self) -> Element | None:
        paper, make = self._paper, self._make
        if paper.delivered is None:
            return None
        country = make("cac:Country", make("cbc:IdentificationCode", paper.buyer.country))
        return make(
            "cac:Delivery",
            make("cbc:ActualDeliveryDate", paper.delivered.isoformat()),
            make("cac:DeliveryLocation", make("cac:Address", country)),
        )

    def _means(self) -> Element | None:
        paper, make = self._paper, self._make
        if not paper.seller.iban:
            return None
        due = paper.due.isoformat() if paper.due and self._document == "CreditNote" else None
        return make(
            "cac:PaymentMeans",
            make("cbc:PaymentMeansCode", "30"),
            make.optional("cbc:PaymentDueDate", due),
            make("cbc:PaymentID", paper.number),
            make("cac:PayeeFinancialAccount", make("cbc:ID", paper.seller.iban)),
        )

    def _category(self, name: str, category: str, rate: Decimal, reason: str | None = None) -> Element:
        make = self._make
        return make(
            f"cac:{name}",
            make("cbc:ID", category),
            None if category == "O" else make("cbc:Percent", str(rate)),
            make.optional("cbc:TaxExemptionReason", reason),
            make("cac:TaxScheme", make("cbc:ID", "VAT")),
        )

    def _adjustment(self, adjustment: Adjustment, *, of_document: bool = False) -> Element:
        make = self._make
        percent, basis = adjustment.percent, adjustment.basis
        tax = self._category("TaxCategory", adjustment.category, adjustment.rate) if of_document else None
        return make(
            "cac:AllowanceCharge",
            make("cbc:ChargeIndicator", "true" if adjustment.is_charge else "false"),
            make("cbc:AllowanceChargeReason", adjustment.reason),
            make("cbc:MultiplierFactorNumeric", str(percent)) if percent is not None else None,
            self._amount("Amount", adjustment.amount),
            self._amount("BaseAmount", basis) if basis is not None else None,
            tax,
        )

    def _tax(self, part: TaxSum) -> Element:
        return self._make(
            "cac:TaxSubtotal",
            self._amount("TaxableAmount", part.taxable),
            self._amount("TaxAmount", part.tax),
            self._category("TaxCategory", part.category, part.rate, part.reason),
        )

    def _sums(self) -> Element:
        paper = self._paper
        return self._make(
            "cac:LegalMonetaryTotal",
            self._amount("LineExtensionAmount", paper.line_sum),
            self._amount("TaxExclusiveAmount", paper.net),
            self._amount("TaxInclusiveAmount", paper.gross),
            self._amount("AllowanceTotalAmount", paper.allowance_sum) if paper.allowance_sum else None,
            self._amount("ChargeTotalAmount", paper.charge_sum) if paper.charge_sum else None,
            self._amount("PrepaidAmount", paper.rounded(paper.prepaid)) if paper.prepaid else None,
            self._amount("PayableAmount", paper.payable),
        )

    def _line(self, number: int, line: Line) -> Element:
        make = self._make
        quantity = "CreditedQuantity" if self._document == "CreditNote" else "InvoicedQuantity"
        return make(
            f"cac:{self._document}Line",
            make("cbc:ID", str(number)),
            make(f"cbc:{quantity}", str(line.quantity), unitCode=line.unit),
            self._amount("LineExtensionAmount", self._paper.net_of(line)),
            *(self._adjustment(adjustment) for adjustment in line.adjustments),
            make(
                "cac:Item",
                make("cbc:Name", line.name),
                self._category("ClassifiedTaxCategory", line.category, line.rate),
            ),
            make(
                "cac:Price",
                self._amount("PriceAmount", line.price),
                make("cbc:BaseQuantity", str(line.per), unitCode=line.unit) if line.per != 1 else None,
            ),
        )
