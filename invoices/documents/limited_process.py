"""The parent's side of one limited child process: start it, send requests, kill it at the deadline, replace it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import IO, TypeVar

from invoices.documents.child_process import ProcessLimits
from invoices.documents.request_deadline import RequestDeadline, read_process_activity
from invoices.errors import TransientError

T = TypeVar("T")

_START_TIMEOUT_SECONDS = 60.0  # generous, because an overloaded machine starts processes slowly
_CLOSE_TIMEOUT_SECONDS = 2.0
_MAX_LINE_BYTES = 64 * 1024 * 1024
_PIPE_BYTES = 1 << 20  # the most an ordinary user may set: a mail and its parts go through in one piece
_READ_BLOCK_BYTES = 1 << 18
# One thread per library: on a machine of many cores their stacks alone would fill the allowed memory.
_CHILD_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_ARENA_MAX": "2",
}  # fmt: skip
_OUT_OF_MEMORY_SHARE = 0.7  # of the limit: a child that died with more memory in use ran out of it


@dataclass(frozen=True, slots=True)
class ProcessFailure:
    """Why a child gave no response: ``reader_timeout``, ``reader_memory`` or ``reader_crashed``."""

    reason_code: str
    reason: str | None = None


class ResponseReader:
    """The response to one request, read as it arrives: lines and bytes. It is untrusted."""

    def __init__(self, descriptor: int, seconds: float, pid: int) -> None:
        self.sent_byte_count = 0  # bytes of the request that are sent
        self._descriptor = descriptor
        self._deadline = RequestDeadline(seconds, partial(read_process_activity, pid))  # our own work does not count
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read_line(self) -> bytes:
        """Return the next line without its line end. Raises _ResponseTimeoutError or _ProcessExitedError."""
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
        """Return ``size`` bytes. Raises _ResponseTimeoutError or _ProcessExitedError."""
        while len(self._buffer) < size:
            self._receive_block()
        with memoryview(self._buffer) as view:
            content = bytes(view[:size])
        del self._buffer[:size]
        return content

    @property
    def has_unread_bytes(self) -> bool:
        """Return whether more bytes arrived than were read."""
        return bool(self._buffer)

    def wait_until_ready(self, poll: select.poll) -> None:
        """Wait for the child. Raises _ResponseTimeoutError when its time is used up."""
        while not self._deadline.is_expired:
            self._deadline.start_tick()
            is_ready = bool(poll.poll(self._deadline.tick_seconds * 1000))
            self._deadline.count_tick(is_ready=is_ready)
            if is_ready:
                return
        raise _ResponseTimeoutError

    def _receive_block(self) -> None:
        self.wait_until_ready(self._poll)
        block = os.read(self._descriptor, _READ_BLOCK_BYTES)
        if not block:
            raise _ProcessExitedError
        self._buffer += block


class LimitedProcess:
    """A child that answers one request at a time; not thread-safe."""

    def __init__(self, limits: ProcessLimits, module: str) -> None:
        self._limits = limits
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_status = 0  # of the last child that died
        self._peak_memory_bytes = 0

    def send_request(
        self, request: bytes, parse_response: Callable[[ResponseReader], tuple[T, bool]]
    ) -> T | ProcessFailure:
        """Return the result of ``parse_response``, which also returns whether the child ends after this response.

        ``request`` is a line of JSON and what follows it. If the child does not send a whole response in time, or
        ``parse_response`` raises ValueError, the child is killed and the reason returned. A child that was killed with
        SIGKILL is replaced and the request repeated once, so ``parse_response`` may be called twice. Raises
        TransientError if no child starts.
        """
        try:
            return self._send_request_retrying_if_killed(request, parse_response)
        except _ResponseTimeoutError:
            self.kill_process()
            reason = (
                f"reading took more than {self._limits.seconds:g} seconds of processor time, or stood still as long"
            )
            return ProcessFailure("reader_timeout", reason)
        except _ProcessExitedError:
            return self._classify_exit()
        except ValueError:
            self.kill_process()
            return ProcessFailure("reader_crashed", "the reader's response about this file is invalid")
        except BaseException:
            self.kill_process()  # in the middle of a response
            raise

    def close(self) -> None:
        """End the child: close its input, and kill it if it does not end in time."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with process:  # closes the pipes: the child ends with its input
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
            raise ValueError("the response is longer than it states")
        if is_last:
            self.close()
        return result

    def _begin_request(self, request: bytes) -> tuple[subprocess.Popen[bytes], ResponseReader]:
        """Return a child that received the start of the request; one that died while idle is replaced."""
        for _ in range(2):
            process = self._get_running_process()
            reader = ResponseReader(_get_pipe_descriptor(process.stdout), self._limits.seconds, process.pid)
            with contextlib.suppress(BrokenPipeError):
                reader.sent_byte_count = os.write(_get_pipe_descriptor(process.stdin), request)
                return process, reader
            self.kill_process()
        raise TransientError(f"the reader process {self._module!r} ended twice before it took a request")

    def _get_running_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        self._process = process = _start_process(self._module, self._limits)
        try:
            ResponseReader(_get_pipe_descriptor(process.stdout), _START_TIMEOUT_SECONDS, process.pid).read_line()
        except (_ProcessExitedError, _ResponseTimeoutError) as error:
            self.kill_process()
            raise TransientError(f"the reader process {self._module!r} did not start") from error
        return process

    def _classify_exit(self) -> ProcessFailure:
        """Return why the child ended, from its exit status; SIGABRT with nearly all its memory in use: it ran out."""
        self._collect_exit_status()
        status = self._exit_status
        if status == -signal.SIGXCPU:
            return ProcessFailure("reader_timeout")
        # The peak includes the parent's memory before the exec, so a large parent also makes this true.
        is_out_of_memory = self._peak_memory_bytes > _OUT_OF_MEMORY_SHARE * self._limits.memory_bytes
        if status == -signal.SIGABRT and is_out_of_memory:
            return ProcessFailure("reader_memory")
        if status == -signal.SIGKILL:  # by the system, when other programs need the memory, or by a person
            return ProcessFailure("reader_crashed", "the process that read this file was killed from outside")
        exit_description = f"signal {-status}" if status < 0 else f"status {status}"
        return ProcessFailure("reader_crashed", f"the reader crashed on this file ({exit_description})")

    def _collect_exit_status(self) -> None:
        """Record the exit status and the peak memory (bytes) of a child that closed its output."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            os.kill(process.pid, signal.SIGKILL)  # it may have closed its output and still be running
            _, wait_status, usage = os.wait4(process.pid, 0)
            process.returncode = self._exit_status = os.waitstatus_to_exitcode(wait_status)
        self._peak_memory_bytes = usage.ru_maxrss * 1024


class _ResponseTimeoutError(Exception):
    """The child used up its time."""


class _ProcessExitedError(Exception):
    """The child closed its end of the pipe."""


def _start_process(module: str, limits: ProcessLimits) -> subprocess.Popen[bytes]:
    """Start a child without our environment, descriptors or terminal."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-I", "-m", module, json.dumps(asdict(limits))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=_CHILD_ENVIRONMENT, close_fds=True, cwd="/",
    )  # fmt: skip
    os.set_blocking(_get_pipe_descriptor(process.stdin), False)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # the kernel limits the pipe memory of a user
            fcntl.fcntl(_get_pipe_descriptor(pipe), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def _send_remaining_bytes(descriptor: int, remaining: memoryview, reader: ResponseReader) -> None:
    """Write the rest of a request, however slowly the child reads it. Raises as ``ResponseReader`` does."""
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
