"""A PDF as a reading: the e-invoice inside it, else what its text shows, else ``needs_extraction``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pikepdf

from invoices.documents.einvoice import extract_einvoice_payload, find_einvoice_syntax
from invoices.documents.einvoice.embedded_files import add_embedded_files
from invoices.documents.einvoice.payload_values import Record
from invoices.documents.outcomes import DocumentReading, build_reading, sanitise_for_display
from invoices.documents.pdf.attachments import extract_xml_attachments
from invoices.documents.pdf.risk_checks import apply_risk_checks
from invoices.documents.pdf.tolerated_errors import ignore_broken_pdf_errors, raise_if_out_of_memory
from invoices.documents.xml_reader import classify_non_invoice_xml, parse_received_xml
from invoices.errors import DocumentError

PDF_TYPE = "application/pdf"
MAX_PAGES = 200

# The names that Factur-X, ZUGFeRD and XRechnung prescribe, the newest first: the first one wins if two invoices agree.
_STANDARD_XML_NAMES = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml")

# If two e-invoices of one file differ in any of these, a person must decide.
_COMPARED_FIELDS = ("invoice_number", "issue_date", "currency", "kind")
_COMPARED_TOTALS = ("tax_exclusive", "tax_inclusive", "payable")


def read_pdf_document(path: Path) -> DocumentReading:
    """Return what a PDF is.

    Raises DocumentError: ``encrypted``, ``truncated``, ``damaged_pdf``, ``no_pages``, ``too_many_pages``,
    ``hostile_pdf``, ``malware_test``.
    """
    try:
        with pikepdf.open(path, suppress_warnings=True) as pdf:
            return apply_risk_checks(_read_open_pdf(pdf, path), pdf, path)
    except pikepdf.PasswordError as error:
        raise DocumentError("a password is needed to open it", reason_code="encrypted") from error
    except (pikepdf.PdfError, RuntimeError, ValueError) as error:  # ValueError: a number beyond 64 bits
        raise_if_out_of_memory(error)
        return _read_with_fallback_parser(path, error)


def _read_open_pdf(pdf: pikepdf.Pdf, path: Path) -> DocumentReading:
    """Return the e-invoice, even if the pages are broken; else the reading of the pages."""
    xml_reading = _find_embedded_einvoice(pdf)
    if xml_reading is not None and xml_reading.outcome == "einvoice":
        return replace(xml_reading, page_count=_count_pages(pdf))
    page_count = _get_valid_page_count(pdf)
    if xml_reading is not None and xml_reading.reason_code != "damaged_einvoice":
        return replace(xml_reading, media_type=PDF_TYPE, page_count=page_count)
    from invoices.documents.pdf import text_layer  # its library is only loaded for PDFs without an e-invoice

    text_reading = text_layer.classify_text_layer(path, page_count, is_intact=lambda: _is_intact_pdf(pdf))
    if xml_reading is not None and text_reading.outcome == "needs_extraction":
        return replace(xml_reading, page_count=page_count)
    return text_reading


def _count_pages(pdf: pikepdf.Pdf) -> int | None:
    """Return the number of pages by walking the tree, never /Count; None if the tree is broken."""
    with ignore_broken_pdf_errors():
        return len(pdf.pages)
    return None


def _get_valid_page_count(pdf: pikepdf.Pdf) -> int:
    page_count = _count_pages(pdf)
    if page_count is None:
        raise DocumentError("the pages of the PDF cannot be found", reason_code="damaged_pdf")
    if page_count == 0:
        raise DocumentError("the PDF has no page", reason_code="no_pages")
    return _check_page_limit(page_count)


def _check_page_limit(page_count: int) -> int:
    if page_count > MAX_PAGES:
        raise DocumentError(f"the PDF has {page_count} pages, more than {MAX_PAGES}", reason_code="too_many_pages")
    return page_count


def _is_intact_pdf(pdf: pikepdf.Pdf) -> bool:
    """Return whether a page that seems empty is empty: all of it decodes, and there is no XFA form."""
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary) and "/XFA" in form:
        return False
    with ignore_broken_pdf_errors():
        for page in pdf.pages:
            page.contents_coalesce()
            contents = page.obj.get("/Contents")
            if isinstance(contents, pikepdf.Stream):
                contents.read_bytes()
        return not pdf.get_warnings()
    return False


def _find_embedded_einvoice(pdf: pikepdf.Pdf) -> DocumentReading | None:
    """Return the reading of the XML inside, None if no attachment shows what the document is."""
    payloads, roots, other_readings, broken_attachment = [], [], [], None
    for name, content in extract_xml_attachments(pdf):
        try:
            root = parse_received_xml(content)
            payload = extract_einvoice_payload(root) if find_einvoice_syntax(root) else None
        except DocumentError as error:
            broken_attachment = (name, error)
            continue
        if payload is not None:
            origin = {"source": "pdf_attachment", "attachment_name": sanitise_for_display(name)}
            payloads.append({**payload, **origin})
            roots.append(root)
        else:
            other_readings.append(classify_non_invoice_xml(root))
    if payloads:
        reading = _choose_payload_or_report_conflict(payloads)
        chosen_roots = [root for root, payload in zip(roots, payloads, strict=True) if payload is reading.payload]
        return add_embedded_files(reading, chosen_roots[0]) if chosen_roots else reading
    if broken_attachment is not None and broken_attachment[0].lower() in _STANDARD_XML_NAMES:
        return build_reading(
            "damaged_einvoice",
            PDF_TYPE,
            f"the attachment {sanitise_for_display(broken_attachment[0])!r} is broken: {broken_attachment[1]}",
        )
    decisive_readings = [
        reading for reading in other_readings if reading.reason_code not in {"other_xml", "unsupported_type"}
    ]
    if not decisive_readings:
        return None
    if decisive_readings[0].reason_code == "unsupported_einvoice":  # a model can still read the page
        return replace(decisive_readings[0], outcome="needs_extraction")
    return decisive_readings[0]


def _choose_payload_or_report_conflict(payloads: list[Record]) -> DocumentReading:
    """Return the payload with the best attachment name, or ``conflicting_einvoices`` if two payloads differ."""
    best_payload = min(payloads, key=lambda payload: rank_attachment_name(payload["attachment_name"]))
    if any(_extract_compared_values(payload) != _extract_compared_values(best_payload) for payload in payloads):
        names = ", ".join(repr(sanitise_for_display(payload["attachment_name"])) for payload in payloads)
        return build_reading("conflicting_einvoices", PDF_TYPE, f"the invoices in {names} contradict each other")
    return DocumentReading("einvoice", PDF_TYPE, payload=best_payload)


def _extract_compared_values(payload: Record) -> list[object]:
    invoice = payload["invoices"][0]
    totals = [invoice.get("totals", {}).get(key) or "" for key in _COMPARED_TOTALS]
    fields = [invoice.get(key) for key in _COMPARED_FIELDS]
    # 10, 10.0 and 10.00 are the same amount.
    return [*fields, *(total.rstrip("0").rstrip(".") if "." in total else total for total in totals)]


def rank_attachment_name(name: str) -> int:
    """Return the rank of an attachment's name among those that hold the invoice, 0 for the best."""
    lower_name = name.lower()
    return _STANDARD_XML_NAMES.index(lower_name) if lower_name in _STANDARD_XML_NAMES else len(_STANDARD_XML_NAMES)


def _read_with_fallback_parser(path: Path, error: Exception) -> DocumentReading:
    """Return the reading of a PDF that pikepdf refused, by PDFium."""
    from invoices.documents.pdf import text_layer

    page_count = _check_page_limit(text_layer.count_pages(path))
    if page_count:
        return text_layer.classify_text_layer(path, page_count, is_intact=lambda: False)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2048))
        has_end_marker = b"%%EOF" in file.read()
    if has_end_marker:
        detail = str(error).replace(str(path), "").lstrip(" :")[:160]
        raise DocumentError(f"the PDF is broken: {detail}", reason_code="damaged_pdf") from error
    raise DocumentError("the PDF has no end: it is truncated", reason_code="truncated") from error
