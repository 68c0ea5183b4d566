"""A PDF as a reading: the e-invoice inside it, else what its text says it is, else a task for a model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pikepdf

from invoices.documents.einvoice import read_einvoice, syntax_of
from invoices.documents.einvoice.values import Record
from invoices.documents.outcomes import Reading, because, shown
from invoices.documents.pdf.attachments import xml_attachments
from invoices.documents.pdf.checks import examined
from invoices.documents.pdf.damage import forgiving, raise_if_out_of_memory
from invoices.documents.xml_documents import other_document, parse_received
from invoices.errors import DocumentError

PDF = "application/pdf"
MAX_PAGES = 200

# The names that Factur-X, ZUGFeRD and XRechnung prescribe, the newest first: they win where two invoices agree.
_NAMES = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml")

# Where two e-invoices of one file differ in any of these, a person must say which one holds.
_DECISIVE = ("invoice_number", "issue_date", "currency", "kind")
_DECISIVE_TOTALS = ("tax_exclusive", "tax_inclusive", "payable")


def read_pdf(path: Path) -> Reading:
    """Return what a PDF is.

    Raises DocumentError: ``encrypted``, ``truncated``, ``damaged_pdf``, ``no_pages``, ``too_many_pages``,
    ``hostile_pdf``, ``malware_test``.
    """
    try:
        with pikepdf.open(path, suppress_warnings=True) as pdf:
            return examined(_read_opened(pdf, path), pdf, path)
    except pikepdf.PasswordError as error:
        raise DocumentError("a password is needed to open it", reason_code="encrypted") from error
    except (pikepdf.PdfError, RuntimeError) as error:
        raise_if_out_of_memory(error)
        return _by_other_reader(path, error)


def _read_opened(pdf: pikepdf.Pdf, path: Path) -> Reading:
    """Return the e-invoice even of a PDF whose pages are broken; else what the pages say."""
    found = _einvoice(pdf)
    if found is not None and found.outcome == "einvoice":
        return replace(found, page_count=_page_count(pdf))
    pages = _checked_page_count(pdf)
    if found is not None and found.reason_code != "damaged_einvoice":
        return replace(found, media_type=PDF, page_count=pages)
    from invoices.documents.pdf import text as pdf_text  # its library is loaded for PDFs without an e-invoice only

    reading = pdf_text.read_text(path, pages, is_sound=lambda: _is_sound(pdf))
    return replace(found, page_count=pages) if found is not None and reading.outcome == "needs_extraction" else reading


def _page_count(pdf: pikepdf.Pdf) -> int | None:
    """Return the number of pages found by walking the tree, never /Count; None where the tree is broken."""
    with forgiving():
        return len(pdf.pages)
    return None


def _checked_page_count(pdf: pikepdf.Pdf) -> int:
    pages = _page_count(pdf)
    if pages is None:
        raise DocumentError("the pages of the PDF cannot be found", reason_code="damaged_pdf")
    if pages == 0:
        raise DocumentError("the PDF has no page", reason_code="no_pages")
    return _capped(pages)


def _capped(pages: int) -> int:
    if pages > MAX_PAGES:
        raise DocumentError(f"the PDF has {pages} pages, more than {MAX_PAGES}", reason_code="too_many_pages")
    return pages


def _is_sound(pdf: pikepdf.Pdf) -> bool:
    """Return whether a page that looks empty can be believed: all of it decodes, no XFA form hides there."""
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary) and "/XFA" in form:
        return False
    with forgiving():
        for page in pdf.pages:
            page.contents_coalesce()
            contents = page.obj.get("/Contents")
            if isinstance(contents, pikepdf.Stream):
                contents.read_bytes()
        return not pdf.get_warnings()
    return False


def _einvoice(pdf: pikepdf.Pdf) -> Reading | None:
    """Return the reading of the XML inside, None where no attachment says what the document is."""
    payloads, others, broken = [], [], None
    for name, content in xml_attachments(pdf):
        try:
            root = parse_received(content)
        except DocumentError as error:
            broken = (name, error)
            continue
        if syntax_of(root):
            payloads.append({**read_einvoice(root), "source": "pdf_attachment", "attachment_name": shown(name)})
        else:
            others.append(other_document(root))
    if payloads:
        return _agreed(payloads)
    if broken is not None and _is_invoice_name(broken[0]):
        return because("damaged_einvoice", PDF, f"the attachment {shown(broken[0])!r} is broken: {broken[1]}")
    telling = [other for other in others if other.reason_code not in {"other_xml", "unsupported_type"}]
    return _as_pdf(telling[0]) if telling else None


def _as_pdf(other: Reading) -> Reading:
    """Return the reading of a PDF whose XML is no invoice we read: an unknown dialect leaves the page to a model."""
    return replace(other, outcome="needs_extraction") if other.reason_code == "unsupported_einvoice" else other


def _agreed(payloads: list[Record]) -> Reading:
    """Return the payload under the best name, or ``conflicting_einvoices`` where two of them state different things."""
    best = min(payloads, key=lambda payload: _rank(payload["attachment_name"]))
    if any(_core(payload) != _core(best) for payload in payloads):
        names = ", ".join(repr(shown(payload["attachment_name"])) for payload in payloads)
        return because("conflicting_einvoices", PDF, f"the invoices in {names} contradict each other")
    return Reading("einvoice", PDF, payload=best)


def _core(payload: Record) -> list[object]:
    invoice = payload["invoices"][0]
    totals = invoice.get("totals", {})
    return [invoice.get(key) for key in _DECISIVE] + [_canonical(totals.get(key)) for key in _DECISIVE_TOTALS]


def _canonical(amount: str | None) -> str | None:
    """Return an amount so that 10, 10.0 and 10.00 are the same text."""
    return re.sub(r"\.?0+$", "", amount) if amount and "." in amount else amount


def _rank(name: str) -> int:
    folded = name.lower()
    return _NAMES.index(folded) if folded in _NAMES else len(_NAMES)


def _is_invoice_name(name: str) -> bool:
    return _rank(name) < len(_NAMES)


def _by_other_reader(path: Path, error: Exception) -> Reading:
    """Return what the second parser makes of a PDF that the first one refused."""
    from invoices.documents.pdf import text as pdf_text

    pages = _capped(pdf_text.page_count(path))
    if pages:
        return pdf_text.read_text(path, pages, is_sound=lambda: False)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2048))
        ended = b"%%EOF" in file.read()
    if ended:
        detail = str(error).replace(str(path), "").lstrip(" :")[:160]
        raise DocumentError(f"the PDF is broken: {detail}", reason_code="damaged_pdf") from error
    raise DocumentError("the PDF has no end: it is truncated", reason_code="truncated") from error
