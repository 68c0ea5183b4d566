"""The national formats that are UBL 2: how each is recognised, and what OIOUBL and UBL-TR write differently.

Most of them are EN 16931 or Peppol PINT, whose elements and sums are those of ``ubl``. OIOUBL (Denmark, customization
ids ``OIOUBL-2.02`` and ``OIOUBL-2.1``) is older: its TaxExclusiveAmount is the sum of taxes (rule F-INV127), its tax
categories are words, VAT is the tax scheme 63 (Moms), and a line has its category in a TaxTotal. UBL-TR names VAT by
TaxTypeCode 0015 (KDV), has type codes in words, and parties identified by VKN or TCKN.
"""

from __future__ import annotations

from invoices.documents.einvoice.decimal_texts import (
    parse_plain_decimal,
    subtract_decimal_texts,
    sum_decimal_texts,
)
from invoices.documents.einvoice.payload_values import Record, classify_profile
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text, iter_texts

OIOUBL, UBL_TR, ZATCA = "oioubl", "ubl_tr", "zatca"

# A part of the CustomizationID in lower case, and the profile. Searched in this order: NLCIUS, CIUS-RO and CIUS-HR also
# name EN 16931, and PINT also names Peppol.
_PROFILE_BY_CUSTOMIZATION = (
    ("oioubl", OIOUBL),
    ("nen.nl:nlcius", "nlcius"), ("simplerinvoicing", "si_ubl"),
    ("efactura.mfinante.ro", "cius_ro"), ("mfin.gov.hr", "cius_hr"),
    ("difi.no:ehf", "ehf"),
    ("urn:peppol:pint:", "pint"),
)  # fmt: skip
_PINT_COUNTRIES = {"jp": "pint_jp", "sg": "pint_sg", "aunz": "pint_aunz", "my": "pint_my", "ae": "pint_ae"}
_ZATCA_PROCESSES = ("reporting:", "clearance:")  # ProfileID
_UBL_TR_PREFIX = "tr1."  # CustomizationID TR1.0 to TR1.2
_MAX_PROFILE_CHARS = 200

# urn:oioubl:id:taxcategoryid-1.1 as UNTDID 5305
_OIOUBL_CATEGORIES = {"StandardRated": "S", "ZeroRated": "Z", "ReverseCharge": "AE"}
_CREDIT_NOTE_CODE = "381"  # UNTDID 1001; a CreditNote of UBL 2.0 has no element for it
_OIOUBL_VAT_SCHEMES = {"63", "VAT"}
_UBL_TR_INVOICE_TYPES = {"SATIS": "380"}  # a sale; others, such as IADE (a return), stay as stated for a person
_UBL_TR_VAT_TYPES = {"0015", "15"}  # KDV


def find_ubl_profile(root: Element) -> str:
    """Return the profile that CustomizationID (BT-24) and ProfileID (BT-23) name, ``other`` for none that is known."""
    customization_id = find_text(root, "CustomizationID")
    folded_id = (customization_id or "").casefold()[:_MAX_PROFILE_CHARS]
    for id_part, profile in _PROFILE_BY_CUSTOMIZATION:
        if id_part in folded_id:
            country = folded_id.partition("@")[2].partition("-")[0]
            return _PINT_COUNTRIES.get(country, profile) if profile == "pint" else profile
    if folded_id.startswith(_UBL_TR_PREFIX):
        return UBL_TR
    if (find_text(root, "ProfileID") or "").casefold().startswith(_ZATCA_PROCESSES):
        return ZATCA
    return classify_profile(customization_id)


def apply_national_conventions(root: Element, invoice: Record) -> Record:
    """Return the record of an invoice of a tree without namespaces in the terms of EN 16931."""
    profile = find_ubl_profile(root)
    if profile == OIOUBL:
        return _convert_oioubl_invoice(root, invoice)
    return _convert_ubl_tr_invoice(root, invoice) if profile == UBL_TR else invoice


def _convert_oioubl_invoice(root: Element, invoice: Record) -> Record:
    return drop_absent_values({
        **invoice,
        "type_code": invoice.get("type_code") or (_CREDIT_NOTE_CODE if root.tag == "CreditNote" else None),
        "seller": _move_oioubl_vat_id(root.find("AccountingSupplierParty/Party"), invoice.get("seller", {})),
        "buyer": _move_oioubl_vat_id(root.find("AccountingCustomerParty/Party"), invoice.get("buyer", {})),
        "totals": _convert_oioubl_totals(root, invoice.get("totals", {})),
        "taxes": [_convert_category(tax, "category") for tax in invoice.get("taxes", [])],
        "allowances": [_convert_category(item, "tax_category") for item in invoice.get("allowances", [])],
        "charges": [_convert_category(item, "tax_category") for item in invoice.get("charges", [])],
        "lines": [
            _convert_category(_add_line_tax(element, line), "tax_category")
            for element, line in zip(_list_lines(root), invoice.get("lines", []), strict=True)
        ],
    })  # fmt: skip


def _convert_oioubl_totals(root: Element, totals: Record) -> Record:
    """Return the totals with the sum of all taxes, and the total without tax where TaxExclusiveAmount is that sum."""
    tax_total = sum_decimal_texts(iter_texts(root, "TaxTotal/TaxAmount")) or totals.get("tax_total")
    stated_value = parse_plain_decimal(totals.get("tax_exclusive"))
    if stated_value is None or stated_value != parse_plain_decimal(tax_total):
        return {**totals, "tax_total": tax_total} if tax_total else totals  # as in EN 16931, or for a person
    charged_total = sum_decimal_texts([totals.get("line_total"), totals.get("charge_total")])
    net_total = subtract_decimal_texts(charged_total, totals.get("allowance_total"))
    return drop_absent_values({**totals, "tax_total": tax_total, "tax_exclusive": net_total})


def _convert_category(record: Record, key: str) -> Record:
    return {**record, key: _OIOUBL_CATEGORIES.get(record[key], record[key])} if record.get(key) else record


def _add_line_tax(element: Element, line: Record) -> Record:
    """Return a line with the tax category of its own TaxTotal, if it has one and states no other."""
    categories = element.findall("TaxTotal/TaxSubtotal/TaxCategory")
    if line.get("tax_category") or len(categories) != 1:
        return line
    tax = {"tax_category": find_text(categories[0], "ID"), "tax_rate": find_text(categories[0], "Percent")}
    return {**line, **drop_absent_values(tax)}


def _move_oioubl_vat_id(party: Element | None, record: Record) -> Record:
    """Return a party whose id of the tax scheme 63 is its VAT id."""
    for scheme in [] if party is None else party.iterfind("PartyTaxScheme"):
        company_id = find_text(scheme, "CompanyID")
        if company_id and find_text(scheme, "TaxScheme/ID") in _OIOUBL_VAT_SCHEMES:
            others = {key: value for key, value in record.items() if key != "tax_number" or value != company_id}
            return {**others, "vat_id": company_id}
    return record


def _convert_ubl_tr_invoice(root: Element, invoice: Record) -> Record:
    type_code = invoice.get("type_code")
    taxes, lines = invoice.get("taxes", []), invoice.get("lines", [])
    return drop_absent_values({
        **invoice,
        "type_code": _UBL_TR_INVOICE_TYPES.get(str(type_code), type_code),
        "seller": _add_ubl_tr_tax_number(root.find("AccountingSupplierParty/Party"), invoice.get("seller", {})),
        "buyer": _add_ubl_tr_tax_number(root.find("AccountingCustomerParty/Party"), invoice.get("buyer", {})),
        "taxes": [
            _add_ubl_tr_category(element, tax, "category")
            for element, tax in zip(root.findall("TaxTotal/TaxSubtotal"), taxes, strict=True)
        ],
        "lines": [
            _add_ubl_tr_line_tax(element, line) for element, line in zip(_list_lines(root), lines, strict=True)
        ],
    })  # fmt: skip


def _list_lines(root: Element) -> list[Element]:
    return [*root.iterfind("InvoiceLine"), *root.iterfind("CreditNoteLine")]


def _add_ubl_tr_category(subtotal: Element, record: Record, key: str) -> Record:
    if find_text(subtotal, "TaxCategory/TaxScheme/TaxTypeCode") not in _UBL_TR_VAT_TYPES or record.get(key):
        return record
    rate = parse_plain_decimal(find_text(subtotal, "Percent") or find_text(subtotal, "TaxCategory/Percent"))
    return record if rate is None else {**record, key: "S" if rate else "Z"}


def _add_ubl_tr_line_tax(element: Element, line: Record) -> Record:
    subtotals = element.findall("TaxTotal/TaxSubtotal")
    if line.get("tax_category") or len(subtotals) != 1:
        return line
    rate = find_text(subtotals[0], "Percent") or find_text(subtotals[0], "TaxCategory/Percent")
    return _add_ubl_tr_category(subtotals[0], {**line, **drop_absent_values({"tax_rate": rate})}, "tax_category")


def _add_ubl_tr_tax_number(party: Element | None, record: Record) -> Record:
    """Return a party with its VKN (of a company) or TCKN (of a person) as its tax number."""
    for scheme in ("VKN", "TCKN"):
        number = find_text(party, f"PartyIdentification/ID[@schemeID='{scheme}']")
        if number and not record.get("tax_number"):
            return {**record, "tax_number": number}
    return record
