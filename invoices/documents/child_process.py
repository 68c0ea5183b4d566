"""What all child processes that open untrusted bytes share: their limits, and the loop that answers requests.

A request is one line of JSON on standard input, perhaps followed by bytes; a response is one line of JSON, perhaps
followed by bytes. A child ends when its input ends, even in the middle of a request, so it cannot outlive its parent.
While its parent is stopped, it finishes the request and waits.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from invoices.documents.seccomp import install_seccomp_filter

_MAX_OPEN_FILES = 64
_MAX_ADDRESS_SPACE_BYTES = 2 << 30  # also counts mapped libraries and files, so it is only the outermost limit
_MAX_RESIDENT_MEMORY_SHARE = 0.75  # of the allowed memory
_WATCH_STACK_BYTES = 256 * 1024  # a stack of the usual size would count as memory of the document
_MAX_JOINED_WRITE_BYTES = 1 << 20  # what a pipe takes


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one document may cost: bytes read, bytes of private memory, seconds as in ``documents.request_deadline``."""

    max_bytes: int = 50 * 1024 * 1024
    memory_bytes: int = 220 * 1024 * 1024
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class ChildResponse:
    """The JSON header of a response, the bytes that follow it, and whether the process should end afterwards."""

    header: dict[str, Any]
    body_chunks: Sequence[bytes] = ()
    is_last: bool = False


def serve_requests(
    handle_request: Callable[[dict[str, Any]], ChildResponse],
    response_descriptor: int,
    limits: ProcessLimits,
    max_requests: int,
) -> None:
    """Announce ``{"ready": true}``, then answer requests until the input ends, or the requests or memory are used up.

    Each response states under ``is_last`` whether this process ends after it. ``handle_request`` may read what follows
    the request line from ``sys.stdin.buffer``.
    """
    _start_parent_watch()
    _write_all_bytes(response_descriptor, encode_json_line({"ready": True}))
    for request_count, request_line in enumerate(sys.stdin.buffer, start=1):
        _limit_cpu_time(limits.seconds)
        response = handle_request(json.loads(request_line))
        with open("/proc/self/statm", "rb") as file:
            resident_bytes = int(file.read().split()[1]) * resource.getpagesize()
        is_last = (
            response.is_last
            or request_count >= max_requests
            or resident_bytes > _MAX_RESIDENT_MEMORY_SHARE * limits.memory_bytes
        )
        header_line = encode_json_line({**response.header, "is_last": is_last})
        _write_chunks(response_descriptor, [header_line, *response.body_chunks])
        if is_last:
            return


def drop_process_privileges(limits: ProcessLimits) -> None:
    """Take away what reading does not need: memory, files to write, core dumps, many open files, Ctrl-C.

    Where the kernel supports it (``documents.seccomp``), also the network, other programs and processes, and changes to
    files.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when the child ends
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
    """Return a descriptor for responses; standard output and error go to /dev/null, whatever libraries print."""
    response_descriptor = os.dup(1)
    devnull_descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull_descriptor, 1)
    os.dup2(devnull_descriptor, 2)
    os.close(devnull_descriptor)
    return response_descriptor


def _start_parent_watch() -> None:
    """Start a thread that ends this process when the other end of its input is closed, as when the parent has died."""

    def exit_when_input_is_closed() -> None:
        poll = select.poll()
        poll.register(sys.stdin.fileno(), 0)  # 0: only the closing, which is always reported
        poll.poll()
        os._exit(0)

    previous_size = threading.stack_size(_WATCH_STACK_BYTES)
    threading.Thread(target=exit_when_input_is_closed, name="parent-watch", daemon=True).start()
    threading.stack_size(previous_size)


def _limit_cpu_time(seconds: float) -> None:
    """Let the kernel end this process if the request takes too much processor time, even if the parent is gone."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    max_cpu_seconds = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CPU)
    soft_limit = max_cpu_seconds if hard_limit == resource.RLIM_INFINITY else min(max_cpu_seconds, hard_limit)
    resource.setrlimit(resource.RLIMIT_CPU, (soft_limit, hard_limit))


def encode_json_line(message: dict[str, Any]) -> bytes:
    """Return the message, whose values may be dataclasses, as one line of JSON."""

    def convert_dataclass(value: Any) -> dict[str, Any]:
        return {field.name: getattr(value, field.name) for field in fields(value)}  # ``asdict`` would copy each value

    return json.dumps(message, separators=(",", ":"), default=convert_dataclass).encode() + b"\n"


def _write_chunks(descriptor: int, chunks: Sequence[bytes]) -> None:
    """Write the chunks, joined where they are small: waking the parent for each one costs more than the copy."""
    if sum(map(len, chunks)) <= _MAX_JOINED_WRITE_BYTES:
        chunks = [b"".join(chunks)]
    for chunk in chunks:
        _write_all_bytes(descriptor, chunk)


def _write_all_bytes(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
