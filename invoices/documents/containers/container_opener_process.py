"""The process that opens untrusted containers: limited, without secrets or network; the bytes come and go by pipe.

Run as ``python -I -m invoices.documents.containers.container_opener_process <limits as JSON>``. A request is the line
``{"operation": "open", "length": …, "unpack_archives": …, "file_name": …, "is_mail": …}`` and that many bytes; the
response is the line ``{"opened_container": …, "part_lengths": […], "is_last": …}`` and the bytes of the parts one after
another. To ``{"operation": "detect_file_type", "length": …}`` and the first bytes of a file, the response is the line
``{"media_type": …, "is_last": …}``. To ``find_from_lines``, ``remove_status_fields`` and ``unescape_from_lines`` with
bytes of an mbox, it is the line ``{"positions": […], "length": …, "is_last": …}`` and that many bytes.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

from invoices.documents.child_process import (
    ChildResponse,
    ProcessLimits,
    drop_process_privileges,
    move_stdout_to_private_descriptor,
    serve_requests,
)
from invoices.documents.containers.container_media_types import MAIL_TYPE
from invoices.documents.containers.mbox_format import find_from_lines, remove_status_fields, unescape_from_lines
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.containers.recursive_opener import open_container_recursively
from invoices.documents.content_sniffing import MAX_SNIFFED_BYTES, detect_file_type, detect_media_type
from invoices.documents.outcomes import REASON_CODES, sanitise_for_display

_MAX_CONTAINERS_PER_PROCESS = 20_000  # many, because the code that opens them is Python and does not leak
_MAX_REASON_CHARS = 300
_MBOX_OPERATIONS = ("find_from_lines", "remove_status_fields", "unescape_from_lines")
_MAIL_PREFIX = b"X-Mailbox:\r\nDelivered-To:\r\n"  # makes any content a mail with a header
_GC_THRESHOLD_OBJECTS = 20_000  # for Python's own collection: a mail makes some hundreds
_GC_THRESHOLD_BYTES = 8 * 1024 * 1024  # of containers, for ours: the tree of a mail refers to itself


def main(handle_container: Callable[[bytes, dict[str, Any]], ChildResponse] | None = None) -> None:
    """Answer requests until the input ends; tests replace ``handle_container``, which opens one container."""
    limits = ProcessLimits(**json.loads(sys.argv[1]))
    response_descriptor = move_stdout_to_private_descriptor()
    drop_process_privileges(limits)
    serve_requests(
        _add_garbage_collection(
            lambda request: _handle_catching_parser_errors(request, handle_container or _handle_container)
        ),
        response_descriptor,
        limits,
        _MAX_CONTAINERS_PER_PROCESS,
    )


def _add_garbage_collection(
    handle_request: Callable[[dict[str, Any]], ChildResponse],
) -> Callable[[dict[str, Any]], ChildResponse]:
    """Return a handler that also collects garbage by the bytes of the containers; by objects alone takes longer."""
    bytes_since_collection = 0

    def handle_and_collect(request: dict[str, Any]) -> ChildResponse:
        nonlocal bytes_since_collection
        if bytes_since_collection > _GC_THRESHOLD_BYTES:
            gc.collect()
            bytes_since_collection = 0
        bytes_since_collection += request["length"]
        return handle_request(request)

    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD_OBJECTS)
    return handle_and_collect


def _handle_catching_parser_errors(
    request: dict[str, Any], handle_container: Callable[[bytes, dict[str, Any]], ChildResponse]
) -> ChildResponse:
    """Return the response for the container that follows the request; the process ends after a parser's error."""
    try:
        return handle_container(sys.stdin.buffer.read(request["length"]), request)
    except MemoryError:
        return _build_failure_response("reader_memory", REASON_CODES["reader_memory"][1])
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is a result for them
        return _build_failure_response("reader_crashed", f"the reader failed with {type(error).__name__}: {error}")


def _handle_container(content: bytes, request: dict[str, Any]) -> ChildResponse:
    if request["operation"] == "detect_file_type":
        return ChildResponse({"media_type": detect_file_type(content)})
    if request["operation"] in _MBOX_OPERATIONS:
        return _match_mbox(content, request)
    container_type = detect_media_type(content[:MAX_SNIFFED_BYTES])
    if request["is_mail"] and container_type != MAIL_TYPE:
        content, container_type = _MAIL_PREFIX + content, MAIL_TYPE
    opened_container, contents = open_container_recursively(
        content, container_type, file_name=request["file_name"], unpack_archives=request["unpack_archives"]
    )
    return ChildResponse(
        {"opened_container": opened_container, "part_lengths": [len(part_content) for part_content in contents]},
        contents,
    )


def _match_mbox(content: bytes, request: dict[str, Any]) -> ChildResponse:
    if request["operation"] == "find_from_lines":
        positions = find_from_lines(content, is_file_start=request["is_file_start"])
        return ChildResponse({"positions": positions, "length": 0})
    change = remove_status_fields if request["operation"] == "remove_status_fields" else unescape_from_lines
    changed_content = change(content)
    return ChildResponse({"positions": [], "length": len(changed_content)}, [changed_content])


def _build_failure_response(reason_code: str, reason: str) -> ChildResponse:
    opened_container = OpenedContainer(reason_code=reason_code, reason=sanitise_for_display(reason, _MAX_REASON_CHARS))
    return ChildResponse({"opened_container": opened_container, "part_lengths": []}, is_last=True)


if __name__ == "__main__":
    main()
