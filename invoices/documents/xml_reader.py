"""An XML file as a reading: an e-invoice with its payload, an unsupported format, or another business document."""

from __future__ import annotations

import codecs
import re
from itertools import islice

from invoices.documents.einvoice import extract_einvoice_payload, find_einvoice_syntax, parse_untrusted_xml
from invoices.documents.einvoice.embedded_files import add_embedded_files
from invoices.documents.einvoice.xml_tree import Element, get_local_name, get_namespace
from invoices.documents.outcomes import DocumentReading, build_reading, sanitise_for_display
from invoices.errors import DocumentError

XML_TYPE = "application/xml"

_REASON_CODE_BY_ROOT_NAME = {
    "Order": "order", "OrderChange": "order", "OrderCancellation": "order", "CrossIndustryOrder": "order",
    "SCRDMCCBDACIOMessageStructure": "order", "OrderResponse": "order_response",
    "OrderResponseSimple": "order_response", "OrderAgreement": "order_response",
    "CrossIndustryOrderResponse": "order_response",
    "DespatchAdvice": "delivery", "ReceiptAdvice": "delivery", "Waybill": "delivery", "BillOfLading": "delivery",
    "ForwardingInstructions": "delivery", "PackingList": "delivery", "CrossIndustryDespatchAdvice": "delivery",
    "RemittanceAdvice": "payment", "Retenciones": "withholding", "Nomina": "payroll",
    "ApplicationResponse": "application_response", "CrossDomainAcknowledgementAndResponse": "application_response",
    "MessageLevelResponse": "application_response", "InvoiceResponse": "application_response",
    "NotificaScarto": "application_response", "RicevutaConsegna": "application_response",
    "NotificaMancataConsegna": "application_response", "NotificaEsito": "application_response",
    "AttestazioneTrasmissioneFattura": "application_response", "NotificaDecorrenzaTermini": "application_response",
    "FileMetadati": "application_response", "MetadatiInvioFile": "application_response",
    "Catalogue": "catalogue", "CatalogueRequest": "catalogue", "CatalogueItemSpecificationUpdate": "catalogue",
    "CataloguePricingUpdate": "catalogue", "CatalogueDeletion": "catalogue",
    "Quotation": "quotation", "RequestForQuotation": "quotation", "Statement": "statement", "Reminder": "reminder",
}  # fmt: skip

# Parts of a namespace or a root's name in lower case, and the format they belong to.
_UNSUPPORTED_FORMATS = (
    ("facturae", "Facturae"), ("ebinterface", "ebInterface"), ("crd.gov.pl", "KSeF"), ("isdoc", "ISDOC"),
    ("finvoice", "Finvoice"), ("cbfbuy", "ZUGFeRD release candidate"), ("gov.hu/osa", "NAV Online Számla"),
    ("ticketbai", "TicketBAI"), ("svefaktura", "Svefaktura"),
)  # fmt: skip

_INVOICE_NAME_PARTS = (
    "invoice", "creditnote", "attacheddocument", "debitnote",
    "faktur", "fattur", "factur", "rechnung", "fatura", "comprobante",
)  # fmt: skip

_MAX_SEARCHED_ELEMENTS = 2000
_ENCODING_DECLARATION = re.compile(rb"""\s*<\?xml\b[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_UTF8_ENCODINGS = {"utf-8", "utf8", "us-ascii", "ascii"}

# TipoDeComprobante of the Mexican CFDI (SAT, catalogue c_TipoDeComprobante): what is neither income nor its refund.
_CFDI_REASON_CODES = {
    "p": "payment", "pago": "payment", "n": "payroll", "nomina": "payroll", "t": "delivery", "traslado": "delivery",
}  # fmt: skip


def read_xml_document(content: bytes) -> DocumentReading:
    """Return what an XML file is. Raises DocumentError where it is hostile, malformed or too large."""
    root = parse_received_xml(content)
    invoice_elements = list_invoice_elements(root)
    if invoice_elements:
        payloads = [extract_einvoice_payload(element) for element in invoice_elements]
        all_invoices = [invoice for payload in payloads for invoice in payload["invoices"]]
        reading = DocumentReading("einvoice", XML_TYPE, payload={**payloads[0], "invoices": all_invoices})
        return add_embedded_files(reading, root)
    reading = classify_non_invoice_xml(root)
    return add_embedded_files(reading, root) if reading.reason_code == "unsupported_einvoice" else reading


def parse_received_xml(content: bytes) -> Element:
    """Return the root of received XML.

    Raises DocumentError as ``parse_untrusted_xml`` does, and ``encoding_mismatch`` if the content is not in its
    declared encoding: UTF-8 declared as another encoding would silently turn letters into others.
    """
    root = parse_untrusted_xml(content)
    declaration = _ENCODING_DECLARATION.match(content.removeprefix(codecs.BOM_UTF8))
    if declaration and _has_wrong_encoding_declaration(declaration[1].decode("ascii").lower(), content):
        raise DocumentError(
            f"the XML declares {sanitise_for_display(declaration[1].decode('ascii'))!r} but is in another encoding",
            reason_code="encoding_mismatch",
        )
    return root


def _has_wrong_encoding_declaration(encoding: str, content: bytes) -> bool:
    """Return whether content with an ASCII-readable declaration cannot be, or is surely not, in that encoding."""
    if encoding.startswith(("utf-16", "utf-32", "ucs-", "iso-10646-ucs")):
        return True
    if encoding in _UTF8_ENCODINGS or content.isascii():
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True  # text beyond ASCII is not valid UTF-8 by chance


def list_invoice_elements(root: Element) -> list[Element]:
    """Return the invoice itself, or those in an envelope such as Peppol's StandardBusinessDocument."""
    if find_einvoice_syntax(root):
        return [root]
    invoice_children = [child for child in root if find_einvoice_syntax(child)]
    return [
        child for child in invoice_children if find_einvoice_syntax(child) == find_einvoice_syntax(invoice_children[0])
    ]


def classify_non_invoice_xml(root: Element) -> DocumentReading:
    """Return the reading of well-formed XML that is not a supported invoice."""
    name, namespace_uri = get_local_name(root), get_namespace(root).casefold()
    if name == "Comprobante":
        return _classify_cfdi(root)
    if name == "Document" and "iso:std:iso:20022" in namespace_uri:  # camt is a statement, pain a payment
        return build_reading("statement" if "camt." in namespace_uri else "payment", XML_TYPE)
    if reason_code := _REASON_CODE_BY_ROOT_NAME.get(name):
        type_code = root.findtext("{*}ExchangedDocument/{*}TypeCode", "").strip()
        if reason_code == "order" and type_code == "231":  # UNTDID 1001: the order response of Order-X
            reason_code = "order_response"
        return build_reading(reason_code, XML_TYPE)
    if name == "svg":
        return build_reading("active_content", XML_TYPE)
    if name == "html":
        return build_reading("unsupported_type", XML_TYPE, "HTML files are not supported")
    searched_text = f"{namespace_uri} {name.casefold()}"
    known_format = next(
        (format_name for name_part, format_name in _UNSUPPORTED_FORMATS if name_part in searched_text), None
    )
    if known_format:
        return build_reading(
            "unsupported_einvoice", XML_TYPE, f"an invoice in the format {known_format}, which is not supported yet"
        )
    if any(name_part in name.casefold() for name_part in _INVOICE_NAME_PARTS):
        return build_reading(
            "unsupported_einvoice",
            XML_TYPE,
            f"an invoice in an unknown format, root element {sanitise_for_display(name)!r}",
        )
    first_elements = islice(root.iter("*"), _MAX_SEARCHED_ELEMENTS)
    if any(get_local_name(element).casefold().startswith(_INVOICE_NAME_PARTS) for element in first_elements):
        return build_reading(
            "unsupported_einvoice",
            XML_TYPE,
            f"XML that contains an invoice, root element {sanitise_for_display(name)!r}",
        )
    return build_reading(
        "other_xml", XML_TYPE, f"XML that is not an invoice, root element {sanitise_for_display(name)!r}"
    )


def _classify_cfdi(root: Element) -> DocumentReading:
    cfdi_type = (root.get("TipoDeComprobante") or root.get("tipoDeComprobante") or "").strip().casefold()
    if any(get_local_name(complement) == "Nomina" for complement in root.iterfind("{*}Complemento/*")):
        return build_reading("payroll", XML_TYPE)
    if reason_code := _CFDI_REASON_CODES.get(cfdi_type):
        return build_reading(reason_code, XML_TYPE)
    return build_reading(
        "unsupported_einvoice", XML_TYPE, "a CFDI of a version or type (TipoDeComprobante) that is not supported"
    )
