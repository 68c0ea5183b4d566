"""Untrusted XML: what is refused, and how other business documents are classified."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.einvoice import parse_untrusted_xml
from invoices.documents.outcomes import REASON_CODES, build_reading, sanitise_for_display
from invoices.documents.xml_reader import read_xml_document
from invoices.errors import DocumentError

CFDI_NAMESPACE = "http://www.sat.gob.mx/cfd/4"


def get_reason_code(content: bytes) -> str:
    with pytest.raises(DocumentError) as error_info:
        parse_untrusted_xml(content)
    return error_info.value.reason_code


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<?xml version="1.0"?>\n<!-- c -->\n<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]><a/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>" * 101 + b"</a>" * 101,
        b"<a>" * 5000 + b"</a>" * 5000,
        b"<!--" + b"x" * 300_000 + b"--><!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
    ],
)
def test_hostile_xml_is_refused(content: bytes) -> None:
    assert get_reason_code(content) == "hostile_xml"


@pytest.mark.parametrize(
    "content", [b"<a>", b"<a></b>", b"<a>\x00</a>", b"<a>&undeclared;</a>", b"not xml", b"<a/><b/>"]
)
def test_malformed_xml_is_refused(content: bytes) -> None:
    assert get_reason_code(content) == "malformed_xml"


def test_a_document_of_too_many_elements_is_too_large() -> None:
    assert get_reason_code(b"<a>" + b"<b/>" * 500_001 + b"</a>") == "too_large"


def test_a_document_type_inside_a_text_is_only_text() -> None:
    content = b"<a><![CDATA[<!DOCTYPE html><html>]]></a>"
    assert parse_untrusted_xml(content).text == "<!DOCTYPE html><html>"


def test_an_invalid_xml_declaration_is_tolerated() -> None:
    assert parse_untrusted_xml('<?xml version="1.0" encoding="UTF-8-W/O-BOM"?><a>ü</a>'.encode()).text == "ü"


def test_an_include_is_not_followed() -> None:
    root = parse_untrusted_xml(
        b'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></a>'
    )
    assert "root:" not in "".join(root.itertext())


@pytest.mark.parametrize(
    ("content", "reason_code"),
    [
        ("<Order xmlns='urn:oasis:names:specification:ubl:schema:xsd:Order-2'/>", "order"),
        ("<r:SCRDMCCBDACIOMessageStructure xmlns:r='urn:x'/>", "order"),
        ("<r:SCRDMCCBDACIOMessageStructure xmlns:r='urn:x'><r:ExchangedDocument><r:TypeCode>231</r:TypeCode>"
         "</r:ExchangedDocument></r:SCRDMCCBDACIOMessageStructure>", "order_response"),
        ("<DespatchAdvice/>", "delivery"),
        ("<ApplicationResponse/>", "application_response"),
        ("<CrossDomainAcknowledgementAndResponse/>", "application_response"),
        ("<Catalogue/>", "catalogue"),
        ("<Quotation/>", "quotation"),
        ("<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'/>", "statement"),
        ("<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.001.001.09'/>", "payment"),
        (f"<Comprobante xmlns='{CFDI_NAMESPACE}' TipoDeComprobante='P'/>", "payment"),
        (f"<Comprobante xmlns='{CFDI_NAMESPACE}' TipoDeComprobante='N'/>", "payroll"),
        (f"<Comprobante xmlns='{CFDI_NAMESPACE}' TipoDeComprobante='T'/>", "delivery"),
        (f"<c:Comprobante xmlns:c='{CFDI_NAMESPACE}' TipoDeComprobante='I'><c:Complemento><Nomina xmlns='urn:n'/>"
         "</c:Complemento></c:Comprobante>", "payroll"),
        ("<Retenciones xmlns='http://www.sat.gob.mx/esquemas/retencionpago/2'/>", "withholding"),
        ("<rss/>", "other_xml"),
    ],
)  # fmt: skip
def test_other_documents_are_recognised(content: str, reason_code: str) -> None:
    reading = read_xml_document(content.encode())
    assert (reading.outcome, reading.reason_code) == ("not_invoice", reason_code)


@pytest.mark.parametrize(
    ("content", "format_name"),
    [
        (f"<Comprobante xmlns='{CFDI_NAMESPACE}' TipoDeComprobante='X'/>", "CFDI"),
        ("<Comprobante xmlns='http://www.sat.gob.mx/cfd/2' tipoDeComprobante='egreso'/>", "CFDI"),
        ("<Facturae xmlns='http://www.facturae.gob.es/formato/Versiones/Facturaev4_0.xml'/>", "Facturae"),
        ("<Invoice xmlns='http://www.ebinterface.at/schema/6p1/'/>", "ebInterface"),
        ("<Faktura xmlns='http://crd.gov.pl/wzor/2021/11/29/11089/'/>", "KSeF"),
        ("<MyInvoice/>", "MyInvoice"),
    ],
)
def test_invoices_in_unsupported_formats_go_to_review_with_the_name_of_the_format(
    content: str, format_name: str
) -> None:
    reading = read_xml_document(content.encode())
    assert (reading.outcome, reading.reason_code) == ("review", "unsupported_einvoice")
    assert format_name in str(reading.reason)


def test_an_invoice_in_an_envelope_is_read() -> None:
    space = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
    invoice_xml = f"<Invoice xmlns='{space}'><ID>1</ID></Invoice>"
    envelope = "<s:StandardBusinessDocument xmlns:s='urn:s'><s:Header/>{}</s:StandardBusinessDocument>"
    content = envelope.format(invoice_xml + invoice_xml)
    reading = read_xml_document(content.encode())
    assert reading.outcome == "einvoice"
    assert [invoice["invoice_number"] for invoice in (reading.payload or {})["invoices"]] == ["1", "1"]


def test_xml_that_mentions_an_invoice_is_not_dismissed() -> None:
    assert (
        read_xml_document(b"<Envelope><Body><InvoiceHeader/></Body></Envelope>").reason_code == "unsupported_einvoice"
    )


def test_every_reason_code_has_a_reading() -> None:
    for reason_code, (outcome, meaning) in REASON_CODES.items():
        reading = build_reading(reason_code, "application/pdf")
        assert (reading.outcome, reading.reason) == (outcome, meaning)


def test_hostile_text_in_a_reason_is_escaped_and_bounded() -> None:
    assert sanitise_for_display("a\x1b[31m\u202eb\r\n") == "a\\x1b[31m\\u202eb\\r\\n"
    assert len(str(build_reading("other_xml", "application/xml", "x" * 5000).reason)) == 300


@given(st.text(max_size=300))
def test_sanitised_text_is_printable(text: str) -> None:
    assert sanitise_for_display(text).isprintable()


@given(st.binary(max_size=300))
def test_bytes_either_parse_or_raise_a_document_error(content: bytes) -> None:
    with contextlib.suppress(DocumentError):
        parse_untrusted_xml(content)
