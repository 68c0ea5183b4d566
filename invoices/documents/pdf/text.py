"""The text layer of a PDF, bounded, and what it says the document is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

from invoices.documents.outcomes import Reading, because
from invoices.documents.vocabulary import heading, other_kind
from invoices.errors import DocumentError

PDF = "application/pdf"
READ_PAGES = 3
READ_CHARACTERS = 50_000
MAX_OBJECTS = 200_000
_ABSENCES = {"blank_page": "damaged_pdf", "no_invoice_text": None}
_LARGE_PICTURE = 0.15  # of the page: it may hold what the text does not say


def page_count(path: Path) -> int:
    """Return the number of pages, 0 where the PDF cannot be opened. Raises DocumentError ``encrypted``."""
    try:
        with pdfium.PdfDocument(path) as document:
            return len(document)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise DocumentError("a password is needed to open it", reason_code="encrypted") from error
        return 0


def read_text(path: Path, pages: int, *, is_sound: Callable[[], bool]) -> Reading:
    """Return ``not_invoice`` where the pages are blank or certainly another document's, else ``needs_extraction``.

    In a PDF that is not sound, what cannot be seen may only have been lost: an empty page is ``damaged_pdf``, and a
    text without an invoice's words decides nothing.
    """
    try:
        with pdfium.PdfDocument(path) as document:
            reason_code = _verdict(document)
    except pdfium.PdfiumError:
        reason_code = None if is_sound() else "damaged_pdf"
    if reason_code in _ABSENCES and not is_sound():
        reason_code = _ABSENCES[reason_code]
    if reason_code is None:
        return Reading("needs_extraction", PDF, pages)
    return because(reason_code, PDF, page_count=pages)


def _verdict(document: pdfium.PdfDocument) -> str | None:
    shown = [_read_page(document[index]) for index in range(min(len(document), READ_PAGES))]
    text = "\n".join(page_text for page_text, _, _ in shown)
    if not text.strip():
        return "blank_page" if len(document) == len(shown) and all(blank for _, blank, _ in shown) else None
    reason_code = other_kind(text)
    pictures = max(share for _, _, share in shown)
    if len(document) > len(shown):
        return None if reason_code == "no_invoice_text" else reason_code
    if reason_code is None and pictures == 0:
        return heading(text)
    return None if reason_code == "no_invoice_text" and pictures > _LARGE_PICTURE else reason_code


def _read_page(page: pdfium.PdfPage) -> tuple[str, bool, float]:
    """Return the page's text, whether nothing is on it, and the share of it that pictures cover."""
    try:
        textpage = page.get_textpage()
        try:
            text = textpage.get_text_range(0, min(textpage.count_chars(), READ_CHARACTERS), errors="replace")
        finally:
            textpage.close()
        objects = raw.FPDFPage_CountObjects(page)
        blank = objects == 0 and raw.FPDFPage_GetAnnotCount(page) == 0
        return text, blank, _picture_share(page, objects)
    finally:
        page.close()


def _picture_share(page: pdfium.PdfPage, objects: int) -> float:
    if objects > MAX_OBJECTS:
        return 1.0
    width, height = page.get_size()
    area = 0.0
    for picture in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = picture.get_bounds()
        area += max(0.0, right - left) * max(0.0, top - bottom)
    return float(area / max(1.0, width * height))
