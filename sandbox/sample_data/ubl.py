"""UBL 2.1: Invoice and CreditNote in Peppol BIS Billing 3.0 and XRechnung, and an Order."""

from __future__ import annotations

from decimal import Decimal

from lxml import etree

from sandbox.sample_data.documents import Adjustment, Company, InvoiceLine, SampleInvoice, TaxBreakdown
from sandbox.sample_data.xml_builder import XmlBuilder, serialise_xml

Element = etree._Element

CUSTOMIZATIONS = {
    "PEPPOL": "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0",
    "XRECHNUNG": "urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0",
    "EN 16931": "urn:cen.eu:en16931:2017",
}


def _create_builder(document_type: str) -> XmlBuilder:
    return XmlBuilder(
        {
            None: f"urn:oasis:names:specification:ubl:schema:xsd:{document_type}-2",
            "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
            "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
        }
    )


def render_ubl_invoice(invoice: SampleInvoice, customization: str = "PEPPOL", *, pretty: bool = True) -> bytes:
    """Return the invoice as a UBL Invoice or CreditNote; ``customization`` is a key of CUSTOMIZATIONS."""
    document_type = "CreditNote" if invoice.kind == "credit_note" else "Invoice"
    return serialise_xml(_UblWriter(invoice, document_type).build_invoice(CUSTOMIZATIONS[customization]), pretty=pretty)


def render_ubl_order(order: SampleInvoice) -> bytes:
    """Return a UBL Order with these lines: a document that resembles an invoice but is not one."""
    return serialise_xml(_UblWriter(order, "Order").build_order())


class _UblWriter:
    """Builds the elements of one invoice for one UBL document type."""

    def __init__(self, invoice: SampleInvoice, document_type: str) -> None:
        self._invoice, self._document_type, self._make = invoice, document_type, _create_builder(document_type)

    def build_invoice(self, customization: str) -> Element:
        invoice, make = self._invoice, self._make
        is_credit_note = self._document_type == "CreditNote"
        return make(
            self._document_type,
            make("cbc:CustomizationID", customization),
            make("cbc:ProfileID", "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"),
            make("cbc:ID", invoice.number),
            make("cbc:IssueDate", invoice.issue_date.isoformat()),
            make("cbc:DueDate", invoice.due_date.isoformat()) if invoice.due_date and not is_credit_note else None,
            make(f"cbc:{self._document_type}TypeCode", "381" if is_credit_note else "380"),
            make.build_optional("cbc:Note", invoice.note),
            make("cbc:DocumentCurrencyCode", invoice.currency),
            make("cbc:BuyerReference", "04011000-12345-03"),
            make("cac:OrderReference", make("cbc:ID", invoice.order_number)) if invoice.order_number else None,
            self._build_corrected_reference(),
            make("cac:AccountingSupplierParty", self._build_party(invoice.seller)),
            make("cac:AccountingCustomerParty", self._build_party(invoice.buyer)),
            self._build_delivery(),
            self._build_payment_means(),
            make("cac:PaymentTerms", make("cbc:Note", invoice.terms)) if invoice.terms else None,
            *(self._build_allowance_charge(adjustment, is_document_level=True) for adjustment in invoice.adjustments),
            make(
                "cac:TaxTotal",
                self._build_amount("TaxAmount", invoice.tax),
                *(self._build_tax_breakdown(tax_breakdown) for tax_breakdown in invoice.tax_breakdowns),
            ),
            self._build_totals(),
            *(self._build_line(number, line) for number, line in enumerate(invoice.lines, 1)),
        )

    def build_order(self) -> Element:
        order, make = self._invoice, self._make
        return make(
            "Order",
            make("cbc:ID", order.number),
            make("cbc:IssueDate", order.issue_date.isoformat()),
            make("cbc:DocumentCurrencyCode", order.currency),
            make("cac:BuyerCustomerParty", self._build_party(order.buyer)),
            make("cac:SellerSupplierParty", self._build_party(order.seller)),
            *(self._build_order_line(number, line) for number, line in enumerate(order.lines, 1)),
        )

    def _build_order_line(self, number: int, line: InvoiceLine) -> Element:
        make = self._make
        item = make(
            "cac:LineItem",
            make("cbc:ID", str(number)),
            make("cbc:Quantity", str(line.quantity), unitCode=line.unit),
            make("cac:Price", self._build_amount("PriceAmount", line.price)),
            make("cac:Item", make("cbc:Name", line.name)),
        )
        return make("cac:OrderLine", item)

    def _build_amount(self, name: str, amount: Decimal) -> Element:
        return self._make(f"cbc:{name}", str(amount), currencyID=self._invoice.currency)

    def _build_corrected_reference(self) -> Element | None:
        make = self._make
        if not self._invoice.corrected_invoice_number:
            return None
        return make(
            "cac:BillingReference",
            make("cac:InvoiceDocumentReference", make("cbc:ID", self._invoice.corrected_invoice_number)),
        )

    def _build_party(self, company: Company) -> Element:
        make = self._make
        tax_scheme = make("cac:TaxScheme", make("cbc:ID", "VAT"))
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
            make("cac:PartyTaxScheme", make("cbc:CompanyID", company.vat_id), tax_scheme),
            make("cac:PartyLegalEntity", make("cbc:RegistrationName", company.name)),
            make(
                "cac:Contact",
                make("cbc:Name", company.contact),
                make("cbc:Telephone", company.phone),
                make("cbc:ElectronicMail", company.email),
            ),
        )

    def _build_delivery(self) -> Element | None:
        invoice, make = self._invoice, self._make
        if invoice.delivery_date is None:
            return None
        country = make("cac:Country", make("cbc:IdentificationCode", invoice.buyer.country))
        return make(
            "cac:Delivery",
            make("cbc:ActualDeliveryDate", invoice.delivery_date.isoformat()),
            make("cac:DeliveryLocation", make("cac:Address", country)),
        )

    def _build_payment_means(self) -> Element | None:
        invoice, make = self._invoice, self._make
        if not invoice.seller.iban:
            return None
        due_date = invoice.due_date.isoformat() if invoice.due_date and self._document_type == "CreditNote" else None
        return make(
            "cac:PaymentMeans",
            make("cbc:PaymentMeansCode", "30"),
            make.build_optional("cbc:PaymentDueDate", due_date),
            make("cbc:PaymentID", invoice.number),
            make("cac:PayeeFinancialAccount", make("cbc:ID", invoice.seller.iban)),
        )

    def _build_tax_category(self, name: str, category: str, rate: Decimal, reason: str | None = None) -> Element:
        make = self._make
        return make(
            f"cac:{name}",
            make("cbc:ID", category),
            None if category == "O" else make("cbc:Percent", str(rate)),
            make.build_optional("cbc:TaxExemptionReason", reason),
            make("cac:TaxScheme", make("cbc:ID", "VAT")),
        )

    def _build_allowance_charge(self, adjustment: Adjustment, *, is_document_level: bool = False) -> Element:
        make = self._make
        percent, basis = adjustment.percent, adjustment.basis
        tax = (
            self._build_tax_category("TaxCategory", adjustment.category, adjustment.rate) if is_document_level else None
        )
        return make(
            "cac:AllowanceCharge",
            make("cbc:ChargeIndicator", "true" if adjustment.is_charge else "false"),
            make("cbc:AllowanceChargeReason", adjustment.reason),
            make("cbc:MultiplierFactorNumeric", str(percent)) if percent is not None else None,
            self._build_amount("Amount", adjustment.amount),
            self._build_amount("BaseAmount", basis) if basis is not None else None,
            tax,
        )

    def _build_tax_breakdown(self, tax_breakdown: TaxBreakdown) -> Element:
        return self._make(
            "cac:TaxSubtotal",
            self._build_amount("TaxableAmount", tax_breakdown.taxable),
            self._build_amount("TaxAmount", tax_breakdown.tax),
            self._build_tax_category("TaxCategory", tax_breakdown.category, tax_breakdown.rate, tax_breakdown.reason),
        )

    def _build_totals(self) -> Element:
        invoice = self._invoice
        return self._make(
            "cac:LegalMonetaryTotal",
            self._build_amount("LineExtensionAmount", invoice.line_sum),
            self._build_amount("TaxExclusiveAmount", invoice.net),
            self._build_amount("TaxInclusiveAmount", invoice.gross),
            self._build_amount("AllowanceTotalAmount", invoice.allowance_sum) if invoice.allowance_sum else None,
            self._build_amount("ChargeTotalAmount", invoice.charge_sum) if invoice.charge_sum else None,
            self._build_amount("PrepaidAmount", invoice.round_amount(invoice.prepaid_amount))
            if invoice.prepaid_amount
            else None,
            self._build_amount("PayableAmount", invoice.payable),
        )

    def _build_line(self, number: int, line: InvoiceLine) -> Element:
        make = self._make
        quantity_name = "CreditedQuantity" if self._document_type == "CreditNote" else "InvoicedQuantity"
        return make(
            f"cac:{self._document_type}Line",
            make("cbc:ID", str(number)),
            make(f"cbc:{quantity_name}", str(line.quantity), unitCode=line.unit),
            self._build_amount("LineExtensionAmount", self._invoice.compute_line_net(line)),
            *(self._build_allowance_charge(adjustment) for adjustment in line.adjustments),
            make(
                "cac:Item",
                make("cbc:Name", line.name),
                self._build_tax_category("ClassifiedTaxCategory", line.category, line.rate),
            ),
            make(
                "cac:Price",
                self._build_amount("PriceAmount", line.price),
                make("cbc:BaseQuantity", str(line.price_base_quantity), unitCode=line.unit)
                if line.price_base_quantity != 1
                else None,
            ),
        )
