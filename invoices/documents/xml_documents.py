"""An XML file as a reading: an e-invoice with its payload, a format not read yet, or another business document."""

from __future__ import annotations

import codecs
import re
from itertools import islice

from invoices.documents.einvoice import parse_xml, read_einvoice, syntax_of
from invoices.documents.einvoice.tree import Element, local_name, namespace
from invoices.documents.outcomes import Reading, because, shown
from invoices.errors import DocumentError

XML = "application/xml"

_ROOTS = {
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

# Parts of a namespace or a root's name, folded, and the format they betray.
_FORMATS = (
    ("fatturapa", "FatturaPA"), ("ivaservizi.agenziaentrate", "FatturaPA"), ("fatturaelettronica", "FatturaPA"),
    ("facturae", "Facturae"), ("ebinterface", "ebInterface"), ("crd.gov.pl", "KSeF"), ("isdoc", "ISDOC"),
    ("finvoice", "Finvoice"), ("cbfbuy", "ZUGFeRD release candidate"), ("gov.hu/osa", "NAV Online Számla"),
    ("ticketbai", "TicketBAI"), ("svefaktura", "Svefaktura"),
)  # fmt: skip

_INVOICE_NAMES = (
    "invoice", "creditnote", "attacheddocument", "debitnote",
    "faktur", "fattur", "factur", "rechnung", "fatura", "comprobante",
)  # fmt: skip

_LOOKED_AT = 2000  # elements
_DECLARED = re.compile(rb"""\s*<\?xml\b[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_PLAIN = {"utf-8", "utf8", "us-ascii", "ascii"}

# TipoDeComprobante of the Mexican CFDI (SAT, catalogue c_TipoDeComprobante): what is neither income nor its refund.
_CFDI_TYPES = {
    "p": "payment", "pago": "payment", "n": "payroll", "nomina": "payroll", "t": "delivery", "traslado": "delivery",
}  # fmt: skip


def read_xml(content: bytes) -> Reading:
    """Return what an XML file is. Raises DocumentError where it is hostile, malformed or too large."""
    root = parse_received(content)
    carried = _carried(root)
    if carried:
        payloads = [read_einvoice(element) for element in carried]
        together = [invoice for payload in payloads for invoice in payload["invoices"]]
        return Reading("einvoice", XML, payload={**payloads[0], "invoices": together})
    return other_document(root)


def parse_received(content: bytes) -> Element:
    """Return the root of XML that somebody sent us.

    Raises DocumentError as ``parse_xml`` does, and ``encoding_mismatch`` where it is written otherwise than it says:
    as UTF-8 though it names another encoding, which would turn letters into others without a word.
    """
    root = parse_xml(content)
    declared = _DECLARED.match(content.removeprefix(codecs.BOM_UTF8))
    if declared and _contradicts(declared[1].decode("ascii").lower(), content):
        raise DocumentError(
            f"the XML says {shown(declared[1].decode('ascii'))!r} and is written in another encoding",
            reason_code="encoding_mismatch",
        )
    return root


def _contradicts(encoding: str, content: bytes) -> bool:
    """Return whether bytes whose declaration is readable as ASCII cannot be, or surely are not, in that encoding."""
    if encoding.startswith(("utf-16", "utf-32", "ucs-", "iso-10646-ucs")):
        return True
    if encoding in _PLAIN or content.isascii():
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True  # letters beyond ASCII that are UTF-8 by chance do not occur in a text of any length


def _carried(root: Element) -> list[Element]:
    """Return the invoice itself, or those in an envelope such as Peppol's StandardBusinessDocument."""
    if syntax_of(root):
        return [root]
    inside = [child for child in root if syntax_of(child)]
    return [child for child in inside if syntax_of(child) == syntax_of(inside[0])]


def other_document(root: Element) -> Reading:
    """Return the reading of a well-formed document that is no invoice we can read."""
    name, space = local_name(root), namespace(root).casefold()
    if name == "Comprobante":
        return _cfdi(root)
    if reason_code := _ROOTS.get(name) or _bank_message(name, space):
        return because(_refined(reason_code, root), XML)
    if name == "svg":
        return because("active_content", XML)
    if name == "html":
        return because("unsupported_type", XML, "an html file is not read here")
    written = f"{space} {name.casefold()}"
    known = next((title for part, title in _FORMATS if part in written), None)
    if known:
        return because("unsupported_einvoice", XML, f"an invoice in the format {known}, which is not read yet")
    if any(part in name.casefold() for part in _INVOICE_NAMES):
        return because("unsupported_einvoice", XML, f"an invoice in an unknown format, root element {shown(name)!r}")
    if _mentions_invoice(root):
        return because("unsupported_einvoice", XML, f"XML with an invoice inside, root element {shown(name)!r}")
    return because("other_xml", XML, f"XML that is no invoice, root element {shown(name)!r}")


def _mentions_invoice(root: Element) -> bool:
    """Return whether an element among the first ones is named like an invoice: better a person than a loss."""
    names = (local_name(element).casefold() for element in islice(root.iter("*"), _LOOKED_AT))
    return any(name.startswith(_INVOICE_NAMES) for name in names)


def _cfdi(root: Element) -> Reading:
    kind = (root.get("TipoDeComprobante") or root.get("tipoDeComprobante") or "").strip().casefold()
    if any(local_name(part) == "Nomina" for part in root.iterfind("{*}Complemento/*")):
        return because("payroll", XML)
    if reason_code := _CFDI_TYPES.get(kind):
        return because(reason_code, XML)
    return because("unsupported_einvoice", XML, "an invoice in the format CFDI, which is not read yet")


def _bank_message(name: str, space: str) -> str | None:
    """Return the reason for an ISO 20022 message: camt is a statement, pain a payment."""
    if name != "Document" or "iso:std:iso:20022" not in space:
        return None
    return "statement" if "camt." in space else "payment"


def _refined(reason_code: str, root: Element) -> str:
    """Return ``order_response`` for an Order-X message whose type code (UNTDID 1001) is 231."""
    if reason_code == "order" and root.findtext("{*}ExchangedDocument/{*}TypeCode", "").strip() == "231":
        return "order_response"
    return reason_code
