"""Structured e-invoices as one payload: UBL 2, CII, ZUGFeRD 1, and national formats.

``extract_einvoice_payload(root)`` returns a JSON-ready record. All values are strings as the document states them,
trimmed; what it does not state has no key; dates are YYYY-MM-DD if the document states their format::

    {"syntax": "cii|zugferd1|ubl|cfdi|facturae|fatturapa|ksef", "specification": "<BT-24>, or a national version",
     "profile": "en16931|xrechnung|…|cfdi_4.0", "source": "xml|pdf_attachment", "attachment_name": …,
     "doubts": {…} (of ``pdf.risk_checks``, ``embedded_threats``), "attachments": names of the files inside BT-125,
     "invoices": [{
        "invoice_number" BT-1, "invoice_series" (the number is unique in it), "fiscal_id" (by a tax authority),
        "true" where it is so: "is_unstamped" (the authority's stamp is missing), "is_copy", "replaces_earlier" (states
        all of an earlier invoice anew); "batch_difference" (what the head of a batch says otherwise),
        "issue_date" BT-2, "type_code" BT-3, "kind": "invoice|credit_note", "currency" BT-5,
        "tax_currency" BT-6, "due_date" BT-9, "buyer_reference" BT-10, "order_number" BT-13,
        "payment_terms" BT-20,
        "note" BT-22, "delivery_date" BT-72, "period_start" BT-73, "period_end" BT-74, "payee_name" BT-59,
        "iban" BT-84, the first, "payment_means" BG-16: [{"code" BT-81, "reference" BT-83, "iban" BT-84,
            "account_name" BT-85, "bic" BT-86}],
        "seller" BG-4, "buyer" BG-7: {"name", "trading_name", "vat_id", "tax_number", "legal_id", "country", "city",
            "postcode", "line1", "email", "endpoint"},
        "totals": {"line_total" BT-106, "allowance_total" BT-107, "charge_total" BT-108, "tax_exclusive" BT-109,
            "tax_total" BT-110, "tax_total_in_tax_currency" BT-111, "tax_inclusive" BT-112, "prepaid" BT-113,
            "rounding" BT-114, "payable" BT-115; of national formats: "other_taxes" (in the total, not in tax_total),
            "withheld" (tax that the buyer pays to the tax authority), "withheld_in_total" (the part of it that
            tax_inclusive does not include), "added_after_total" (to the amount due; negative: kept back)},
        "taxes" BG-23: [{"category", "rate", "is_without_rate" ("true": no single percentage), "taxable_amount",
            "tax_amount", "exemption_reason", "exemption_code"}],
        "withholdings": [{"category", "rate", "taxable_amount", "amount"}] of totals.withheld,
        "preceding_invoices" BG-3: [{"number", "issue_date", "fiscal_id", "relation"}],
        "unread_parts": names of parts that are not read,
        "allowances" BG-20, "charges" BG-21: [{"amount", "base_amount", "percentage", "reason", "reason_code",
            "tax_category", "tax_rate"}],
        "line_texts": the lines of ZUGFeRD 1 that are only text,
        "lines" BG-25: [{"line_id", "item_id" BT-155, "parent_line_id", "line_kind" (detail, group, information),
            "description" BT-153, "details" BT-154, "note" BT-127, "quantity" BT-129, "unit" BT-130,
            "unit_price" BT-146, "gross_price" BT-148, "price_base_quantity" BT-149,
            "net_amount" BT-131, "tax_category", "tax_rate", "allowances" BG-27, "charges" BG-28, "order_line" BT-132,
            "correction_state" ("before": a line before its correction, with the opposite signs), "gross_amount",
            "gross_unit_price" (with tax), "sub_lines" (XRechnung extension)}]}]}

Only FatturaPA states: ``contract_number``, ``tender_ids`` (CIG), ``project_ids`` (CUP), ``delivery_notes``
[{"number", "date"}], ``tax_representative`` BG-11 (a party), ``issued_by`` (CC: the buyer, TZ: a third party),
``stamp_duty``, ``withholdings`` [{"amount", "rate", "type"}], ``payments`` [{"conditions", "means_code", "due_date",
"days", "days_from", "amount", "iban", "bic", "payee_name", "reference"}]; of a party ``tax_regime`` and ``region``;
of a tax ``tax_due`` (I, D, S: paid by the buyer), ``rounding``, ``incidental_expenses``; ``exemption_code`` (Natura)
also of charges and lines; of a line ``price_adjustments`` [{"type" (SC, MG), "percentage", "amount"}] for one unit,
``charge_type``, ``item_id``, ``is_withheld``, ``period_start``, ``period_end``, and in the simplified format
``gross_amount`` (with tax) and ``tax_amount``.
"""

from __future__ import annotations

from typing import Protocol

from invoices.documents.einvoice import cfdi, cii, facturae, fatturapa, ksef, ubl
from invoices.documents.einvoice.payload_values import Record, classify_profile
from invoices.documents.einvoice.ubl_relatives import find_ubl_profile
from invoices.documents.einvoice.xml_tree import (
    Element,
    drop_absent_values,
    drop_namespaces,
    get_local_name,
    get_namespace,
    parse_untrusted_xml,
)
from invoices.errors import DocumentError

__all__ = ["extract_einvoice_payload", "find_einvoice_syntax", "parse_untrusted_xml"]


class SyntaxReader(Protocol):
    """A module that reads one syntax; the tree has no namespaces."""

    def find_specification_id(self, root: Element) -> str | None:
        """Return the specification identifier (BT-24), or the version of a national format."""

    def extract_invoices(self, root: Element) -> list[Record]:
        """Return the invoices of the document."""


_SYNTAX_BY_ROOT = {
    ("CrossIndustryInvoice", "urn:un:unece:uncefact:data:standard:crossindustryinvoice"): "cii",
    ("CrossIndustryDocument", "urn:ferd:crossindustrydocument:invoice"): "zugferd1",
    ("Invoice", "urn:oasis:names:specification:ubl:schema:xsd:invoice-2"): "ubl",
    ("CreditNote", "urn:oasis:names:specification:ubl:schema:xsd:creditnote-2"): "ubl",
    ("Comprobante", "http://www.sat.gob.mx/cfd/3"): "cfdi",
    ("Comprobante", "http://www.sat.gob.mx/cfd/4"): "cfdi",
    ("Facturae", "http://www.facturae.es/facturae/"): "facturae",  # 3.0 to 3.2.1
    ("Facturae", "http://www.facturae.gob.es/formato/versiones/facturaev3_"): "facturae",  # 3.2.2
    **{("Faktura", namespace): "ksef" for namespace in ksef.NAMESPACES},
}
# The versions of national formats, which make their profiles: cfdi_4.0.
_VERSIONS_BY_SYNTAX = {
    "ksef": frozenset({"FA (2)", "FA (3)"}),
    "cfdi": frozenset({"3.2", "3.3", "4.0"}),
    "facturae": frozenset({"3.0", "3.1", "3.2", "3.2.1", "3.2.2"}),
}
_READER_BY_SYNTAX: dict[str, SyntaxReader] = {
    "cii": cii,
    "zugferd1": cii,
    "ubl": ubl,
    "cfdi": cfdi,
    "facturae": facturae,
    "fatturapa": fatturapa,
    "ksef": ksef,
}


def find_einvoice_syntax(root: Element) -> str | None:
    """Return the syntax (a key of ``_READER_BY_SYNTAX``) of the root of a supported invoice, else None.

    FatturaPA is recognised by its root's name alone: its namespace has changed often, and vendors use their own.
    """
    name, namespace_uri = get_local_name(root), get_namespace(root).casefold()
    if name in fatturapa.ROOT_NAMES:
        return "fatturapa"
    for (root_name, namespace_prefix), syntax in _SYNTAX_BY_ROOT.items():
        if name == root_name and namespace_uri.startswith(namespace_prefix):
            return syntax if syntax != "cfdi" or cfdi.is_cfdi_invoice(root) else None
    return None


def extract_einvoice_payload(root: Element) -> Record:
    """Return the payload of an invoice whose syntax is supported; removes the namespaces of the tree.

    ``source`` is ``xml``; the caller replaces it if the XML came out of a PDF. Raises DocumentError
    (``unsupported_einvoice``) for any other root, and for a batch without an invoice.
    """
    syntax = find_einvoice_syntax(root)
    if syntax is None:
        raise DocumentError("not an invoice in a supported format", reason_code="unsupported_einvoice")
    drop_namespaces(root, cii.CII_NAME_BY_ZUGFERD1_NAME if syntax == "zugferd1" else None)
    syntax_reader = _READER_BY_SYNTAX[syntax]
    specification, invoices = syntax_reader.find_specification_id(root), syntax_reader.extract_invoices(root)
    if not invoices:
        raise DocumentError("the file has no invoice", reason_code="unsupported_einvoice")
    return drop_absent_values({
        "syntax": syntax,
        "specification": specification,
        "profile": _find_profile(root, syntax, specification),
        "source": "xml",
        "invoices": invoices,
    })  # fmt: skip


def _find_profile(root: Element, syntax: str, specification: str | None) -> str:
    if syntax == "ubl":
        return find_ubl_profile(root)
    if syntax == "fatturapa":
        return fatturapa.classify_fatturapa_profile(root)
    if syntax not in _VERSIONS_BY_SYNTAX:
        return classify_profile(specification)
    if specification not in _VERSIONS_BY_SYNTAX[syntax]:
        return "other"
    return f"{syntax}_{specification}".replace(" ", "").lower()
