"""The process that reads untrusted documents: limited, without secrets or network.

Run as ``python -I -m invoices.documents.document_reader_process <limits as JSON>``. A request is
``{"path": …, "sha256": …, "wants_embedded_files": …}``; the response is ``{"reading": …, "has_embedded_files": …,
"is_last": …}``. A document whose bytes do not have the hash is not opened; the hash may be null. If the response has
embedded files, they follow as a second line and bytes, as from ``containers.container_opener_process``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoices.documents.child_process import (
    ChildResponse,
    ProcessLimits,
    drop_process_privileges,
    encode_json_line,
    move_stdout_to_private_descriptor,
    serve_requests,
)
from invoices.documents.content_sniffing import UNKNOWN_TYPE
from invoices.documents.format_dispatch import read_document_file
from invoices.documents.outcomes import DocumentReading, build_reading

_MAX_DOCUMENTS_PER_PROCESS = 1000  # parsers leak memory


def main() -> None:
    """Answer requests until the input ends."""
    limits = ProcessLimits(**json.loads(sys.argv[1]))
    response_descriptor = move_stdout_to_private_descriptor()
    drop_process_privileges(limits)
    serve_read_requests(lambda path: read_document_file(path, limits.max_bytes), response_descriptor, limits)


def serve_read_requests(
    read_document: Callable[[Path], DocumentReading], response_descriptor: int, limits: ProcessLimits
) -> None:
    """Answer each path with its reading; the process ends after one that ran out of memory or crashed a parser."""

    def handle_request(request: dict[str, Any]) -> ChildResponse:
        path = Path(request["path"])
        if request["sha256"] is not None and has_other_hash(path, request["sha256"]):
            reading = build_reading("altered", UNKNOWN_TYPE)
            return ChildResponse({"reading": reading.to_dict(), "has_embedded_files": False})
        reading, must_exit = read_catching_parser_errors(read_document, path)
        sends_files = bool(request["wants_embedded_files"] and reading.embedded_contents)
        header = {"reading": reading.to_dict(), "has_embedded_files": sends_files}
        if not sends_files:
            return ChildResponse(header, is_last=must_exit)
        lengths = [len(content) for content in reading.embedded_contents]
        files_header = {"opened_container": reading.embedded_files, "part_lengths": lengths, "is_last": must_exit}
        return ChildResponse(header, [encode_json_line(files_header), *reading.embedded_contents], is_last=must_exit)

    serve_requests(handle_request, response_descriptor, limits, _MAX_DOCUMENTS_PER_PROCESS)


def has_other_hash(path: Path, expected_sha256: str) -> bool:
    """Return whether a file can be read and its bytes do not have the SHA-256 ``expected_sha256``."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != expected_sha256
    except OSError:  # the reading states that the file cannot be opened
        return False


def read_catching_parser_errors(
    read_document: Callable[[Path], DocumentReading], path: Path
) -> tuple[DocumentReading, bool]:
    """Return the reading of one file, and whether this process should end after it."""
    try:
        return read_document(path), False
    except MemoryError:
        return build_reading("reader_memory", UNKNOWN_TYPE), True
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is a result for this file
        reason = f"the reader failed with {type(error).__name__}: {error}"
        return build_reading("reader_crashed", UNKNOWN_TYPE, reason), True


if __name__ == "__main__":
    main()
