"""A stand-in for the opener process, with the same limits, that obeys commands: the container is a command."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

from invoices.documents.child_process import ChildResponse
from invoices.documents.containers import container_opener_process
from invoices.documents.containers.opened_container import ContainerPart, OpenedContainer

MEGABYTE = 1 << 20


def build_response(*contents: bytes, **fields: Any) -> ChildResponse:
    parts = [ContainerPart(str(number), "application/octet-stream") for number, _ in enumerate(contents, start=1)]
    lengths = [len(content) for content in contents]
    return ChildResponse(
        {"opened_container": OpenedContainer(parts=parts), "part_lengths": lengths, **fields}, contents
    )


def send_partial_response(stop: Callable[[], object]) -> ChildResponse:
    """Announce three parts, send the first and some of the second, then call ``stop``."""
    line = json.dumps(
        {**build_response(bytes(9), bytes(MEGABYTE), b"").header, "is_last": False}, default=to_dict
    ).encode()
    os.write(find_response_descriptor(), line + b"\n" + b"the first" + b"x" * 1000)
    stop()
    raise AssertionError


def find_response_descriptor() -> int:
    """Return the descriptor for responses: the only pipe beside the one for requests."""
    return next(number for number in range(1, 64) if _is_pipe(number))


def _is_pipe(number: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    return False


def to_dict(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def build_attempt_response(attempt: Callable[[], object]) -> ChildResponse:
    """Return the result of an attempt as the only part."""
    try:
        return build_response(f"done: {attempt()}".encode())
    except OSError as error:
        return build_response(f"refused: {type(error).__name__}".encode())


def build_environment_response() -> ChildResponse:
    """Return the environment variables of the child."""
    return build_response("\n".join(f"{name}={value}" for name, value in os.environ.items()).encode())


def sleep_forever() -> None:
    while True:
        time.sleep(60)


def compute_forever() -> None:
    while True:
        pass


def stop_parent() -> bytes:
    os.kill(os.getppid(), signal.SIGSTOP)
    return b"done"


def kill_self(signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)


def open_tcp_socket() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        return repr(connection)


def open_udp_socket() -> int:
    """Call the C library directly, as code that took over the process would."""
    return raise_for_error_code(ctypes.CDLL(None, use_errno=True).socket(socket.AF_INET, socket.SOCK_DGRAM, 0))


def trace_process(pid: int) -> int:
    return raise_for_error_code(ctypes.CDLL(None, use_errno=True).ptrace(0x4206, pid, None, None))  # PTRACE_SEIZE


def raise_for_error_code(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


BEHAVIOURS: dict[bytes, Callable[[], ChildResponse]] = {
    b"hang": lambda: build_response(repr(sleep_forever()).encode()),
    b"compute forever": lambda: build_response(repr(compute_forever()).encode()),
    b"stop the parent, then echo": lambda: build_response(stop_parent()),
    b"crash": lambda: build_response(repr(kill_self(signal.SIGSEGV)).encode()),
    b"bomb": lambda: build_response(bytes(2000 * MEGABYTE)),
    b"hang in the middle": lambda: send_partial_response(sleep_forever),
    b"crash in the middle": lambda: send_partial_response(lambda: kill_self(signal.SIGSEGV)),
    b"be killed in the middle": lambda: send_partial_response(lambda: kill_self(signal.SIGKILL)),
    b"misstate lengths": lambda: build_response(b"one", b"two", part_lengths=[3]),
    b"send more than stated": lambda: build_response(b"one", b"two", part_lengths=[3, 1]),
    b"claim a terabyte": lambda: build_response(b"one", part_lengths=[1 << 40]),
    b"claim a negative length": lambda: build_response(b"one", part_lengths=[-1]),
    b"send an invalid container": lambda: build_response(b"one", opened_container="invalid"),
    b"send hashes": lambda: build_response(
        b"one", opened_container=OpenedContainer(parts=[ContainerPart("1", "text/plain")], part_hashes=["0" * 64])
    ),
    b"invent a skip reason": lambda: build_response(
        b"one", opened_container=OpenedContainer(parts=[ContainerPart("1", "text/plain", skip_reason_code="unknown")])
    ),
    b"invent a reason code": lambda: build_response(opened_container=OpenedContainer(reason_code="unknown")),
    b"send a long media type": lambda: build_response(
        b"one", opened_container=OpenedContainer(parts=[ContainerPart("1", "t" * 121)])
    ),
    b"large": lambda: build_response(*[bytes([number]) * (20 * MEGABYTE) for number in range(4)]),
    b"environment": build_environment_response,
    b"tcp": lambda: build_attempt_response(open_tcp_socket),
    b"udp by the C library": lambda: build_attempt_response(open_udp_socket),
    b"run": lambda: build_attempt_response(lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"])),  # noqa: S606 - refused
    b"write": lambda: build_attempt_response(lambda: os.open(__file__, os.O_WRONLY)),
    b"remove": lambda: build_attempt_response(lambda: os.unlink("there-is-no-such-file")),
    b"trace the parent": lambda: build_attempt_response(lambda: trace_process(os.getppid())),
}


def respond_to_container(content: bytes, _: dict[str, Any]) -> ChildResponse:
    """Obey a command, or return the content that follows ``echo``."""
    return BEHAVIOURS[content]() if content in BEHAVIOURS else build_response(content.removeprefix(b"echo "))


if __name__ == "__main__":
    container_opener_process.main(respond_to_container)
