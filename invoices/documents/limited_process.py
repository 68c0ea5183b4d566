"""One limited child process as its parent sees it: start, ask, take the answer, kill at the deadline, replace."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, TypeVar

from invoices.documents.child import Limits
from invoices.errors import TransientError

T = TypeVar("T")

_START_SECONDS = 60.0  # an overloaded machine starts slowly; that is not the document's fault
_CLOSE_SECONDS = 2.0
_LONGEST_LINE = 64 * 1024 * 1024
_PIPE = 1 << 20  # as large as anybody may make one: a mail and its parts go through in one piece
_BLOCK = 1 << 18
# One thread per library: on a machine of many cores their stacks alone would fill the allowed memory.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_ARENA_MAX": "2",
}  # fmt: skip
_MEMORY_SHARE = 0.7  # of what is allowed: a child that died with more in use died of it


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a child gave no answer: ``reader_timeout``, ``reader_memory`` or ``reader_crashed``."""

    reason_code: str
    reason: str | None = None


class Answer:
    """What a child says to one question, as it comes: lines and bytes. Its author is not to be believed."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        self.asked = 0  # bytes of the question that are sent
        self._descriptor = descriptor
        self._left = seconds  # of waiting for the child; what we do with its answer meanwhile is not its fault
        self._received = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def line(self) -> bytes:
        """Return the next line without its end. Raises _Late or _Gone."""
        looked = 0
        while (end := self._received.find(b"\n", looked)) < 0:
            looked = len(self._received)
            if looked > _LONGEST_LINE:
                raise _Gone
            self._receive()
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def exactly(self, size: int) -> bytes:
        """Return that many bytes. Raises _Late or _Gone."""
        while len(self._received) < size:
            self._receive()
        with memoryview(self._received) as received:
            taken = bytes(received[:size])
        del self._received[:size]
        return taken

    @property
    def has_more(self) -> bool:
        """Return whether more came than was taken."""
        return bool(self._received)

    def wait(self, poll: select.poll) -> None:
        """Wait for the child. Raises _Late where it has used up its seconds."""
        started = time.monotonic()
        is_ready = self._left > 0 and poll.poll(self._left * 1000)
        self._left -= time.monotonic() - started
        if not is_ready:
            raise _Late

    def _receive(self) -> None:
        self.wait(self._poll)
        block = os.read(self._descriptor, _BLOCK)
        if not block:
            raise _Gone
        self._received += block


class LimitedProcess:
    """A child that answers one question at a time; not for several threads at once."""

    def __init__(self, limits: Limits, module: str) -> None:
        self._limits = limits
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._status = 0  # of the last child that died
        self._resident = 0

    def ask(self, question: bytes, take: Callable[[Answer], tuple[T, bool]]) -> T | Stopped:
        """Return what ``take`` makes of the answer, and replace the child where ``take`` says that it was the last.

        ``question`` is a line of JSON and what follows it. Where the child gives no whole answer in time, or ``take``
        raises ValueError over it, the child is killed and the reason returned. A child that somebody else killed is
        replaced and asked once more, so ``take`` may be called twice. Raises TransientError if no child starts.
        """
        try:
            return self._asked(question, take)
        except _Late:
            self.kill()
            return Stopped("reader_timeout", f"reading took more than {self._limits.seconds:g} seconds")
        except _Gone:
            return self._died()
        except ValueError:
            self.kill()
            return Stopped("reader_crashed", "what the reader said of this file makes no sense")
        except BaseException:
            self.kill()  # in the middle of an answer
            raise

    def close(self) -> None:
        """End the child: politely, then not."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with process:  # closes the pipes: the child's input ends, and it does
            try:
                process.communicate(timeout=_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def kill(self) -> None:
        """End the child at once."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with process:
            process.kill()

    def _asked(self, question: bytes, take: Callable[[Answer], tuple[T, bool]]) -> T:
        try:
            return self._answered(question, take)
        except _Gone:
            self._reap()
            if self._status != -signal.SIGKILL:
                raise
        return self._answered(question, take)

    def _answered(self, question: bytes, take: Callable[[Answer], tuple[T, bool]]) -> T:
        process, answer = self._asking(question)
        _send(_pipe(process.stdin), memoryview(question)[answer.asked :], answer)
        taken, is_last = take(answer)
        if answer.has_more:
            raise ValueError("the child says more than it was asked")
        if is_last:
            self.close()
        return taken

    def _asking(self, question: bytes) -> tuple[subprocess.Popen[bytes], Answer]:
        """Return a child that got the beginning of the question; one that died while it was idle is replaced."""
        for _ in range(2):
            process = self._ready_process()
            answer = Answer(_pipe(process.stdout), self._limits.seconds)
            with contextlib.suppress(BrokenPipeError):
                answer.asked = os.write(_pipe(process.stdin), question)
                return process, answer
            self.kill()
        raise TransientError(f"the reader process {self._module!r} dies before it is asked")

    def _ready_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        self._process = process = _spawned(self._module, self._limits)
        try:
            Answer(_pipe(process.stdout), _START_SECONDS).line()
        except (_Gone, _Late) as error:
            self.kill()
            raise TransientError(f"the reader process {self._module!r} does not start") from error
        return process

    def _died(self) -> Stopped:
        """Return why the child is gone, judged by how it ended: SIGKILL and SIGABRT are how memory runs out."""
        self._reap()
        status = self._status
        if status in {-signal.SIGXCPU, -signal.SIGALRM}:
            return Stopped("reader_timeout")
        is_full = self._resident > _MEMORY_SHARE * self._limits.memory_bytes  # true, too, below a parent that large
        if status == -signal.SIGKILL or (status == -signal.SIGABRT and is_full):
            return Stopped("reader_memory")
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        return Stopped("reader_crashed", f"the reader died of this file ({ended})")

    def _reap(self) -> None:
        """Note the exit status of a child that is gone, and the most memory it held in bytes."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            os.kill(process.pid, signal.SIGKILL)  # it may have closed its output without ending
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = self._status = os.waitstatus_to_exitcode(status)
        self._resident = usage.ru_maxrss * 1024


class _Late(Exception):
    """The child has used up its time."""


class _Gone(Exception):
    """The child closed its end."""


def _spawned(module: str, limits: Limits) -> subprocess.Popen[bytes]:
    """Return a fresh child without our environment, our descriptors or our terminal."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-I", "-m", module, json.dumps(asdict(limits))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT, close_fds=True, cwd="/",
    )  # fmt: skip
    os.set_blocking(_pipe(process.stdin), False)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a user may have only so many of them
            fcntl.fcntl(_pipe(pipe), fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _send(descriptor: int, left: memoryview, answer: Answer) -> None:
    """Write the rest of a question, however slowly the child reads it. Raises _Late or _Gone."""
    if not left:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        while left:
            answer.wait(poll)
            left = left[os.write(descriptor, left) :]
    except BrokenPipeError:
        raise _Gone from None


def _pipe(pipe: IO[bytes] | None) -> int:
    """Return the descriptor of a pipe to the child."""
    if pipe is None:
        raise RuntimeError("the child was started without pipes")
    return pipe.fileno()
