"""Broken PDFs: what their reader raises, and what of that is the document's own fault."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pikepdf

# What pikepdf raises, beside PdfError, when an object is not of the type the standard demands.
BROKEN_PDF_ERRORS = (
    pikepdf.PdfError,
    RuntimeError,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    NotImplementedError,
)


@contextlib.contextmanager
def ignore_broken_pdf_errors() -> Generator[None, None, None]:
    """Leave the block where the PDF is broken; running out of memory is not the PDF's being broken."""
    try:
        yield
    except BROKEN_PDF_ERRORS as error:
        raise_if_out_of_memory(error)


def raise_if_out_of_memory(error: Exception) -> None:
    """Raise the MemoryError that qpdf reports as a decoding error."""
    if "bad_alloc" in str(error):
        raise MemoryError(str(error)) from error
