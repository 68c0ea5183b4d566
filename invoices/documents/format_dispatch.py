"""One file as a reading: detects the format by content and calls the module that reads it."""

from __future__ import annotations

import stat
from pathlib import Path

from invoices.documents.content_sniffing import (
    EMPTY_TYPE,
    EXECUTABLE_TYPE,
    MAX_SNIFFED_BYTES,
    POSTSCRIPT_TYPE,
    SVG_TYPE,
    UNKNOWN_TYPE,
    detect_media_type,
)
from invoices.documents.malware import find_second_file_type, find_threat_reason_code
from invoices.documents.outcomes import DocumentReading, add_flags, build_reading, build_reading_from_error
from invoices.errors import DocumentError

MAX_FILE_BYTES = 50 * 1024 * 1024

_REASON_CODE_BY_TYPE = {
    EMPTY_TYPE: "empty_file",
    EXECUTABLE_TYPE: "executable",
    SVG_TYPE: "active_content",
    POSTSCRIPT_TYPE: "active_content",
    "message/rfc822": "mail_unsupported",
    "application/ms-tnef": "mail_unsupported",
    "application/vnd.ms-outlook": "mail_unsupported",
}


def read_document_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> DocumentReading:
    """Return what the file is; a DocumentError becomes a reading, other exceptions of parsers pass through."""
    try:
        file_status = path.stat()
        if not stat.S_ISREG(file_status.st_mode):
            return build_reading("not_a_file", UNKNOWN_TYPE)
        with path.open("rb") as file:
            file_type = detect_media_type(file.read(MAX_SNIFFED_BYTES))
    except OSError as error:
        return build_reading("not_a_file", UNKNOWN_TYPE, f"the file cannot be opened: {error.strerror}")
    if file_status.st_size > max_bytes:
        return build_reading("too_large", file_type, f"the file has {file_status.st_size} bytes, more than {max_bytes}")
    if threat_code := find_threat_reason_code(path, file_type):
        return build_reading(threat_code, file_type)
    try:
        reading = _read_by_media_type(file_type, path)
    except DocumentError as error:
        reading = build_reading_from_error(error, file_type)
    other_type = find_second_file_type(path, file_type)
    return add_flags(reading, ("FILE-POLYGLOT", f"the file is also {other_type}")) if other_type else reading


def _read_by_media_type(file_type: str, path: Path) -> DocumentReading:
    if file_type == "application/xml":
        from invoices.documents.xml_reader import read_xml_document

        return read_xml_document(path.read_bytes())
    if file_type == "application/pdf":
        from invoices.documents.pdf.pdf_reader import read_pdf_document

        return read_pdf_document(path)
    if file_type in {"image/png", "image/jpeg"}:
        from invoices.documents.image_reader import read_image_file

        return read_image_file(path, file_type)
    if file_type == "application/pkcs7-mime":
        return build_reading("unsupported_einvoice", file_type, "a signed or encrypted file that was not opened")
    if file_type in _REASON_CODE_BY_TYPE:
        return build_reading(_REASON_CODE_BY_TYPE[file_type], file_type)
    return build_reading("unsupported_type", file_type, f"files of type {file_type} are not read")
