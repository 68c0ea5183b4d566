"""The parent's side of one reader process: a path in, a reading out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from invoices.documents.child_process import ProcessLimits
from invoices.documents.content_sniffing import MAX_SNIFFED_BYTES, UNKNOWN_TYPE, detect_media_type
from invoices.documents.limited_process import LimitedProcess, ProcessFailure, ResponseReader
from invoices.documents.outcomes import DocumentReading, build_reading


class DocumentReader:
    """A child that reads one document at a time; not thread-safe."""

    def __init__(self, limits: ProcessLimits, module: str = "invoices.documents.document_reader_process") -> None:
        self._process = LimitedProcess(limits, module)

    def read(self, path: Path) -> DocumentReading:
        """Return what the document is, or why its reader was stopped. Raises TransientError if no child starts."""

        def parse_response(reader: ResponseReader) -> tuple[DocumentReading, bool]:
            response = json.loads(reader.read_line())
            return DocumentReading(**response["reading"]), bool(response["is_last"])

        request = json.dumps({"path": str(path.absolute())}).encode() + b"\n"
        reading = self._process.send_request(request, parse_response)
        if isinstance(reading, ProcessFailure):
            return build_reading(reading.reason_code, _detect_type_or_unknown(path), reading.reason)
        if reading.media_type == UNKNOWN_TYPE:
            return replace(reading, media_type=_detect_type_or_unknown(path))
        return reading

    def close(self) -> None:
        """End the child: close its input, and kill it if it does not end."""
        self._process.close()


def _detect_type_or_unknown(path: Path) -> str:
    """Return the media type of a document whose reader could not determine it."""
    try:
        with path.open("rb") as file:
            return detect_media_type(file.read(MAX_SNIFFED_BYTES))
    except OSError:
        return UNKNOWN_TYPE
