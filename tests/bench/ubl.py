"""A generated invoice as UBL 2.1 (Peppol BIS Billing 3.0)."""

from __future__ import annotations

from xml.sax.saxutils import escape

from tests.bench.generated_invoices import GeneratedInvoice, InvoiceLine

_INVOICE = """<?xml version="1.0" encoding="UTF-8"?>
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
 xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
 <cbc:CustomizationID>urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0</cbc:CustomizationID>
 <cbc:ProfileID>urn:fdc:peppol.eu:2017:poacc:billing:01:1.0</cbc:ProfileID>
 <cbc:ID>{number}</cbc:ID><cbc:IssueDate>{issued}</cbc:IssueDate><cbc:DueDate>{due}</cbc:DueDate>
 <cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode><cbc:DocumentCurrencyCode>{currency}</cbc:DocumentCurrencyCode>
 <cac:AccountingSupplierParty><cac:Party>
  <cac:PostalAddress><cbc:StreetName>Long Street {supplier}</cbc:StreetName><cbc:CityName>Testtown</cbc:CityName>
   <cbc:PostalZone>1{supplier:04d}</cbc:PostalZone><cac:Country><cbc:IdentificationCode>{country}</cbc:IdentificationCode>
   </cac:Country></cac:PostalAddress>
  <cac:PartyTaxScheme><cbc:CompanyID>{country}{supplier:09d}</cbc:CompanyID><cac:TaxScheme><cbc:ID>VAT</cbc:ID>
   </cac:TaxScheme></cac:PartyTaxScheme>
  <cac:PartyLegalEntity><cbc:RegistrationName>Supplier {supplier} Works</cbc:RegistrationName></cac:PartyLegalEntity>
 </cac:Party></cac:AccountingSupplierParty>
 <cac:AccountingCustomerParty><cac:Party>
  <cac:PostalAddress><cbc:StreetName>Main Street 1</cbc:StreetName><cbc:CityName>Testtown</cbc:CityName>
   <cbc:PostalZone>10999</cbc:PostalZone><cac:Country><cbc:IdentificationCode>DE</cbc:IdentificationCode></cac:Country>
  </cac:PostalAddress>
  <cac:PartyLegalEntity><cbc:RegistrationName>Buyer of Benchmarks</cbc:RegistrationName></cac:PartyLegalEntity>
 </cac:Party></cac:AccountingCustomerParty>
 <cac:PaymentMeans><cbc:PaymentMeansCode>58</cbc:PaymentMeansCode></cac:PaymentMeans>
 <cac:TaxTotal><cbc:TaxAmount currencyID="{currency}">{tax}</cbc:TaxAmount>
{taxes} </cac:TaxTotal>
 <cac:LegalMonetaryTotal>
  <cbc:LineExtensionAmount currencyID="{currency}">{net}</cbc:LineExtensionAmount>
  <cbc:TaxExclusiveAmount currencyID="{currency}">{net}</cbc:TaxExclusiveAmount>
  <cbc:TaxInclusiveAmount currencyID="{currency}">{total}</cbc:TaxInclusiveAmount>
  <cbc:PayableAmount currencyID="{currency}">{total}</cbc:PayableAmount>
 </cac:LegalMonetaryTotal>
{lines}</Invoice>
"""

_CATEGORY = """<cbc:ID>S</cbc:ID><cbc:Percent>{rate}</cbc:Percent><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme>"""

_TAX = """  <cac:TaxSubtotal><cbc:TaxableAmount currencyID="{currency}">{base}</cbc:TaxableAmount>
   <cbc:TaxAmount currencyID="{currency}">{tax}</cbc:TaxAmount>
   <cac:TaxCategory>{category}</cac:TaxCategory></cac:TaxSubtotal>
"""

_LINE = """ <cac:InvoiceLine><cbc:ID>{position}</cbc:ID>
  <cbc:InvoicedQuantity unitCode="C62">{quantity}</cbc:InvoicedQuantity>
  <cbc:LineExtensionAmount currencyID="{currency}">{net}</cbc:LineExtensionAmount>
  <cac:Item><cbc:Name>{name}</cbc:Name><cac:ClassifiedTaxCategory>{category}</cac:ClassifiedTaxCategory></cac:Item>
  <cac:Price><cbc:PriceAmount currencyID="{currency}">{price}</cbc:PriceAmount></cac:Price></cac:InvoiceLine>
"""


def render(invoice: GeneratedInvoice) -> bytes:
    """Return the invoice's XML."""
    return _INVOICE.format(
        number=invoice.number,
        issued=invoice.issued,
        due=invoice.due,
        supplier=invoice.supplier,
        country=invoice.country,
        currency=invoice.currency,
        net=invoice.net,
        tax=invoice.tax,
        total=invoice.net + invoice.tax,
        lines="".join(_render_line(invoice, position, line) for position, line in enumerate(invoice.lines, start=1)),
        taxes="".join(
            _TAX.format(currency=invoice.currency, category=_CATEGORY.format(rate=rate), base=base, tax=tax)
            for rate, base, tax in invoice.taxes
        ),
    ).encode()


def _render_line(invoice: GeneratedInvoice, position: int, line: InvoiceLine) -> str:
    return _LINE.format(
        position=position,
        currency=invoice.currency,
        category=_CATEGORY.format(rate=line.rate),
        name=escape(line.name),
        price=line.price,
        quantity=line.quantity,
        net=line.net,
    )
