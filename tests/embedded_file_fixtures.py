"""E-invoices of several formats with files inside them, made from the public schemas' facts."""

from __future__ import annotations

import base64
from collections.abc import Sequence

EmbeddedFileSpec = tuple[str, str, bytes]  # name, declared media type, content

_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"


def build_ubl_invoice(*files: EmbeddedFileSpec, number: str = "E-1", extra: str = "") -> bytes:
    """Return a UBL invoice with the files as BT-125."""
    references = "".join(
        f"<a:AdditionalDocumentReference><b:ID>{name}</b:ID><a:Attachment><b:EmbeddedDocumentBinaryObject "
        f'mimeCode="{media_type}" filename="{name}">{encode_base64(content)}</b:EmbeddedDocumentBinaryObject>'
        "</a:Attachment></a:AdditionalDocumentReference>"
        for name, media_type, content in files
    )
    return (
        f'<Invoice xmlns="{_UBL}Invoice-2" xmlns:b="{_UBL}CommonBasicComponents-2" '
        f'xmlns:a="{_UBL}CommonAggregateComponents-2"><b:ID>{number}</b:ID><b:IssueDate>2026-03-04</b:IssueDate>'
        f"<b:DocumentCurrencyCode>EUR</b:DocumentCurrencyCode>{references}{extra}<a:LegalMonetaryTotal>"
        '<b:PayableAmount currencyID="EUR">119.10</b:PayableAmount></a:LegalMonetaryTotal></Invoice>'
    ).encode()


def build_cii_invoice(files: Sequence[EmbeddedFileSpec]) -> bytes:
    """Return a CII invoice with the files as BT-125."""
    namespace = "urn:un:unece:uncefact:data:standard:"
    references = "".join(
        f"<r:AdditionalReferencedDocument><r:IssuerAssignedID>{name}</r:IssuerAssignedID><r:TypeCode>916</r:TypeCode>"
        f'<r:AttachmentBinaryObject mimeCode="{media_type}">{encode_base64(content)}</r:AttachmentBinaryObject>'
        "</r:AdditionalReferencedDocument>"
        for name, media_type, content in files
    )
    return (
        f'<c:CrossIndustryInvoice xmlns:c="{namespace}CrossIndustryInvoice:100" '
        f'xmlns:r="{namespace}ReusableAggregateBusinessInformationEntity:100"><c:ExchangedDocument>'
        "<r:ID>E-2</r:ID></c:ExchangedDocument><c:SupplyChainTradeTransaction><r:ApplicableHeaderTradeAgreement>"
        f"{references}</r:ApplicableHeaderTradeAgreement></c:SupplyChainTradeTransaction></c:CrossIndustryInvoice>"
    ).encode()


def build_fatturapa_invoice(files: Sequence[EmbeddedFileSpec]) -> bytes:
    """Return a FatturaPA invoice with the files as ``Allegati`` (2.5)."""
    attachments = "".join(
        f"<Allegati><NomeAttachment>{name}</NomeAttachment><FormatoAttachment>{media_type}</FormatoAttachment>"
        f"<Attachment>{encode_base64(content)}</Attachment></Allegati>"
        for name, media_type, content in files
    )
    return (
        '<p:FatturaElettronica versione="FPR12" '
        'xmlns:p="http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2"><FatturaElettronicaHeader/>'
        f"<FatturaElettronicaBody>{attachments}</FatturaElettronicaBody></p:FatturaElettronica>"
    ).encode()


def build_cfdi_invoice(files: Sequence[EmbeddedFileSpec]) -> bytes:
    """Return a CFDI invoice with the files as base64 in its ``Addenda``."""
    texts = "".join(f'<x:Doc fileName="{name}">{encode_base64(content)}</x:Doc>' for name, _, content in files)
    return (
        '<cfdi:Comprobante xmlns:cfdi="http://www.sat.gob.mx/cfd/4" Version="4.0" TipoDeComprobante="I">'
        f'<cfdi:Addenda><x:Docs xmlns:x="urn:made-up">{texts}<x:Note>{"A" * 400}</x:Note></x:Docs></cfdi:Addenda>'
        "</cfdi:Comprobante>"
    ).encode()


def build_facturae_invoice(files: Sequence[EmbeddedFileSpec]) -> bytes:
    """Return a Facturae invoice with the files as ``AttachmentData``."""
    attachments = "".join(
        f"<Attachment><AttachmentFormat>{media_type.rpartition('/')[2]}</AttachmentFormat>"
        f"<AttachmentDescription>{name}</AttachmentDescription>"
        f"<AttachmentData>{encode_base64(content)}</AttachmentData></Attachment>"
        for name, media_type, content in files
    )
    return (
        '<fe:Facturae xmlns:fe="http://www.facturae.gob.es/formato/Versiones/Facturaev3_2_2.xml"><Invoices><Invoice>'
        f"<AdditionalData><RelatedDocuments>{attachments}</RelatedDocuments></AdditionalData></Invoice></Invoices>"
        "</fe:Facturae>"
    ).encode()


def encode_base64(content: bytes) -> str:
    """Return base64 in lines of 76 characters, as many programs write it."""
    return base64.encodebytes(content).decode("ascii")
