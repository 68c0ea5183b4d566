"""The process that opens untrusted bytes: limited, without secrets or network, one question and one answer per line.

Run as ``python -I -m invoices.documents.child <limits as JSON>``. It reads ``{"path": …}`` lines from standard input,
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

from invoices.documents.outcomes import Reading, because
from invoices.documents.sealing import seal
from invoices.documents.sniffing import UNKNOWN

_OPEN_FILES = 64
_ADDRESS_SPACE = 2 << 30  # mapped libraries and files count here, so this is only the outer wall
_RETIRE_AFTER = 1000  # documents: parsers leak
_RETIRE_SHARE = 0.75  # of the allowed memory
_AT_ONCE = 1 << 20  # bytes: what a pipe takes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost: bytes read, bytes of private memory, seconds on the clock."""

    max_bytes: int = 50 * 1024 * 1024
    memory_bytes: int = 220 * 1024 * 1024
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What is told in a line, the bytes that follow it, and whether this process should end then."""

    told: dict[str, Any]
    following: Sequence[bytes] = ()
    is_last: bool = False


def main() -> None:
    """Answer until the input ends."""
    from invoices.documents.document_files import (
        read_file,  # here, because other children have no use for its libraries
    )

    limits = Limits(**json.loads(sys.argv[1]))
    answers = private_answers()
    confine(limits)
    serve(lambda path: read_file(path, limits.max_bytes), answers, limits)


def serve(read: Callable[[Path], Reading], answers: int, limits: Limits) -> None:
    """Answer questions about paths; one that ran out of memory or crashed a parser is the last."""

    def answer_to(question: dict[str, Any]) -> Answered:
        reading, is_broken = answered(read, Path(question["path"]))
        return Answered({"reading": reading.record()}, is_last=is_broken)

    serve_questions(answer_to, answers, limits, _RETIRE_AFTER)


def serve_questions(
    answer_to: Callable[[dict[str, Any]], Answered], answers: int, limits: Limits, retire_after: int
) -> None:
    """Say ``ready``, then answer each question in time, until the input, the questions or the memory is used up.

    ``answer_to`` may read what follows the question from ``sys.stdin.buffer``.
    """
    _write(answers, _line({"ready": True}))
    for count, question in enumerate(sys.stdin.buffer, start=1):
        _start_clocks(limits.seconds)
        answer = answer_to(json.loads(question))
        signal.setitimer(signal.ITIMER_REAL, 0)
        last = answer.is_last or count >= retire_after or _resident() > _RETIRE_SHARE * limits.memory_bytes
        _write_all(answers, [_line({**answer.told, "last": last}), *answer.following])
        if last:
            return


def answered(read: Callable[[Path], Reading], path: Path) -> tuple[Reading, bool]:
    """Return the reading of one file and whether this process should end after it."""
    try:
        return read(path), False
    except MemoryError:
        return because("reader_memory", UNKNOWN), True
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is an answer about this file
        reason = f"the reader failed with {type(error).__name__}: {error}"
        return because("reader_crashed", UNKNOWN, reason), True


def confine(limits: Limits) -> None:
    """Take away what reading does not need: memory, files to write, core dumps, many open files, Ctrl-C.

    Where the kernel can (``documents.sealing``) also the network, other programs and processes, and changes to files.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we end
    for kind, value in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_AS, _ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    seal()


def private_answers() -> int:
    """Return a descriptor for answers that no library knows of: what they print goes nowhere."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return answers


def _start_clocks(seconds: float) -> None:
    """Let the kernel end us even where the parent is gone: by the clock, and by processor time."""
    signal.setitimer(signal.ITIMER_REAL, seconds + 5)
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime + seconds) + 2
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = processor if hard == resource.RLIM_INFINITY else min(processor, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _resident() -> int:
    """Return the bytes of memory in use now."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=True, separators=(",", ":"), default=_fields).encode() + b"\n"


def _fields(value: Any) -> dict[str, Any]:
    """Return what is in a dataclass, without the copies that ``asdict`` makes."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write pieces, at once where they are small: each time our parent wakes up for one costs more than the copy."""
    if sum(map(len, pieces)) <= _AT_ONCE:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        _write(descriptor, piece)


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


if __name__ == "__main__":
    main()
