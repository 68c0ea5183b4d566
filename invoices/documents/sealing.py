"""A process that may only compute and read: the kernel refuses it the network, programs, other processes and changes.

A filter of system calls (seccomp, Linux 3.17 and later) needs neither root nor a library: it is a short program for the
kernel's packet filter, whose numbers are the kernel's binary interface and never change. No namespace is used, because
a user who is not root may often not make one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where struct seccomp_data has them
_ALLOWED, _REFUSED = 0x7FFF0000, 0x00050000 | errno.EPERM
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_OTHER_NUMBERS = 0x40000000  # from here on: the x32 calls of x86_64


@dataclass(frozen=True, slots=True)
class _Machine:
    """What the kernel calls one kind of processor, and the numbers of its system calls."""

    architecture: int
    seccomp: int
    refused: Mapping[str, int]
    opening: Mapping[int, int]  # and which argument holds the flags


# Calls that aarch64 does not have do with a folder's descriptor what the older ones do without.
_X86_64 = _Machine(
    architecture=0xC000003E,
    seccomp=317,
    refused={
        "socket": 41, "io_uring_setup": 425,
        "execve": 59, "execveat": 322,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,
        "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
        "chmod": 90, "chown": 92, "lchown": 94, "mknod": 133, "mkdirat": 258, "mknodat": 259, "fchownat": 260,
        "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "renameat2": 316,
        "openat2": 437, "fchmodat2": 452, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308,
    },
    opening={2: 1, 257: 2},
)  # fmt: skip
_AARCH64 = _Machine(
    architecture=0xC00000B7,
    seccomp=277,
    refused={
        "socket": 198, "io_uring_setup": 425,
        "execve": 221, "execveat": 281,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438,
        "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "umount2": 39,
        "mount": 40, "truncate": 45, "fchmodat": 53, "fchownat": 54, "renameat2": 276, "openat2": 437,
        "fchmodat2": 452, "unshare": 97, "setns": 268,
    },
    opening={56: 2},
)  # fmt: skip
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def seal() -> bool:
    """Refuse this process, from now on, sockets, programs, other processes and changes to files; all with EPERM.

    Files can still be opened for reading, and what is open stays usable. Returns False, and refuses nothing, on another
    processor than x86_64 and aarch64 or where the kernel does not offer it.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or struct.calcsize("P") != 8:
        return False
    program = b"".join(_program(machine))
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    kernel = ctypes.CDLL(None)
    if kernel.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        return False
    taken: int = kernel.syscall(*map(ctypes.c_long, (machine.seccomp, _SET_MODE_FILTER, _ALL_THREADS)), described)
    return taken == 0


def _program(machine: _Machine) -> Sequence[bytes]:
    """Return the filter: one comparison for each call that is refused, and two for each that opens files."""
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_IF_EQUAL, machine.architecture, then=1),
        _line(_RETURN, _REFUSED),
        _line(_LOAD, _NUMBER),
        *_refused_if(_IF_AT_LEAST, _OTHER_NUMBERS),
    ]
    for number in machine.refused.values():
        lines += _refused_if(_IF_EQUAL, number)
    for number, argument in machine.opening.items():
        flags = [_line(_LOAD, _ARGUMENTS + 8 * argument), *_refused_if(_IF_ANY_BIT, _WRITING)]
        lines += [_line(_IF_EQUAL, number, otherwise=len(flags) + 1), *flags, _line(_RETURN, _ALLOWED)]
    return [*lines, _line(_RETURN, _ALLOWED)]


def _refused_if(comparison: int, value: int) -> Sequence[bytes]:
    return [_line(comparison, value, otherwise=1), _line(_RETURN, _REFUSED)]


def _line(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """Return one instruction; ``then`` and ``otherwise`` are how many to skip after a comparison."""
    return struct.pack("=HBBI", code, then, otherwise, value)
