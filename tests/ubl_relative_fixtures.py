"""Made-up UBL documents of national formats, written from the public facts of each."""

from __future__ import annotations

import zlib

_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
_PEPPOL_PROCESS = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"
_EN = "urn:cen.eu:en16931:2017"

# profile: CustomizationID, ProfileID, currency, tax scheme, rate in percent
RELATIVES = {
    "peppol": (f"{_EN}#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0", _PEPPOL_PROCESS, "EUR", "VAT", "21"),
    "xrechnung": (f"{_EN}#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0", _PEPPOL_PROCESS, "EUR", "VAT", "19"),
    "nlcius": (f"{_EN}#compliant#urn:fdc:nen.nl:nlcius:v1.0", _PEPPOL_PROCESS, "EUR", "VAT", "21"),
    "cius_ro": (f"{_EN}#compliant#urn:efactura.mfinante.ro:CIUS-RO:1.0.1", "", "RON", "VAT", "19"),
    "cius_hr": (f"{_EN}#compliant#urn:mfin.gov.hr:cius-2025:1.0", "P1", "EUR", "VAT", "25"),
    "ehf": ("urn:www.cenbii.eu:transaction:biitrns010:ver2.0:extended:urn:www.difi.no:ehf:faktura:ver2.0",
            "urn:www.cenbii.eu:profile:bii05:ver2.0", "NOK", "VAT", "25"),
    "si_ubl": ("urn:www.cenbii.eu:transaction:biitrns010:ver2.0:extended:urn:www.simplerinvoicing.org:si:si-ubl:ver1.2",
               "urn:www.cenbii.eu:profile:bii04:ver1.0", "EUR", "VAT", "21"),
    "pint_jp": ("urn:peppol:pint:billing-1@jp-1", "urn:peppol:bis:billing", "JPY", "VAT", "10"),
    "pint_sg": ("urn:peppol:pint:billing-1@sg-1", "urn:peppol:bis:billing", "SGD", "GST", "9"),
    "pint_aunz": ("urn:peppol:pint:billing-1@aunz-1", "urn:peppol:bis:billing", "AUD", "GST", "10"),
    "pint_my": ("urn:peppol:pint:billing-1@my-1", "urn:peppol:bis:billing", "MYR", "SST", "8"),
    "pint_ae": ("urn:peppol:pint:billing-1@ae-1", "urn:peppol:bis:billing", "AED", "VAT", "5"),
    "pint": ("urn:peppol:pint:billing-1", "urn:peppol:bis:billing", "USD", "VAT", "5"),
    "zatca": ("", "reporting:1.0", "SAR", "VAT", "15"),
    "en16931": (_EN, "", "EUR", "VAT", "20"),
}  # fmt: skip


def build_relative(profile: str) -> bytes:
    """Return an invoice of 200 without tax in the format of ``profile``, a key of ``RELATIVES``."""
    customization, process, currency, scheme, rate = RELATIVES[profile]
    tax = f"{2 * int(rate)}.00"
    category = f"<b:ID>S</b:ID><b:Percent>{rate}</b:Percent><a:TaxScheme><b:ID>{scheme}</b:ID></a:TaxScheme>"
    return _build_document(
        f"<b:CustomizationID>{customization}</b:CustomizationID><b:ProfileID>{process}</b:ProfileID>",
        type_code="388" if profile == "zatca" else "380", currency=currency,
        seller_tax=f"<b:CompanyID>{'DE111111111' if scheme == 'VAT' else '20-1234567'}</b:CompanyID>"
        f"<a:TaxScheme><b:ID>{scheme}</b:ID></a:TaxScheme>",
        tax_total=f"<b:TaxAmount currencyID='{currency}'>{tax}</b:TaxAmount><a:TaxSubtotal>"
        f"<b:TaxableAmount>200.00</b:TaxableAmount><b:TaxAmount>{tax}</b:TaxAmount>"
        f"<a:TaxCategory>{category}</a:TaxCategory></a:TaxSubtotal>",
        totals={"LineExtensionAmount": "200.00", "TaxExclusiveAmount": "200.00",
                "TaxInclusiveAmount": f"{200 + 2 * int(rate)}.00", "PayableAmount": f"{200 + 2 * int(rate)}.00"},
        line_tax="", item_tax=f"<a:ClassifiedTaxCategory>{category}</a:ClassifiedTaxCategory>",
    )  # fmt: skip


def build_oioubl_invoice(*, tax_exclusive: str = "47.50", version: str = "OIOUBL-2.1", root: str = "Invoice") -> bytes:
    """Return an OIOUBL invoice or credit note: 200 − 20 + 10 = 190, Moms 25% 47.50, 237.50 due."""
    category = (
        "<a:TaxCategory><b:ID schemeAgencyID='320' schemeID='urn:oioubl:id:taxcategoryid-1.1'>StandardRated</b:ID>"
        "<b:Percent>25</b:Percent><a:TaxScheme><b:ID schemeAgencyID='320'>63</b:ID><b:Name>Moms</b:Name></a:TaxScheme>"
        "</a:TaxCategory>"
    )
    adjustments = "".join(
        f"<a:AllowanceCharge><b:ID>1</b:ID><b:ChargeIndicator>{is_charge}</b:ChargeIndicator>"
        f"<b:AllowanceChargeReason>x</b:AllowanceChargeReason><b:Amount>{amount}</b:Amount>{category}</a:AllowanceCharge>"
        for is_charge, amount in (("false", "20.00"), ("true", "10.00"))
    )
    means = (
        "<a:PaymentMeans><b:PaymentMeansCode>42</b:PaymentMeansCode><b:PaymentDueDate>2026-02-25</b:PaymentDueDate>"
        "<a:PayeeFinancialAccount><b:ID>1234567890</b:ID><a:FinancialInstitutionBranch><b:ID>1234</b:ID>"
        "</a:FinancialInstitutionBranch></a:PayeeFinancialAccount></a:PaymentMeans>"
    )
    return _build_document(
        f"<b:CustomizationID>{version}</b:CustomizationID>"
        "<b:ProfileID schemeAgencyID='320'>urn:www.nesubl.eu:profiles:profile5:ver2.0</b:ProfileID>",
        root=root, type_code="380", currency="DKK",
        seller_tax="<b:CompanyID schemeID='DK:SE'>DK99999999</b:CompanyID><a:TaxScheme><b:ID schemeAgencyID='320' "
        "schemeID='urn:oioubl:id:taxschemeid-1.5'>63</b:ID><b:Name>Moms</b:Name></a:TaxScheme>",
        before_tax=means + adjustments,
        tax_total="<b:TaxAmount currencyID='DKK'>47.50</b:TaxAmount><a:TaxSubtotal><b:TaxableAmount>190.00"
        f"</b:TaxableAmount><b:TaxAmount>47.50</b:TaxAmount>{category}</a:TaxSubtotal>",
        totals={"LineExtensionAmount": "200.00", "TaxExclusiveAmount": tax_exclusive, "TaxInclusiveAmount": "237.50",
                "AllowanceTotalAmount": "20.00", "ChargeTotalAmount": "10.00", "PayableAmount": "237.50"},
        line_tax="<a:TaxTotal><b:TaxAmount>50.00</b:TaxAmount><a:TaxSubtotal><b:TaxableAmount>200.00</b:TaxableAmount>"
        f"<b:TaxAmount>50.00</b:TaxAmount>{category}</a:TaxSubtotal></a:TaxTotal>",
        item_tax="",
    )  # fmt: skip


def build_ubl_tr_invoice(type_code: str = "SATIS") -> bytes:
    """Return a UBL-TR invoice of 200 and KDV 20%."""
    subtotal = (
        "<a:TaxSubtotal><b:TaxableAmount>200.00</b:TaxableAmount><b:TaxAmount>40.00</b:TaxAmount><b:Percent>20"
        "</b:Percent><a:TaxCategory><a:TaxScheme><b:Name>KDV</b:Name><b:TaxTypeCode>0015</b:TaxTypeCode></a:TaxScheme>"
        "</a:TaxCategory></a:TaxSubtotal>"
    )
    tax_total = f"<b:TaxAmount currencyID='TRY'>40.00</b:TaxAmount>{subtotal}"
    return _build_document(
        "<b:CustomizationID>TR1.2</b:CustomizationID><b:ProfileID>TICARIFATURA</b:ProfileID>",
        type_code=type_code, currency="TRY", seller_tax="<a:TaxScheme><b:Name>Kadikoy</b:Name></a:TaxScheme>",
        seller_id="<a:PartyIdentification><b:ID schemeID='VKN'>1234567890</b:ID></a:PartyIdentification>",
        tax_total=tax_total,
        totals={"LineExtensionAmount": "200.00", "TaxExclusiveAmount": "200.00", "TaxInclusiveAmount": "240.00",
                "PayableAmount": "240.00"},
        line_tax=f"<a:TaxTotal>{tax_total}</a:TaxTotal>", item_tax="",
    )  # fmt: skip


def _build_document(
    identification: str, *, type_code: str, currency: str, seller_tax: str, tax_total: str, totals: dict[str, str],
    line_tax: str, item_tax: str, root: str = "Invoice", before_tax: str = "", seller_id: str = "",
) -> bytes:  # fmt: skip
    address = "<a:PostalAddress><b:CityName>X</b:CityName><a:Country><b:IdentificationCode>DK</b:IdentificationCode></a:Country></a:PostalAddress>"  # noqa: E501
    quantity = "InvoicedQuantity" if root == "Invoice" else "CreditedQuantity"
    amounts = "".join(f"<b:{name} currencyID='{currency}'>{value}</b:{name}>" for name, value in totals.items())
    type_element = f"<b:InvoiceTypeCode>{type_code}</b:InvoiceTypeCode>" if root == "Invoice" else ""
    return (
        f'<{root} xmlns="{_UBL}{root}-2" xmlns:b="{_UBL}CommonBasicComponents-2" '
        f'xmlns:a="{_UBL}CommonAggregateComponents-2">{identification}<b:ID>N-{zlib.crc32(f"{identification}{root}".encode())}</b:ID>'
        f"<b:IssueDate>2026-02-01</b:IssueDate>{type_element}"
        f"<b:DocumentCurrencyCode>{currency}</b:DocumentCurrencyCode>"
        f"<a:AccountingSupplierParty><a:Party>{seller_id}<a:PartyName><b:Name>Nord ApS</b:Name></a:PartyName>{address}"
        f"<a:PartyTaxScheme>{seller_tax}</a:PartyTaxScheme><a:PartyLegalEntity><b:RegistrationName>Nord ApS"
        "</b:RegistrationName><b:CompanyID schemeID='DK:CVR'>DK99999999</b:CompanyID></a:PartyLegalEntity></a:Party>"
        f"</a:AccountingSupplierParty><a:AccountingCustomerParty><a:Party><a:PartyName><b:Name>Syd</b:Name></a:PartyName>{address}"
        f"</a:Party></a:AccountingCustomerParty>{before_tax}<a:TaxTotal>{tax_total}</a:TaxTotal>"
        f"<a:LegalMonetaryTotal>{amounts}</a:LegalMonetaryTotal><a:{root}Line><b:ID>1</b:ID>"
        f"<b:{quantity} unitCode='EA'>2</b:{quantity}><b:LineExtensionAmount currencyID='{currency}'>200.00"
        f"</b:LineExtensionAmount>{line_tax}<a:Item><b:Name>Board</b:Name>{item_tax}</a:Item><a:Price>"
        f"<b:PriceAmount currencyID='{currency}'>100.00</b:PriceAmount></a:Price></a:{root}Line></{root}>"
    ).encode()
