"""One file as a reading, by its content: the door behind which every format has its own module."""

from __future__ import annotations

import stat
from pathlib import Path

from invoices.documents.harm import harm, second_type
from invoices.documents.outcomes import Reading, because, flagged, set_aside
from invoices.documents.sniffing import EMPTY, EXECUTABLE, HEAD, POSTSCRIPT, SVG, UNKNOWN, media_type
from invoices.errors import DocumentError

MAX_BYTES = 50 * 1024 * 1024

_FIXED = {
    EMPTY: "empty_file",
    EXECUTABLE: "executable",
    SVG: "active_content",
    POSTSCRIPT: "active_content",
    "message/rfc822": "mail_unsupported",
    "application/ms-tnef": "mail_unsupported",
    "application/vnd.ms-outlook": "mail_unsupported",
}


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> Reading:
    """Return what the file is; DocumentError ends in a reading, anything else a parser raises is for the caller."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return because("not_a_file", UNKNOWN)
        with path.open("rb") as file:
            kind = media_type(file.read(HEAD))
    except OSError as error:
        return because("not_a_file", UNKNOWN, f"the file cannot be opened: {error.strerror}")
    if status.st_size > max_bytes:
        return because("too_large", kind, f"the file has {status.st_size} bytes, more than {max_bytes}")
    if harmful := harm(path, kind):
        return because(harmful, kind)
    try:
        reading = _read_as(kind, path)
    except DocumentError as error:
        reading = set_aside(error, kind)
    other = second_type(path, kind)
    return flagged(reading, ("FILE-POLYGLOT", f"the file is also {other}")) if other else reading


def _read_as(kind: str, path: Path) -> Reading:
    if kind == "application/xml":
        from invoices.documents.xml_documents import read_xml

        return read_xml(path.read_bytes())
    if kind == "application/pdf":
        from invoices.documents.pdf.reading import read_pdf

        return read_pdf(path)
    if kind in {"image/png", "image/jpeg"}:
        from invoices.documents.image_documents import read_image

        return read_image(path, kind)
    if kind == "application/pkcs7-mime":
        return because("unsupported_einvoice", kind, "a signed or encrypted file, which is not unwrapped here")
    if kind in _FIXED:
        return because(_FIXED[kind], kind)
    return because("unsupported_type", kind, f"files of type {kind} are not read")
