"""E-invoices of each syntax: the payload of each business term, with a document written for each rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.einvoice import extract_einvoice_payload, find_einvoice_syntax, parse_untrusted_xml
from invoices.documents.einvoice.payload_values import classify_profile, classify_type_code, normalise_iso_date

CII = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
RAM = "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"
UDT = "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100"


def build_cii(
    settlement: str = "", lines: str = "", type_code: str = "380", issued: str = "", trade: str = ""
) -> bytes:
    """Return a small CII invoice with the elements that a test adds."""
    date = issued or '<udt:DateTimeString format="102">20260131</udt:DateTimeString>'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
    <rsm:CrossIndustryInvoice xmlns:rsm="{CII}" xmlns:ram="{RAM}" xmlns:udt="{UDT}">
      <rsm:ExchangedDocumentContext><ram:GuidelineSpecifiedDocumentContextParameter>
        <ram:ID>urn:cen.eu:en16931:2017</ram:ID></ram:GuidelineSpecifiedDocumentContextParameter>
      </rsm:ExchangedDocumentContext>
      <rsm:ExchangedDocument><ram:ID> R-17 </ram:ID><ram:TypeCode>{type_code}</ram:TypeCode>
        <ram:IssueDateTime>{date}</ram:IssueDateTime></rsm:ExchangedDocument>
      <rsm:SupplyChainTradeTransaction>{lines}
        <ram:ApplicableHeaderTradeAgreement>
          <ram:SellerTradeParty><ram:Name>Bäckerei Ünal</ram:Name>
            <ram:SpecifiedTaxRegistration><ram:ID schemeID="FC">12/345</ram:ID></ram:SpecifiedTaxRegistration>
            <ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">DE111</ram:ID></ram:SpecifiedTaxRegistration>
          </ram:SellerTradeParty>
          <ram:BuyerTradeParty><ram:Name>Kunde</ram:Name></ram:BuyerTradeParty>{trade}
        </ram:ApplicableHeaderTradeAgreement>
        <ram:ApplicableHeaderTradeSettlement>{settlement}</ram:ApplicableHeaderTradeSettlement>
      </rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>""".encode()


def build_ubl(body: str, root: str = "Invoice") -> bytes:
    """Return a UBL document around a body with the prefixes b (basic) and a (aggregate)."""
    return f"""<{root} xmlns="urn:oasis:names:specification:ubl:schema:xsd:{root}-2"
      xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
      xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2">{body}</{root}>""".encode()


def parse_first_invoice(content: bytes) -> dict[str, Any]:
    invoice: dict[str, Any] = extract_einvoice_payload(parse_untrusted_xml(content))["invoices"][0]
    return invoice


def test_a_cii_invoice_gives_its_header_and_its_parties() -> None:
    payload = extract_einvoice_payload(
        parse_untrusted_xml(build_cii("<ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>"))
    )
    assert (payload["syntax"], payload["profile"], payload["source"]) == ("cii", "en16931", "xml")
    invoice = payload["invoices"][0]
    assert (invoice["invoice_number"], invoice["issue_date"], invoice["currency"]) == (
        "R-17",
        "2026-01-31",
        "EUR",
    )
    assert invoice["seller"] == {"name": "Bäckerei Ünal", "vat_id": "DE111", "tax_number": "12/345"}


def test_values_that_the_document_does_not_state_have_no_key() -> None:
    invoice = parse_first_invoice(build_cii())
    assert not {"due_date", "iban", "note", "totals", "taxes", "lines", "currency"} & invoice.keys()


def test_the_tax_total_is_the_one_in_the_document_currency() -> None:
    invoice = parse_first_invoice(
        build_cii("""<ram:TaxCurrencyCode>PLN</ram:TaxCurrencyCode>
      <ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>
      <ram:SpecifiedTradeSettlementHeaderMonetarySummation>
        <ram:TaxTotalAmount currencyID="PLN">81.70</ram:TaxTotalAmount>
        <ram:TaxTotalAmount currencyID="EUR">19.00</ram:TaxTotalAmount>
      </ram:SpecifiedTradeSettlementHeaderMonetarySummation>""")
    )
    assert invoice["totals"] == {"tax_total": "19.00", "tax_total_in_tax_currency": "81.70"}


def test_instalments_give_no_single_due_date() -> None:
    def build_payment_term(day: str) -> str:
        return f"""<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime>
          <udt:DateTimeString format="102">{day}</udt:DateTimeString></ram:DueDateDateTime>
          </ram:SpecifiedTradePaymentTerms>"""

    assert parse_first_invoice(build_cii(build_payment_term("20260215")))["due_date"] == "2026-02-15"
    assert "due_date" not in parse_first_invoice(
        build_cii(build_payment_term("20260215") + build_payment_term("20260315"))
    )


def test_texts_between_lines_are_not_lines() -> None:
    text = """<ram:IncludedSupplyChainTradeLineItem><ram:AssociatedDocumentLineDocument><ram:IncludedNote>
      <ram:Content>Thank you</ram:Content></ram:IncludedNote></ram:AssociatedDocumentLineDocument>
      <ram:SpecifiedLineTradeSettlement/></ram:IncludedSupplyChainTradeLineItem>"""
    line = """<ram:IncludedSupplyChainTradeLineItem><ram:AssociatedDocumentLineDocument>
      <ram:LineID>1</ram:LineID><ram:LineStatusReasonCode>GROUP</ram:LineStatusReasonCode>
      </ram:AssociatedDocumentLineDocument>
      <ram:SpecifiedTradeProduct><ram:Name>Bread</ram:Name></ram:SpecifiedTradeProduct>
      <ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="C62">3</ram:BilledQuantity>
      </ram:SpecifiedLineTradeDelivery></ram:IncludedSupplyChainTradeLineItem>"""
    invoice = parse_first_invoice(build_cii(lines=text + line))
    assert invoice["lines"] == [
        {"line_id": "1", "line_kind": "group", "description": "Bread", "quantity": "3", "unit": "C62"}
    ]
    assert invoice["line_texts"] == ["Thank you"]


def test_allowances_and_charges_are_distinguished() -> None:
    def build_allowance_charge(indicator: str, amount: str) -> str:
        return f"""<ram:SpecifiedTradeAllowanceCharge><ram:ChargeIndicator><udt:Indicator>{indicator}</udt:Indicator>
          </ram:ChargeIndicator><ram:ActualAmount>{amount}</ram:ActualAmount></ram:SpecifiedTradeAllowanceCharge>"""

    invoice = parse_first_invoice(
        build_cii(build_allowance_charge("false", "5.00") + build_allowance_charge("true", "7.00"))
    )
    assert (invoice["allowances"], invoice["charges"]) == ([{"amount": "5.00"}], [{"amount": "7.00"}])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('<udt:DateTimeString format="102">20260229</udt:DateTimeString>', "20260229"),  # there is no such day
        ('<udt:DateTimeString format="102">2026115</udt:DateTimeString>', "2026115"),  # 15 January or 5 November
        ('<udt:DateTimeString format="102">202611</udt:DateTimeString>', "202611"),
        ('<udt:DateTimeString format="203">202601312359</udt:DateTimeString>', "2026-01-31"),
        ('<udt:DateTimeString format="203">20260131235</udt:DateTimeString>', "20260131235"),
        ('<udt:DateTimeString format="204">2026013123595</udt:DateTimeString>', "2026013123595"),
        ('<udt:DateTimeString format="999">20260131</udt:DateTimeString>', "20260131"),
        ("<udt:DateTimeString>20260131</udt:DateTimeString>", "2026-01-31"),
        ("<udt:DateTime>2026-01-31T00:00:00Z</udt:DateTime>", "2026-01-31"),
        ("<udt:DateTimeString>31.01.2026</udt:DateTimeString>", "31.01.2026"),
    ],
)
def test_a_date_is_normalised_only_if_the_document_states_its_format(written: str, expected: str) -> None:
    assert parse_first_invoice(build_cii(issued=written))["issue_date"] == expected


def test_zugferd_1_is_read_by_its_own_names() -> None:
    payload = extract_einvoice_payload(
        parse_untrusted_xml(b"""<r:CrossIndustryDocument xmlns:r="urn:ferd:CrossIndustryDocument:invoice:1p0">
      <r:SpecifiedExchangedDocumentContext><GuidelineSpecifiedDocumentContextParameter>
        <ID>urn:ferd:CrossIndustryDocument:invoice:1p0:comfort</ID></GuidelineSpecifiedDocumentContextParameter>
      </r:SpecifiedExchangedDocumentContext>
      <r:HeaderExchangedDocument><ID>Z1</ID></r:HeaderExchangedDocument>
      <r:SpecifiedSupplyChainTradeTransaction><ApplicableSupplyChainTradeSettlement>
        <ApplicableTradeTax><ApplicablePercent>19.00</ApplicablePercent></ApplicableTradeTax>
        <SpecifiedTradeSettlementMonetarySummation><GrandTotalAmount currencyID="EUR">11.90</GrandTotalAmount>
        </SpecifiedTradeSettlementMonetarySummation></ApplicableSupplyChainTradeSettlement>
      </r:SpecifiedSupplyChainTradeTransaction></r:CrossIndustryDocument>""")
    )
    assert (payload["syntax"], payload["profile"]) == ("zugferd1", "comfort")
    assert payload["invoices"][0]["totals"] == {"tax_inclusive": "11.90"}
    assert payload["invoices"][0]["taxes"] == [{"rate": "19.00"}]
    assert payload["invoices"][0]["currency"] == "EUR"  # from the amounts, because there is no currency code


def test_a_ubl_credit_note_is_recognised_by_its_root_and_gives_credited_quantities() -> None:
    invoice = parse_first_invoice(build_ubl(
        """<b:ID>C1</b:ID><b:IssueDate>2026-01-31+01:00</b:IssueDate><b:DocumentCurrencyCode>EUR</b:DocumentCurrencyCode>
        <a:CreditNoteLine><b:ID>1</b:ID><b:CreditedQuantity unitCode="C62">2</b:CreditedQuantity>
        <b:LineExtensionAmount currencyID="EUR">4.00</b:LineExtensionAmount>
        <a:Item><b:Name>Cup</b:Name></a:Item></a:CreditNoteLine>""",
        root="CreditNote",
    ))  # fmt: skip
    assert (invoice["kind"], invoice["issue_date"]) == ("credit_note", "2026-01-31")
    assert invoice["lines"] == [
        {"line_id": "1", "description": "Cup", "quantity": "2", "unit": "C62", "net_amount": "4.00"}
    ]


def test_ubl_tax_totals_of_two_currencies_are_distinguished() -> None:
    invoice = parse_first_invoice(
        build_ubl("""<b:DocumentCurrencyCode>SEK</b:DocumentCurrencyCode>
      <a:TaxTotal><b:TaxAmount currencyID="EUR">2.50</b:TaxAmount></a:TaxTotal>
      <a:TaxTotal><b:TaxAmount currencyID="SEK">25.00</b:TaxAmount><a:TaxSubtotal>
        <b:TaxableAmount currencyID="SEK">100.00</b:TaxableAmount><b:TaxAmount currencyID="SEK">25.00</b:TaxAmount>
        <a:TaxCategory><b:ID>S</b:ID><b:Percent>25</b:Percent></a:TaxCategory></a:TaxSubtotal></a:TaxTotal>""")
    )
    assert invoice["totals"] == {"tax_total": "25.00", "tax_total_in_tax_currency": "2.50"}
    assert invoice["taxes"] == [{"category": "S", "rate": "25", "taxable_amount": "100.00", "tax_amount": "25.00"}]


def test_a_ubl_party_has_its_registered_name_and_ids_by_scheme() -> None:
    invoice = parse_first_invoice(
        build_ubl("""<a:AccountingSupplierParty><a:Party><b:EndpointID schemeID="EM">in@example.com</b:EndpointID>
      <a:PartyName><b:Name>Shop</b:Name></a:PartyName>
      <a:PartyTaxScheme><b:CompanyID>99</b:CompanyID><a:TaxScheme><b:ID>FC</b:ID></a:TaxScheme></a:PartyTaxScheme>
      <a:PartyTaxScheme><a:TaxScheme><b:ID>VAT</b:ID></a:TaxScheme></a:PartyTaxScheme>
      <a:PartyTaxScheme><b:CompanyID>SE11</b:CompanyID><a:TaxScheme><b:ID>VAT</b:ID></a:TaxScheme></a:PartyTaxScheme>
      <a:PartyLegalEntity><b:RegistrationName>Shop AB</b:RegistrationName></a:PartyLegalEntity>
      </a:Party></a:AccountingSupplierParty>""")
    )
    assert invoice["seller"] == {
        "name": "Shop AB", "trading_name": "Shop", "tax_number": "99", "vat_id": "SE11", "endpoint": "in@example.com",
    }  # fmt: skip


def test_prefixes_and_comments_do_not_matter() -> None:
    plain = build_cii("<ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>")
    renamed = plain.replace(b"ram:", b"x-1:").replace(b":ram", b":x-1").replace(b" R-17 ", b"R<!-- x -->-17")
    assert extract_einvoice_payload(parse_untrusted_xml(renamed)) == extract_einvoice_payload(
        parse_untrusted_xml(plain)
    )


@pytest.mark.parametrize("code", ["381", "83", "261", "262", "296", "308", "396", "420", "458", "532"])
def test_the_credit_note_codes_of_en_16931_are_credit_notes(code: str) -> None:
    assert classify_type_code(code) == "credit_note"


@pytest.mark.parametrize("code", ["380", "384", "389", "326", "751", None])
def test_other_codes_are_invoices(code: str | None) -> None:
    assert classify_type_code(code) == "invoice"


@pytest.mark.parametrize(
    ("urn", "profile"),
    [
        ("urn:factur-x.eu:1p0:minimum", "minimum"),
        ("urn:factur-x.eu:1p0:basicwl", "basic_wl"),
        ("urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic", "basic"),
        ("urn:cen.eu:en16931:2017", "en16931"),
        ("urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended", "extended"),
        ("urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0", "xrechnung"),
        ("urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0", "peppol"),
        (None, "other"),
    ],
)
def test_the_specification_decides_the_profile(urn: str | None, profile: str) -> None:
    assert classify_profile(urn) == profile


@pytest.mark.parametrize("root", ["<Invoice xmlns='http://www.ebinterface.at/schema/6p1/'/>", "<Order/>", "<Invoice/>"])
def test_the_root_of_another_format_has_no_syntax(root: str) -> None:
    assert find_einvoice_syntax(parse_untrusted_xml(root.encode())) is None


@given(st.text(max_size=30))
def test_a_text_that_is_not_a_date_is_unchanged(value: str) -> None:
    assert normalise_iso_date(value) == value or len(normalise_iso_date(value)) == 10


XML_TEXT = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")


@given(name=st.text(XML_TEXT, min_size=1, max_size=60))
def test_any_name_is_unchanged(name: str) -> None:
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    content = build_cii().replace("Bäckerei Ünal".encode(), escaped.encode())
    assert parse_first_invoice(content)["seller"].get("name") == (name.strip() or None)
