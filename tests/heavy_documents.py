"""Documents of few bytes that are heavy to process: many invoices in one envelope, many lines in one invoice."""

from __future__ import annotations

import io
import zipfile

UBL = 'xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"'
CAC = 'xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"'
CBC = 'xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"'


def build_envelope_of_bare_invoices(name: str, invoice_count: int) -> bytes:
    """Return an XML envelope of invoices that state nothing."""
    return f"<Envelope><Name>{name}</Name>{f'<Invoice {UBL}/>' * invoice_count}</Envelope>".encode()


def build_long_invoice(number: str, line_count: int, *, has_bare_lines: bool = False) -> bytes:
    """Return a valid UBL invoice of so many lines of 1.00 each, with 19 % of tax; bare lines have no tax category."""
    net = f"{line_count}.00"
    tax = f"{line_count * 19 // 100}.{line_count * 19 % 100:02d}"
    total = f"{line_count + line_count * 19 // 100}.{line_count * 19 % 100:02d}"
    category = "<cbc:ID>S</cbc:ID><cbc:Percent>19</cbc:Percent><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme>"
    quantity = '<cbc:InvoicedQuantity unitCode="C62">1</cbc:InvoicedQuantity>'
    line_category = f"<cac:ClassifiedTaxCategory>{category}</cac:ClassifiedTaxCategory>"
    price = '<cac:Price><cbc:PriceAmount currencyID="EUR">1.00</cbc:PriceAmount></cac:Price>'
    if has_bare_lines:
        quantity = line_category = price = ""
    lines = "".join(
        f"<cac:InvoiceLine><cbc:ID>{line}</cbc:ID>{quantity}"
        '<cbc:LineExtensionAmount currencyID="EUR">1.00</cbc:LineExtensionAmount>'
        f"<cac:Item><cbc:Name>Part {number}-{line}</cbc:Name>{line_category}</cac:Item>{price}</cac:InvoiceLine>"
        for line in range(1, line_count + 1)
    )
    return (
        f"<Invoice {UBL} {CAC} {CBC}>"
        "<cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID>"
        f"<cbc:ID>{number}</cbc:ID><cbc:IssueDate>2026-03-02</cbc:IssueDate><cbc:DueDate>2026-04-02</cbc:DueDate>"
        "<cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode><cbc:DocumentCurrencyCode>EUR</cbc:DocumentCurrencyCode>"
        f"{_build_party('AccountingSupplierParty', 'Long Lists GmbH', 'DE123456789')}"
        f"{_build_party('AccountingCustomerParty', 'We', 'DE999999999')}"
        f'<cac:TaxTotal><cbc:TaxAmount currencyID="EUR">{tax}</cbc:TaxAmount><cac:TaxSubtotal>'
        f'<cbc:TaxableAmount currencyID="EUR">{net}</cbc:TaxableAmount><cbc:TaxAmount currencyID="EUR">{tax}'
        f"</cbc:TaxAmount><cac:TaxCategory>{category}</cac:TaxCategory></cac:TaxSubtotal></cac:TaxTotal>"
        f'<cac:LegalMonetaryTotal><cbc:LineExtensionAmount currencyID="EUR">{net}</cbc:LineExtensionAmount>'
        f'<cbc:TaxExclusiveAmount currencyID="EUR">{net}</cbc:TaxExclusiveAmount>'
        f'<cbc:TaxInclusiveAmount currencyID="EUR">{total}</cbc:TaxInclusiveAmount>'
        f'<cbc:PayableAmount currencyID="EUR">{total}</cbc:PayableAmount></cac:LegalMonetaryTotal>{lines}</Invoice>'
    ).encode()


def build_zip(files: dict[str, bytes]) -> bytes:
    """Return a ZIP file of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _build_party(role: str, name: str, tax_id: str) -> str:
    return (
        f"<cac:{role}><cac:Party><cac:PartyName><cbc:Name>{name}</cbc:Name></cac:PartyName><cac:PostalAddress>"
        "<cac:Country><cbc:IdentificationCode>DE</cbc:IdentificationCode></cac:Country></cac:PostalAddress>"
        f"<cac:PartyTaxScheme><cbc:CompanyID>{tax_id}</cbc:CompanyID><cac:TaxScheme><cbc:ID>VAT</cbc:ID>"
        f"</cac:TaxScheme></cac:PartyTaxScheme><cac:PartyLegalEntity><cbc:RegistrationName>{name}"
        f"</cbc:RegistrationName></cac:PartyLegalEntity></cac:Party></cac:{role}>"
    )
