"""The process that reads the head of a picture: optional, and apart from the readers it would make heavy.

Run as ``python -I -m invoices.documents.title_child <limits as JSON>``; it speaks as ``documents.child`` does and needs
the package rapidocr-onnxruntime, whose models are inside it: nothing is downloaded and nothing leaves the machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoices.documents.child import Limits, confine, private_answers, serve
from invoices.documents.outcomes import Reading, because
from invoices.documents.vocabulary import other_title

if TYPE_CHECKING:
    from PIL import Image

PACKAGE = "rapidocr_onnxruntime"
LIMITS = Limits(memory_bytes=400 * 1024 * 1024, seconds=10.0)  # reserved by its libraries; they touch about 220 MB

_HEAD_SHARE = 0.34  # of the height: where a document says what it is
_MAX_WIDTH = 960
_MAX_PIXELS = 300_000


def is_available() -> bool:
    """Return whether the optional package is installed."""
    return find_spec(PACKAGE) is not None


def main() -> None:
    """Answer until the input ends."""
    limits = Limits(**json.loads(sys.argv[1]))
    answers = private_answers()
    confine(limits)
    recognise = _engine()
    serve(lambda path: read_title(path, recognise), answers, limits)


def read_title(path: Path, recognise: Callable[[Any], list[str]]) -> Reading:
    """Return ``not_invoice`` where the head of a picture certainly is another document's, else ``needs_extraction``."""
    from PIL import Image  # here, because the parent imports this module for its limits only

    numpy = import_module("numpy")
    with Image.open(path, formats=["PNG", "JPEG"]) as image:
        media_type = f"image/{str(image.format).lower()}"
        image.draft("RGB", (2 * _MAX_WIDTH, 2 * _MAX_WIDTH))
        head = _head(image)
    reason_code = other_title(recognise(numpy.asarray(head)[:, :, ::-1]))
    if reason_code:
        return because(reason_code, media_type, page_count=1)
    return Reading("needs_extraction", media_type, 1)


def _head(image: Image.Image) -> Image.Image:
    """Return the upper part of the picture, small enough for the memory allowed."""
    width, height = image.size
    head = image.crop((0, 0, width, max(1, min(height, round(height * _HEAD_SHARE)))))
    scale = min(1.0, _MAX_WIDTH / head.width, (_MAX_PIXELS / (head.width * head.height)) ** 0.5)
    return head.convert("RGB").resize((max(1, round(head.width * scale)), max(1, round(head.height * scale))))


def _engine() -> Callable[[Any], list[str]]:
    """Return a function from a BGR array to the lines of text in it; one thread, one line at a time: least memory."""
    engine = import_module(PACKAGE).RapidOCR(
        intra_op_num_threads=1, inter_op_num_threads=1, use_cls=False, rec_batch_num=1,
        det_limit_side_len=736, det_limit_type="max",
    )  # fmt: skip

    def recognise(pixels: Any) -> list[str]:
        found, _ = engine(pixels, use_cls=False)
        return [str(line[1]) for line in found or []]

    return recognise


if __name__ == "__main__":
    main()
