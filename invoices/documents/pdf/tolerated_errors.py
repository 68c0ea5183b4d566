"""The errors that pikepdf raises for a broken PDF, apart from running out of memory."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pikepdf

# All but PdfError are raised when an object is not of the type that the standard demands.
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
    """Leave the block at an error of a broken PDF. Raises MemoryError if memory ran out."""
    try:
        yield
    except BROKEN_PDF_ERRORS as error:
        raise_if_out_of_memory(error)


def raise_if_out_of_memory(error: Exception) -> None:
    """Raise MemoryError if qpdf ran out of memory, which it reports as a decoding error."""
    if "bad_alloc" in str(error):
        raise MemoryError(str(error)) from error
