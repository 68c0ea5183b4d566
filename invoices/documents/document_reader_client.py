"""The parent's side of one reader process: a path in, a reading out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from invoices.documents.child_process import ProcessLimits
from invoices.documents.containers.container_opener_client import store_parts_of_response
from invoices.documents.content_sniffing import UNKNOWN_TYPE
from invoices.documents.limited_process import LimitedProcess, ProcessFailure, ResponseReader
from invoices.documents.outcomes import DocumentReading, build_reading
from invoices.documents.store_batch import StoreBatch


class DocumentReader:
    """A child that reads one document at a time; not thread-safe."""

    def __init__(self, limits: ProcessLimits, module: str = "invoices.documents.document_reader_process") -> None:
        self._process = LimitedProcess(limits, module)

    def read(
        self, path: Path, expected_sha256: str | None = None, store_batch: StoreBatch | None = None
    ) -> DocumentReading:
        """Return what the document is, or why its reader was stopped. Raises TransientError if no child starts.

        With ``expected_sha256``, the child opens the document only if its bytes have that hash. The media type of a
        document whose reader was stopped is unknown: nothing of it is matched in this process. The files inside an
        e-invoice are put into ``store_batch``; without one, they are not taken out. Raises OSError if it cannot write.
        """

        def parse_response(reader: ResponseReader) -> tuple[DocumentReading, bool]:
            response = json.loads(reader.read_line())
            reading = DocumentReading(**response["reading"])
            if response["has_embedded_files"]:
                if store_batch is None:
                    raise ValueError("the response has files that were not asked for")
                reading = replace(reading, embedded_files=store_parts_of_response(reader, store_batch)[0])
            return reading, bool(response["is_last"])

        request_header = {
            "path": str(path.absolute()), "sha256": expected_sha256, "wants_embedded_files": store_batch is not None
        }  # fmt: skip
        request = json.dumps(request_header).encode() + b"\n"
        reading = self._process.send_request(request, parse_response)
        if isinstance(reading, ProcessFailure):
            return build_reading(reading.reason_code, UNKNOWN_TYPE, reading.reason)
        return reading

    def close(self) -> None:
        """End the child: close its input, and kill it if it does not end."""
        self._process.close()
