"""The text of the pages of a PDF, and the text that a reader of the page cannot see."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

MAX_INSPECTED_PAGES = 10
MAX_CHARS_PER_PAGE = 50_000
MAX_OBJECTS_PER_PAGE = 5_000  # on a page with more, hidden text is not searched for
_MIN_SCAN_IMAGE_SHARE = 0.5  # of the page: if pictures cover more, hidden text is the OCR of a scanner
_MIN_READABLE_POINTS = 1.5
_MIN_WHITE_LEVEL = 250  # of 255, for each of red, green and blue

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points


@dataclass(slots=True)
class PageInspection:
    """The text of the first pages, whether these are all, whether one is a scan, and the hidden text by its kind."""

    text: str = ""
    is_complete: bool = False
    has_scan: bool = False
    hidden_text_by_kind: dict[str, str] = field(default_factory=dict)


def inspect_pages(path: Path) -> PageInspection | None:
    """Return the text of the first pages and the hidden text; None if the PDF cannot be opened."""
    inspection = PageInspection()
    try:
        with pdfium.PdfDocument(path) as document:
            inspection.is_complete = len(document) <= MAX_INSPECTED_PAGES
            for index in range(min(len(document), MAX_INSPECTED_PAGES)):
                _inspect_page(document[index], inspection)
    except pdfium.PdfiumError:
        return None
    return inspection


def _inspect_page(page: pdfium.PdfPage, inspection: PageInspection) -> None:
    textpage = page.get_textpage()
    try:
        char_count = min(textpage.count_chars(), MAX_CHARS_PER_PAGE)
        inspection.text += textpage.get_text_range(0, char_count, errors="replace") + "\n"
        if raw.FPDFPage_CountObjects(page) > MAX_OBJECTS_PER_PAGE:
            return
        objects = list(page.get_objects(max_depth=3))
        page_area = _compute_area(_get_page_box(page))
        images = (page_object for page_object in objects if page_object.type == raw.FPDF_PAGEOBJ_IMAGE)
        image_area = sum(_compute_area(image.get_bounds()) for image in images)  # a scan may consist of strips
        if image_area > _MIN_SCAN_IMAGE_SHARE * page_area:
            inspection.has_scan = True
            return
        for kind, text in _find_hidden_text(objects, textpage, _get_page_box(page)):
            inspection.hidden_text_by_kind[kind] = f"{inspection.hidden_text_by_kind.get(kind, '')} {text}".strip()
    finally:
        textpage.close()
        page.close()


def _get_page_box(page: pdfium.PdfPage) -> Box:
    left, bottom, right, top = page.get_cropbox()
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)


def _find_hidden_text(
    objects: Sequence[pdfium.PdfObject], textpage: pdfium.PdfTextPage, page_box: Box
) -> Iterator[tuple[str, str]]:
    """Yield kind and words of each hidden text; in form objects only text in invisible render mode is found."""
    painted_boxes: list[Box] = []  # what may be behind white text
    for page_object in objects:
        is_text, is_on_page = page_object.type == raw.FPDF_PAGEOBJ_TEXT, page_object.level == 0
        if is_text and (
            kind := _find_text_invisibility_reason(page_object, page_box if is_on_page else None, painted_boxes)
        ):
            if (words := _read_object_text(page_object, textpage)).strip():
                yield kind, words
        elif (
            is_on_page
            and not is_text
            and not (page_object.type == raw.FPDF_PAGEOBJ_PATH and _is_white_or_transparent(page_object))
        ):
            painted_boxes.append(page_object.get_bounds())


def _find_text_invisibility_reason(
    page_object: pdfium.PdfObject, page_box: Box | None, background_boxes: Sequence[Box]
) -> str | None:
    render_mode = raw.FPDFTextObj_GetTextRenderMode(page_object)
    if render_mode == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
        return "invisible"
    if page_box is None:
        return None
    box = page_object.get_bounds()
    if not _is_overlapping(box, page_box):
        return "off the page"
    if (
        min(box[2] - box[0], box[3] - box[1]) < _MIN_READABLE_POINTS
        and _compute_font_points(page_object) < _MIN_READABLE_POINTS
    ):
        return "too small to be read"
    if (
        render_mode == raw.FPDF_TEXTRENDERMODE_FILL
        and _is_white_or_transparent(page_object)
        and not any(_is_overlapping(box, painted_box) for painted_box in background_boxes)
    ):
        return "white on white"
    return None


def _read_object_text(page_object: pdfium.PdfObject, textpage: pdfium.PdfTextPage) -> str:
    length = raw.FPDFTextObj_GetText(page_object, textpage, None, 0)
    buffer = ctypes.create_string_buffer(length)
    raw.FPDFTextObj_GetText(page_object, textpage, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), length)
    return buffer.raw.decode("utf-16-le", "replace").strip("\0")


def _compute_font_points(page_object: pdfium.PdfObject) -> float:
    """Return the height of the letters on the page in points."""
    size = ctypes.c_float()
    raw.FPDFTextObj_GetFontSize(page_object, size)
    matrix = page_object.get_matrix()
    return float(abs(size.value) * max(abs(matrix.d), abs(matrix.b)))


def _is_white_or_transparent(page_object: pdfium.PdfObject) -> bool:
    """Return whether the object is filled with white, or is fully transparent."""
    red, green, blue, opacity = (ctypes.c_uint() for _ in range(4))
    if not raw.FPDFPageObj_GetFillColor(page_object, red, green, blue, opacity):
        return False
    return opacity.value == 0 or min(red.value, green.value, blue.value) >= _MIN_WHITE_LEVEL


def _is_overlapping(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _compute_area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
