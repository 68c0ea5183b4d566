"""The text layer of a PDF, bounded, and the classification of the document by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

from invoices.documents.outcomes import DocumentReading, build_reading
from invoices.documents.text_classification import classify_by_heading_line, classify_non_invoice_text
from invoices.errors import DocumentError

PDF_TYPE = "application/pdf"
MAX_READ_PAGES = 3
MAX_CHARS_PER_PAGE = 50_000
MAX_OBJECTS_PER_PAGE = 200_000
_REASON_CODE_IF_DAMAGED = {"blank_page": "damaged_pdf", "no_invoice_text": None}
_MIN_LARGE_IMAGE_SHARE = 0.15  # of the page: such a picture may show what the text lacks


def count_pages(path: Path) -> int:
    """Return the number of pages, 0 if the PDF cannot be opened. Raises DocumentError ``encrypted``."""
    try:
        with pdfium.PdfDocument(path) as document:
            return len(document)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise DocumentError("a password is needed to open it", reason_code="encrypted") from error
        return 0


def classify_text_layer(path: Path, page_count: int, *, is_intact: Callable[[], bool]) -> DocumentReading:
    """Return why the pages are no readable invoice, else ``needs_extraction``.

    The reason codes are ``blank_page``, ``damaged_pdf`` and those of another document. In a PDF that is not intact,
    content may have been lost: an empty page is ``damaged_pdf``, and a text without an invoice's words decides nothing.
    """
    try:
        with pdfium.PdfDocument(path) as document:
            reason_code = _classify_document_text(document)
    except pdfium.PdfiumError:
        reason_code = None if is_intact() else "damaged_pdf"
    if reason_code in _REASON_CODE_IF_DAMAGED and not is_intact():
        reason_code = _REASON_CODE_IF_DAMAGED[reason_code]
    if reason_code is None:
        return DocumentReading("needs_extraction", PDF_TYPE, page_count)
    return build_reading(reason_code, PDF_TYPE, page_count=page_count)


def _classify_document_text(document: pdfium.PdfDocument) -> str | None:
    page_contents = [_read_page_content(document[index]) for index in range(min(len(document), MAX_READ_PAGES))]
    text = "\n".join(page_text for page_text, _, _ in page_contents)
    if not text.strip():
        is_blank_document = len(document) == len(page_contents) and all(is_blank for _, is_blank, _ in page_contents)
        return "blank_page" if is_blank_document else None
    reason_code = classify_non_invoice_text(text)
    max_image_share = max(image_share for _, _, image_share in page_contents)
    if len(document) > len(page_contents):
        return None if reason_code == "no_invoice_text" else reason_code
    if reason_code is None and max_image_share == 0:
        return classify_by_heading_line(text)
    return None if reason_code == "no_invoice_text" and max_image_share > _MIN_LARGE_IMAGE_SHARE else reason_code


def _read_page_content(page: pdfium.PdfPage) -> tuple[str, bool, float]:
    """Return the page's text, whether the page is blank, and the share of it that pictures cover."""
    try:
        textpage = page.get_textpage()
        try:
            text = textpage.get_text_range(0, min(textpage.count_chars(), MAX_CHARS_PER_PAGE), errors="replace")
        finally:
            textpage.close()
        object_count = raw.FPDFPage_CountObjects(page)
        is_blank = object_count == 0 and raw.FPDFPage_GetAnnotCount(page) == 0
        return text, is_blank, _compute_image_share(page, object_count)
    finally:
        page.close()


def _compute_image_share(page: pdfium.PdfPage, object_count: int) -> float:
    if object_count > MAX_OBJECTS_PER_PAGE:
        return 1.0
    width, height = page.get_size()
    area = 0.0
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = image.get_bounds()
        area += max(0.0, right - left) * max(0.0, top - bottom)
    return float(area / max(1.0, width * height))
