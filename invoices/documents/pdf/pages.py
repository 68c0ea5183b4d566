"""What the pages of a PDF show and what they hide: their text, and text that no reader of the page can see."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

LOOKED_AT = 10  # pages
MAX_CHARACTERS = 50_000  # per page
MAX_OBJECTS = 5_000  # per page: with more, nothing is said about hidden text
_SCAN = 0.5  # of the page: where pictures cover that much, unseen text is what a scanner's program has read in it
_TINY = 1.5  # points: no eye reads it
_NEARLY_WHITE = 250  # of 255, each of red, green and blue

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points


@dataclass(slots=True)
class Pages:
    """The text of the first pages, whether these are all, whether one is a scan, and the unseen text by its kind."""

    text: str = ""
    complete: bool = False
    scanned: bool = False
    hidden: dict[str, str] = field(default_factory=dict)


def look_at(path: Path) -> Pages | None:
    """Return what the first pages show and hide; None where they cannot be opened."""
    pages = Pages()
    try:
        with pdfium.PdfDocument(path) as document:
            pages.complete = len(document) <= LOOKED_AT
            for index in range(min(len(document), LOOKED_AT)):
                _look(document[index], pages)
    except pdfium.PdfiumError:
        return None
    return pages


def _look(page: pdfium.PdfPage, pages: Pages) -> None:
    textpage = page.get_textpage()
    try:
        pages.text += textpage.get_text_range(0, min(textpage.count_chars(), MAX_CHARACTERS), errors="replace") + "\n"
        if raw.FPDFPage_CountObjects(page) > MAX_OBJECTS:
            return
        objects = list(page.get_objects(max_depth=3))
        area = _area(_frame(page))
        pictures = sum(
            _area(o.get_bounds()) for o in objects if o.type == raw.FPDF_PAGEOBJ_IMAGE
        )  # a scan may be in strips
        if pictures > _SCAN * area:
            pages.scanned = True
            return
        for kind, text in _hidden(objects, textpage, _frame(page)):
            pages.hidden[kind] = f"{pages.hidden.get(kind, '')} {text}".strip()
    finally:
        textpage.close()
        page.close()


def _frame(page: pdfium.PdfPage) -> Box:
    left, bottom, right, top = page.get_cropbox()
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)


def _hidden(objects: Sequence[pdfium.PdfObject], textpage: pdfium.PdfTextPage, frame: Box) -> Iterator[tuple[str, str]]:
    """Yield the kind and the words of each text that cannot be seen; inside of forms, only of an invisible one."""
    painted: list[Box] = []  # what white text may stand on
    for thing in objects:
        is_text, on_page = thing.type == raw.FPDF_PAGEOBJ_TEXT, thing.level == 0
        if is_text and (kind := _why_hidden(thing, frame if on_page else None, painted)):
            if (words := _words(thing, textpage)).strip():
                yield kind, words
        elif on_page and not is_text and not (thing.type == raw.FPDF_PAGEOBJ_PATH and _is_white(thing)):
            painted.append(thing.get_bounds())


def _why_hidden(thing: pdfium.PdfObject, frame: Box | None, painted: Sequence[Box]) -> str | None:
    mode = raw.FPDFTextObj_GetTextRenderMode(thing)
    if mode == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
        return "invisible"
    if frame is None:
        return None
    box = thing.get_bounds()
    if not _meet(box, frame):
        return "off the page"
    if min(box[2] - box[0], box[3] - box[1]) < _TINY and _size(thing) < _TINY:
        return "too small to be read"
    if mode == raw.FPDF_TEXTRENDERMODE_FILL and _is_white(thing) and not any(_meet(box, other) for other in painted):
        return "white on white"
    return None


def _words(thing: pdfium.PdfObject, textpage: pdfium.PdfTextPage) -> str:
    length = raw.FPDFTextObj_GetText(thing, textpage, None, 0)
    buffer = ctypes.create_string_buffer(length)
    raw.FPDFTextObj_GetText(thing, textpage, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), length)
    return buffer.raw.decode("utf-16-le", "replace").strip("\0")


def _size(thing: pdfium.PdfObject) -> float:
    """Return the height of the letters in points, as they are on the page."""
    size = ctypes.c_float()
    raw.FPDFTextObj_GetFontSize(thing, size)
    matrix = thing.get_matrix()
    return float(abs(size.value) * max(abs(matrix.d), abs(matrix.b)))


def _is_white(thing: pdfium.PdfObject) -> bool:
    """Return whether it is filled with white, or with what cannot be seen through being transparent."""
    red, green, blue, opacity = (ctypes.c_uint() for _ in range(4))
    if not raw.FPDFPageObj_GetFillColor(thing, red, green, blue, opacity):
        return False
    return opacity.value == 0 or min(red.value, green.value, blue.value) >= _NEARLY_WHITE


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
