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

from invoices.documents.document_reader_process import ProcessLimits
from invoices.errors import TransientError

T = TypeVar("T")

_START_TIMEOUT_SECONDS = 60.0  # an overloaded machine starts slowly; that is not the document's fault
_CLOSE_TIMEOUT_SECONDS = 2.0
_MAX_LINE_BYTES = 64 * 1024 * 1024
_PIPE_BYTES = 1 << 20  # as large as anybody may make one: a mail and its parts go through in one piece
_READ_BLOCK_BYTES = 1 << 18
# One thread per library: on a machine of many cores their stacks alone would fill the allowed memory.
_CHILD_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_ARENA_MAX": "2",
}  # fmt: skip
_OUT_OF_MEMORY_SHARE = 0.7  # of what is allowed: a child that died with more in use died of it


@dataclass(frozen=True, slots=True)
class ProcessFailure:
    """Why a child gave no answer: ``reader_timeout``, ``reader_memory`` or ``reader_crashed``."""

    reason_code: str
    reason: str | None = None


class ResponseReader:
    """What a child says to one question, as it comes: lines and bytes. Its author is not to be believed."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        self.sent_byte_count = 0  # bytes of the question that are sent
        self._descriptor = descriptor
        self._remaining_seconds = (
            seconds  # of waiting for the child; what we do with its answer meanwhile is not its fault
        )
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read_line(self) -> bytes:
        """Return the next line without its end. Raises _Late or _Gone."""
        searched_byte_count = 0
        while (end := self._buffer.find(b"\n", searched_byte_count)) < 0:
            searched_byte_count = len(self._buffer)
            if searched_byte_count > _MAX_LINE_BYTES:
                raise _ProcessExitedError
            self._receive_block()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def read_exactly(self, size: int) -> bytes:
        """Return that many bytes. Raises _Late or _Gone."""
        while len(self._buffer) < size:
            self._receive_block()
        with memoryview(self._buffer) as view:
            content = bytes(view[:size])
        del self._buffer[:size]
        return content

    @property
    def has_unread_bytes(self) -> bool:
        """Return whether more came than was taken."""
        return bool(self._buffer)

    def wait_until_ready(self, poll: select.poll) -> None:
        """Wait for the child. Raises _Late where it has used up its seconds."""
        started = time.monotonic()
        is_ready = self._remaining_seconds > 0 and poll.poll(self._remaining_seconds * 1000)
        self._remaining_seconds -= time.monotonic() - started
        if not is_ready:
            raise _ResponseTimeoutError

    def _receive_block(self) -> None:
        self.wait_until_ready(self._poll)
        block = os.read(self._descriptor, _READ_BLOCK_BYTES)
        if not block:
            raise _ProcessExitedError
        self._buffer += block


class LimitedProcess:
    """A child that answers one question at a time; not for several threads at once."""

    def __init__(self, limits: ProcessLimits, module: str) -> None:
        self._limits = limits
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_status = 0  # of the last child that died
        self._peak_memory_bytes = 0

    def send_request(
        self, request: bytes, parse_response: Callable[[ResponseReader], tuple[T, bool]]
    ) -> T | ProcessFailure:
        """Return what ``take`` makes of the answer, and replace the child where ``take`` says that it was the last.

        ``question`` is a line of JSON and what follows it. Where the child gives no whole answer in time, or ``take``
        raises ValueError over it, the child is killed and the reason returned. A child that somebody else killed is
        replaced and asked once more, so ``take`` may be called twice. Raises TransientError if no child starts.
        """
        try:
            return self._send_request_retrying_if_killed(request, parse_response)
        except _ResponseTimeoutError:
            self.kill_process()
            return ProcessFailure("reader_timeout", f"reading took more than {self._limits.seconds:g} seconds")
        except _ProcessExitedError:
            return self._classify_exit()
        except ValueError:
            self.kill_process()
            return ProcessFailure("reader_crashed", "what the reader said of this file makes no sense")
        except BaseException:
            self.kill_process()  # in the middle of an answer
            raise

    def close(self) -> None:
        """End the child: politely, then not."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with process:  # closes the pipes: the child's input ends, and it does
            try:
                process.communicate(timeout=_CLOSE_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def kill_process(self) -> None:
        """End the child at once."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with process:
            process.kill()

    def _send_request_retrying_if_killed(
        self, request: bytes, parse_response: Callable[[ResponseReader], tuple[T, bool]]
    ) -> T:
        try:
            return self._send_request_once(request, parse_response)
        except _ProcessExitedError:
            self._collect_exit_status()
            if self._exit_status != -signal.SIGKILL:
                raise
        return self._send_request_once(request, parse_response)

    def _send_request_once(self, request: bytes, parse_response: Callable[[ResponseReader], tuple[T, bool]]) -> T:
        process, reader = self._begin_request(request)
        _send_remaining_bytes(
            _get_pipe_descriptor(process.stdin), memoryview(request)[reader.sent_byte_count :], reader
        )
        result, is_last = parse_response(reader)
        if reader.has_unread_bytes:
            raise ValueError("the child says more than it was asked")
        if is_last:
            self.close()
        return result

    def _begin_request(self, request: bytes) -> tuple[subprocess.Popen[bytes], ResponseReader]:
        """Return a child that got the beginning of the question; one that died while it was idle is replaced."""
        for _ in range(2):
            process = self._get_running_process()
            reader = ResponseReader(_get_pipe_descriptor(process.stdout), self._limits.seconds)
            with contextlib.suppress(BrokenPipeError):
                reader.sent_byte_count = os.write(_get_pipe_descriptor(process.stdin), request)
                return process, reader
            self.kill_process()
        raise TransientError(f"the reader process {self._module!r} dies before it is asked")

    def _get_running_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        self._process = process = _start_process(self._module, self._limits)
        try:
            ResponseReader(_get_pipe_descriptor(process.stdout), _START_TIMEOUT_SECONDS).read_line()
        except (_ProcessExitedError, _ResponseTimeoutError) as error:
            self.kill_process()
            raise TransientError(f"the reader process {self._module!r} does not start") from error
        return process

    def _classify_exit(self) -> ProcessFailure:
        """Return why the child is gone, judged by how it ended: SIGKILL and SIGABRT are how memory runs out."""
        self._collect_exit_status()
        status = self._exit_status
        if status in {-signal.SIGXCPU, -signal.SIGALRM}:
            return ProcessFailure("reader_timeout")
        is_out_of_memory = (
            self._peak_memory_bytes > _OUT_OF_MEMORY_SHARE * self._limits.memory_bytes
        )  # true, too, below a parent that large
        if status == -signal.SIGKILL or (status == -signal.SIGABRT and is_out_of_memory):
            return ProcessFailure("reader_memory")
        exit_description = f"signal {-status}" if status < 0 else f"status {status}"
        return ProcessFailure("reader_crashed", f"the reader died of this file ({exit_description})")

    def _collect_exit_status(self) -> None:
        """Note the exit status of a child that is gone, and the most memory it held in bytes."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            os.kill(process.pid, signal.SIGKILL)  # it may have closed its output without ending
            _, wait_status, usage = os.wait4(process.pid, 0)
            process.returncode = self._exit_status = os.waitstatus_to_exitcode(wait_status)
        self._peak_memory_bytes = usage.ru_maxrss * 1024


class _ResponseTimeoutError(Exception):
    """The child has used up its time."""


class _ProcessExitedError(Exception):
    """The child closed its end."""


def _start_process(module: str, limits: ProcessLimits) -> subprocess.Popen[bytes]:
    """Return a fresh child without our environment, our descriptors or our terminal."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-I", "-m", module, json.dumps(asdict(limits))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=_CHILD_ENVIRONMENT, close_fds=True, cwd="/",
    )  # fmt: skip
    os.set_blocking(_get_pipe_descriptor(process.stdin), False)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a user may have only so many of them
            fcntl.fcntl(_get_pipe_descriptor(pipe), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def _send_remaining_bytes(descriptor: int, remaining: memoryview, reader: ResponseReader) -> None:
    """Write the rest of a question, however slowly the child reads it. Raises _Late or _Gone."""
    if not remaining:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        while remaining:
            reader.wait_until_ready(poll)
            remaining = remaining[os.write(descriptor, remaining) :]
    except BrokenPipeError:
        raise _ProcessExitedError from None


def _get_pipe_descriptor(pipe: IO[bytes] | None) -> int:
    """Return the descriptor of a pipe to the child."""
    if pipe is None:
        raise RuntimeError("the child was started without pipes")
    return pipe.fileno()
