"""A picture as a reading: ``needs_extraction``, a logo, or damaged, by its header and its last bytes."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from invoices.documents.outcomes import DocumentReading, build_reading

MAX_PIXELS = 50_000_000
_TAIL_BYTES = 65_536
_END_MARKERS = {"image/png": b"IEND", "image/jpeg": b"\xff\xd9"}

# No invoice is legible in a smaller picture; a stamp of 300 by 300 or a banner of 1000 by 60 is decoration.
MIN_SIDE_PIXELS = 200
MIN_PIXELS = 120_000


def read_image_file(path: Path, media_type: str) -> DocumentReading:
    """Return ``needs_extraction`` for a picture that may show an invoice, else why not; pixels are not decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow only warns of bombs; MAX_PIXELS below decides
            with Image.open(path, formats=["PNG", "JPEG"]) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        return build_reading("too_large", media_type, "the picture has more pixels than can be opened")
    except (OSError, SyntaxError, ValueError) as error:
        return build_reading("damaged_image", media_type, f"the picture cannot be opened: {error}")
    if width * height > MAX_PIXELS:
        return build_reading(
            "too_large", media_type, f"the picture has {width} × {height} pixels, more than {MAX_PIXELS:,}"
        )
    if min(width, height) < MIN_SIDE_PIXELS or width * height < MIN_PIXELS:
        return build_reading(
            "logo", media_type, f"a picture of {width} × {height} pixels is too small to hold an invoice"
        )
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        has_end_marker = _END_MARKERS[media_type] in file.read()  # some cameras append data of their own after it
    if not has_end_marker:
        return build_reading("truncated", media_type)
    return DocumentReading("needs_extraction", media_type, 1)
