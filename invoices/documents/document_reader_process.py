"""The process that opens untrusted bytes: limited, without secrets or network, one question and one answer per line.

Run as ``python -I -m invoices.documents.document_reader_process <limits as JSON>``. It reads ``{"path": …}`` lines from standard input,
writes a reading as one JSON line each, and ends with its input, so it cannot outlive its parent.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from invoices.documents.media_types import UNKNOWN_TYPE
from invoices.documents.outcomes import DocumentReading, build_reading
from invoices.documents.seccomp import install_seccomp_filter

_MAX_OPEN_FILES = 64
_MAX_ADDRESS_SPACE_BYTES = 2 << 30  # mapped libraries and files count here, so this is only the outer wall
_MAX_DOCUMENTS_PER_PROCESS = 1000  # documents: parsers leak
_MAX_RESIDENT_MEMORY_SHARE = 0.75  # of the allowed memory
_MAX_JOINED_WRITE_BYTES = 1 << 20  # bytes: what a pipe takes


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one document may cost: bytes read, bytes of private memory, seconds on the clock."""

    max_bytes: int = 50 * 1024 * 1024
    memory_bytes: int = 220 * 1024 * 1024
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class ChildResponse:
    """What is told in a line, the bytes that follow it, and whether this process should end then."""

    header: dict[str, Any]
    body_chunks: Sequence[bytes] = ()
    is_last: bool = False


def main() -> None:
    """Answer until the input ends."""
    from invoices.documents.format_dispatch import (
        read_document_file,  # here, because other children have no use for its libraries
    )

    limits = ProcessLimits(**json.loads(sys.argv[1]))
    response_descriptor = move_stdout_to_private_descriptor()
    drop_process_privileges(limits)
    serve_read_requests(lambda path: read_document_file(path, limits.max_bytes), response_descriptor, limits)


def serve_read_requests(
    read_document: Callable[[Path], DocumentReading], response_descriptor: int, limits: ProcessLimits
) -> None:
    """Answer questions about paths; one that ran out of memory or crashed a parser is the last."""

    def handle_request(request: dict[str, Any]) -> ChildResponse:
        reading, must_exit = read_catching_parser_errors(read_document, Path(request["path"]))
        return ChildResponse({"reading": reading.to_dict()}, is_last=must_exit)

    serve_requests(handle_request, response_descriptor, limits, _MAX_DOCUMENTS_PER_PROCESS)


def serve_requests(
    handle_request: Callable[[dict[str, Any]], ChildResponse],
    response_descriptor: int,
    limits: ProcessLimits,
    max_requests: int,
) -> None:
    """Say ``ready``, then answer each question in time, until the input, the questions or the memory is used up.

    ``answer_to`` may read what follows the question from ``sys.stdin.buffer``.
    """
    _write_all_bytes(response_descriptor, _encode_json_line({"ready": True}))
    for request_count, request_line in enumerate(sys.stdin.buffer, start=1):
        _set_kill_timers(limits.seconds)
        response = handle_request(json.loads(request_line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        is_last = (
            response.is_last
            or request_count >= max_requests
            or _get_resident_memory_bytes() > _MAX_RESIDENT_MEMORY_SHARE * limits.memory_bytes
        )
        _write_chunks(
            response_descriptor, [_encode_json_line({**response.header, "last": is_last}), *response.body_chunks]
        )
        if is_last:
            return


def read_catching_parser_errors(
    read_document: Callable[[Path], DocumentReading], path: Path
) -> tuple[DocumentReading, bool]:
    """Return the reading of one file and whether this process should end after it."""
    try:
        return read_document(path), False
    except MemoryError:
        return build_reading("reader_memory", UNKNOWN_TYPE), True
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is an answer about this file
        reason = f"the reader failed with {type(error).__name__}: {error}"
        return build_reading("reader_crashed", UNKNOWN_TYPE, reason), True


def drop_process_privileges(limits: ProcessLimits) -> None:
    """Take away what reading does not need: memory, files to write, core dumps, many open files, Ctrl-C.

    Where the kernel can (``documents.sealing``) also the network, other programs and processes, and changes to files.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we end
    for resource_kind, wanted_limit in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_AS, _MAX_ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
    ):
        _, hard_limit = resource.getrlimit(resource_kind)
        new_limit = wanted_limit if hard_limit == resource.RLIM_INFINITY else min(wanted_limit, hard_limit)
        resource.setrlimit(resource_kind, (new_limit, new_limit))
    install_seccomp_filter()


def move_stdout_to_private_descriptor() -> int:
    """Return a descriptor for answers that no library knows of: what they print goes nowhere."""
    response_descriptor = os.dup(1)
    devnull_descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull_descriptor, 1)
    os.dup2(devnull_descriptor, 2)
    os.close(devnull_descriptor)
    return response_descriptor


def _set_kill_timers(seconds: float) -> None:
    """Let the kernel end us even where the parent is gone: by the clock, and by processor time."""
    signal.setitimer(signal.ITIMER_REAL, seconds + 5)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    max_cpu_seconds = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CPU)
    soft_limit = max_cpu_seconds if hard_limit == resource.RLIM_INFINITY else min(max_cpu_seconds, hard_limit)
    resource.setrlimit(resource.RLIMIT_CPU, (soft_limit, hard_limit))


def _get_resident_memory_bytes() -> int:
    """Return the bytes of memory in use now."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _encode_json_line(message: dict[str, Any]) -> bytes:
    return (
        json.dumps(message, ensure_ascii=True, separators=(",", ":"), default=_convert_dataclass_to_dict).encode()
        + b"\n"
    )


def _convert_dataclass_to_dict(value: Any) -> dict[str, Any]:
    """Return what is in a dataclass, without the copies that ``asdict`` makes."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _write_chunks(descriptor: int, chunks: Sequence[bytes]) -> None:
    """Write pieces, at once where they are small: each time our parent wakes up for one costs more than the copy."""
    if sum(map(len, chunks)) <= _MAX_JOINED_WRITE_BYTES:
        chunks = [b"".join(chunks)]
    for chunk in chunks:
        _write_all_bytes(descriptor, chunk)


def _write_all_bytes(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


if __name__ == "__main__":
    main()
