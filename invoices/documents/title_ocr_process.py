"""The process that reads the title of a picture by OCR: optional, and separate because its libraries need much memory.

Run as ``python -I -m invoices.documents.title_ocr_process <limits as JSON>``; requests and responses are those of
``document_reader_process``. It needs the package rapidocr-onnxruntime, which includes its models: nothing is downloaded
and nothing leaves the machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoices.documents.child_process import ProcessLimits, drop_process_privileges, move_stdout_to_private_descriptor
from invoices.documents.document_reader_process import serve_read_requests
from invoices.documents.outcomes import DocumentReading, build_reading
from invoices.documents.text_classification import classify_ocr_title_lines

if TYPE_CHECKING:
    from PIL import Image

OCR_PACKAGE = "rapidocr_onnxruntime"
# Its libraries reserve that much memory; they use about 220 MB.
TITLE_OCR_LIMITS = ProcessLimits(memory_bytes=400 * 1024 * 1024, seconds=10.0)

_TITLE_HEIGHT_SHARE = 0.34  # of the height, from the top: where the title of a document is
_MAX_WIDTH_PIXELS = 960
_MAX_PIXELS = 300_000


def is_ocr_installed() -> bool:
    """Return whether the optional package is installed."""
    return find_spec(OCR_PACKAGE) is not None


def main() -> None:
    """Answer requests until the input ends."""
    limits = ProcessLimits(**json.loads(sys.argv[1]))
    response_descriptor = move_stdout_to_private_descriptor()
    drop_process_privileges(limits)
    recognise_lines = _load_line_recogniser()
    serve_read_requests(lambda path: classify_image_by_title(path, recognise_lines), response_descriptor, limits)


def classify_image_by_title(path: Path, recognise_lines: Callable[[Any], list[str]]) -> DocumentReading:
    """Return ``not_invoice`` if the title of a picture is certainly another document's, else ``needs_extraction``."""
    from PIL import Image  # here, because the parent imports this module only for its limits

    numpy = import_module("numpy")
    with Image.open(path, formats=["PNG", "JPEG"]) as image:
        media_type = f"image/{str(image.format).lower()}"
        image.draft("RGB", (2 * _MAX_WIDTH_PIXELS, 2 * _MAX_WIDTH_PIXELS))
        title_image = _cut_title_area(image)
    reason_code = classify_ocr_title_lines(recognise_lines(numpy.asarray(title_image)[:, :, ::-1]))
    if reason_code:
        return build_reading(reason_code, media_type, page_count=1)
    return DocumentReading("needs_extraction", media_type, 1)


def _cut_title_area(image: Image.Image) -> Image.Image:
    """Return the upper part of the picture, scaled to fit the allowed memory."""
    width, height = image.size
    title_height = max(1, min(height, round(height * _TITLE_HEIGHT_SHARE)))
    title_area = image.crop((0, 0, width, title_height))
    scale = min(1.0, _MAX_WIDTH_PIXELS / width, (_MAX_PIXELS / (width * title_height)) ** 0.5)
    scaled_size = (max(1, round(width * scale)), max(1, round(title_height * scale)))
    return title_area.convert("RGB").resize(scaled_size)


def _load_line_recogniser() -> Callable[[Any], list[str]]:
    """Return a function from a BGR array to its lines of text; one thread and one line at a time need least memory."""
    engine = import_module(OCR_PACKAGE).RapidOCR(
        intra_op_num_threads=1, inter_op_num_threads=1, use_cls=False, rec_batch_num=1,
        det_limit_side_len=736, det_limit_type="max",
    )  # fmt: skip

    def recognise_lines(pixels: Any) -> list[str]:
        detections, _ = engine(pixels, use_cls=False)
        return [str(detection[1]) for detection in detections or []]

    return recognise_lines


if __name__ == "__main__":
    main()
