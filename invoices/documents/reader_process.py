"""One reader process as its parent sees it: start, ask, kill at the deadline, replace."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from invoices.documents.child import Limits
from invoices.documents.outcomes import Reading, because
from invoices.documents.sniffing import HEAD, UNKNOWN, media_type
from invoices.errors import TransientError

_START_SECONDS = 60.0  # an overloaded machine starts slowly; that is not the document's fault
_CLOSE_SECONDS = 2.0
_LONGEST_ANSWER = 64 * 1024 * 1024
# One thread per library: on a machine of many cores their stacks alone would fill the allowed memory.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_ARENA_MAX": "2",
}  # fmt: skip
_MEMORY_SHARE = 0.7  # of what is allowed: a child that died with more in use died of it


class ReaderProcess:
    """A child that reads one document at a time; not for several threads at once."""

    def __init__(self, limits: Limits, module: str = "invoices.documents.child") -> None:
        self._limits = limits
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._status = 0  # of the last child that died
        self._resident = 0

    def read(self, path: Path) -> Reading:
        """Return what the document is, or why its reader was stopped. Raises TransientError if no child starts."""
        try:
            answer = self._answered(path)
        except EOFError:
            return self._died(path)
        except TimeoutError:
            self._kill()
            return because("reader_timeout", _type_of(path), f"reading took more than {self._limits.seconds:g} seconds")
        if answer.get("last"):
            self.close()
        reading = Reading(**answer["reading"])
        return replace(reading, media_type=_type_of(path)) if reading.media_type == UNKNOWN else reading

    def _answered(self, path: Path) -> dict[str, Any]:
        """Return the child's answer; a child that somebody else killed is replaced and asked once more.

        Raises TimeoutError at the deadline, EOFError where the child died of the document.
        """
        try:
            return self._answer(self._asked(path), time.monotonic() + self._limits.seconds)
        except EOFError:
            self._reap()
            if self._status != -signal.SIGKILL:
                raise
        return self._answer(self._asked(path), time.monotonic() + self._limits.seconds)

    def close(self) -> None:
        """End the child: politely, then not."""
        if self._process is None:
            return
        process, self._process, self._received = self._process, None, b""
        with process:  # closes the pipes: the child's input ends, and it does
            try:
                process.communicate(timeout=_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _asked(self, path: Path) -> subprocess.Popen[bytes]:
        """Return the child that got the question; one that died while it was idle is replaced."""
        question = json.dumps({"path": str(path.absolute())}).encode() + b"\n"
        for _ in range(2):
            process = self._ready_process()
            with contextlib.suppress(BrokenPipeError):
                os.write(_pipe(process.stdin), question)  # shorter than a pipe's buffer: all or nothing
                return process
            self._kill()
        raise TransientError(f"the reader process {self._module!r} dies before it is asked")

    def _ready_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()
        self._process = process = _spawned(self._module, self._limits)
        try:
            self._answer(process, time.monotonic() + _START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self._kill()
            raise TransientError(f"the reader process {self._module!r} does not start") from error
        return process

    def _answer(self, process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
        """Return the next line of the child. Raises TimeoutError at the deadline, EOFError where the child is gone."""
        descriptor = _pipe(process.stdout)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        parts = [self._received]
        total = 0
        while b"\n" not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError
            parts.append(os.read(descriptor, 1 << 20))
            total += len(parts[-1])
            if not parts[-1] or total > _LONGEST_ANSWER:
                raise EOFError
        line, _, self._received = b"".join(parts).partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self, path: Path) -> Reading:
        """Return why the child is gone, judged by how it ended: SIGKILL and SIGABRT are how memory runs out."""
        self._reap()
        status, resident = self._status, self._resident
        if status == -signal.SIGXCPU or status == -signal.SIGALRM:
            return because("reader_timeout", _type_of(path))
        is_full = resident > _MEMORY_SHARE * self._limits.memory_bytes  # true, too, below a parent that large
        if status == -signal.SIGKILL or (status == -signal.SIGABRT and is_full):
            return because("reader_memory", _type_of(path))
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        return because("reader_crashed", _type_of(path), f"the reader died of this file ({ended})")

    def _reap(self) -> None:
        """Note the exit status of a child that is gone, and the most memory it held in bytes."""
        process, self._process, self._received = self._process, None, b""
        if process is None:
            return
        with process:
            os.kill(process.pid, signal.SIGKILL)  # it may have closed its output without ending
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = self._status = os.waitstatus_to_exitcode(status)
        self._resident = usage.ru_maxrss * 1024

    def _kill(self) -> None:
        if self._process is None:
            return
        process, self._process, self._received = self._process, None, b""
        with process:
            process.kill()


def _spawned(module: str, limits: Limits) -> subprocess.Popen[bytes]:
    """Return a fresh child without our environment, our descriptors or our terminal."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-I", "-m", module, json.dumps(asdict(limits))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT, close_fds=True, cwd="/",
    )  # fmt: skip


def _type_of(path: Path) -> str:
    """Return the media type of a document whose reader could not say it any more."""
    try:
        with path.open("rb") as file:
            return media_type(file.read(HEAD))
    except OSError:
        return UNKNOWN


def _pipe(pipe: IO[bytes] | None) -> int:
    """Return the descriptor of a pipe to the child."""
    if pipe is None:
        raise RuntimeError("the child was started without pipes")
    return pipe.fileno()
