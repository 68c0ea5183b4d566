"""A stand-in for the unwrapping child: limited as that one is, and it does whatever the container tells it to."""

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

from invoices.documents.child import Answered
from invoices.documents.unwrapping import child
from invoices.documents.unwrapping.parts import Part, Unwrapped

MEGABYTE = 1 << 20


def told(*contents: bytes, **fields: Any) -> Answered:
    parts = [Part(str(number), "application/octet-stream") for number, _ in enumerate(contents, start=1)]
    lengths = [len(content) for content in contents]
    return Answered({"found": Unwrapped(parts=parts), "lengths": lengths, **fields}, contents)


def stop_in_the_middle(how: Callable[[], object]) -> Answered:
    """Tell of three parts, and come to the middle of the second."""
    line = json.dumps({**told(bytes(9), bytes(MEGABYTE), b"").told, "last": False}, default=fields).encode()
    os.write(answers(), line + b"\n" + b"the first" + b"x" * 1000)
    how()
    raise AssertionError


def answers() -> int:
    """Return the descriptor that answers go to: the only pipe beside the one for questions."""
    return next(number for number in range(1, 64) if _is_pipe(number))


def _is_pipe(number: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    return False


def fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def refused(attempt: Callable[[], object]) -> Answered:
    """Return as the only part what an attempt came to."""
    try:
        return told(f"done: {attempt()}".encode())
    except OSError as error:
        return told(f"refused: {type(error).__name__}".encode())


def surroundings() -> Answered:
    """Return what the child knows of its surroundings."""
    return told("\n".join(f"{name}={value}" for name, value in os.environ.items()).encode())


def hang() -> None:
    while True:
        time.sleep(60)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def tcp_socket() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:
        return repr(line)


def udp_socket() -> int:
    """Go past Python, as code that took over the process would."""
    return checked(ctypes.CDLL(None, use_errno=True).socket(socket.AF_INET, socket.SOCK_DGRAM, 0))


def trace(process: int) -> int:
    return checked(ctypes.CDLL(None, use_errno=True).ptrace(0x4206, process, None, None))  # PTRACE_SEIZE


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


ORDERS: dict[bytes, Callable[[], Answered]] = {
    b"hang": lambda: told(repr(hang()).encode()),
    b"crash": lambda: told(repr(die(signal.SIGSEGV)).encode()),
    b"bomb": lambda: told(bytes(2000 * MEGABYTE)),
    b"hang in the middle": lambda: stop_in_the_middle(hang),
    b"crash in the middle": lambda: stop_in_the_middle(lambda: die(signal.SIGSEGV)),
    b"die of memory in the middle": lambda: stop_in_the_middle(lambda: die(signal.SIGKILL)),
    b"lie about lengths": lambda: told(b"one", b"two", lengths=[3]),
    b"say more than asked": lambda: told(b"one", b"two", lengths=[3, 1]),
    b"claim a terabyte": lambda: told(b"one", lengths=[1 << 40]),
    b"claim less than nothing": lambda: told(b"one", lengths=[-1]),
    b"tell rubbish": lambda: told(b"one", found="rubbish"),
    b"tell hashes": lambda: told(b"one", found=Unwrapped(parts=[Part("1", "text/plain")], hashes=["0" * 64])),
    b"leave out at will": lambda: told(b"one", found=Unwrapped(parts=[Part("1", "text/plain", left_out="whim")])),
    b"set aside at will": lambda: told(found=Unwrapped(reason_code="whim")),
    b"call it something long": lambda: told(b"one", found=Unwrapped(parts=[Part("1", "t" * 121)])),
    b"large": lambda: told(*[bytes([number]) * (20 * MEGABYTE) for number in range(4)]),
    b"surroundings": surroundings,
    b"tcp": lambda: refused(tcp_socket),
    b"udp by the C library": lambda: refused(udp_socket),
    b"run": lambda: refused(lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"])),  # noqa: S606 - refused
    b"write": lambda: refused(lambda: os.open(__file__, os.O_WRONLY)),
    b"remove": lambda: refused(lambda: os.unlink("there-is-no-such-file")),
    b"look at the parent": lambda: refused(lambda: trace(os.getppid())),
}


def obeyed(content: bytes, _: dict[str, Any]) -> Answered:
    """Return the answer to a container that is an order, or says what to say."""
    return ORDERS[content]() if content in ORDERS else told(content.removeprefix(b"say "))


if __name__ == "__main__":
    child.main(obeyed)
