"""A seccomp filter for processes that only compute and read: no network, no programs, no other processes, no changes.

A filter of system calls (seccomp, Linux 3.17 and later) needs neither root nor a library: it is a short program for the
kernel's packet filter, and its numbers belong to the kernel's binary interface and never change. It uses no namespaces,
because an ordinary user often may not create one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_ALL_THREADS = 1, 1
# linux/bpf_common.h
_BPF_LOAD, _BPF_JUMP_IF_EQUAL, _BPF_JUMP_IF_ANY_BIT, _BPF_JUMP_IF_AT_LEAST = 0x20, 0x15, 0x45, 0x35
_BPF_RETURN = 0x06
_SYSCALL_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16  # in struct seccomp_data
_ACTION_ALLOW, _ACTION_REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_WRITE_OPEN_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_FIRST_X32_SYSCALL = 0x40000000  # from here on: the x32 calls of x86_64


@dataclass(frozen=True, slots=True)
class _SyscallTable:
    """The kernel's number of a processor architecture, and of its system calls."""

    architecture: int
    seccomp_number: int
    refused_syscalls: Mapping[str, int]
    open_flag_arguments: Mapping[int, int]  # number of the call: index of the argument with the flags


# aarch64 has only the newer calls, which take a folder's descriptor, not the older ones without it.
_X86_64 = _SyscallTable(
    architecture=0xC000003E,
    seccomp_number=317,
    refused_syscalls={
        "socket": 41, "io_uring_setup": 425,
        "execve": 59, "execveat": 322,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,
        "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
        "chmod": 90, "chown": 92, "lchown": 94, "mknod": 133, "mkdirat": 258, "mknodat": 259, "fchownat": 260,
        "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "renameat2": 316,
        "openat2": 437, "fchmodat2": 452, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308,
    },
    open_flag_arguments={2: 1, 257: 2},
)  # fmt: skip
_AARCH64 = _SyscallTable(
    architecture=0xC00000B7,
    seccomp_number=277,
    refused_syscalls={
        "socket": 198, "io_uring_setup": 425,
        "execve": 221, "execveat": 281,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438,
        "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "umount2": 39,
        "mount": 40, "truncate": 45, "fchmodat": 53, "fchownat": 54, "renameat2": 276, "openat2": 437,
        "fchmodat2": 452, "unshare": 97, "setns": 268,
    },
    open_flag_arguments={56: 2},
)  # fmt: skip
_SYSCALL_TABLES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def install_seccomp_filter() -> bool:
    """Refuse this process sockets, programs, access to other processes and changes to files from now on, with EPERM.

    Files can still be opened for reading, and open descriptors stay usable. Returns False and refuses nothing on a
    processor other than x86_64 and aarch64, or if the kernel does not support it.
    """
    syscall_table = _SYSCALL_TABLES.get(os.uname().machine)
    if syscall_table is None or struct.calcsize("P") != 8:
        return False
    program = b"".join(_build_filter_program(syscall_table))
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_descriptor = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        return False
    result: int = libc.syscall(
        *map(ctypes.c_long, (syscall_table.seccomp_number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_ALL_THREADS)),
        filter_descriptor,
    )
    return result == 0


def _build_filter_program(syscall_table: _SyscallTable) -> Sequence[bytes]:
    """Return the filter: one comparison for each refused call, two for each call that opens files."""
    instructions = [
        _encode_instruction(_BPF_LOAD, _ARCHITECTURE_OFFSET),
        _encode_instruction(_BPF_JUMP_IF_EQUAL, syscall_table.architecture, skip_if_true=1),
        _encode_instruction(_BPF_RETURN, _ACTION_REFUSE),
        _encode_instruction(_BPF_LOAD, _SYSCALL_NUMBER_OFFSET),
        *_build_refusal_if(_BPF_JUMP_IF_AT_LEAST, _FIRST_X32_SYSCALL),
    ]
    for number in syscall_table.refused_syscalls.values():
        instructions += _build_refusal_if(_BPF_JUMP_IF_EQUAL, number)
    for number, argument in syscall_table.open_flag_arguments.items():
        flag_check = [
            _encode_instruction(_BPF_LOAD, _ARGUMENTS_OFFSET + 8 * argument),
            *_build_refusal_if(_BPF_JUMP_IF_ANY_BIT, _WRITE_OPEN_FLAGS),
        ]
        instructions += [
            _encode_instruction(_BPF_JUMP_IF_EQUAL, number, skip_if_false=len(flag_check) + 1),
            *flag_check,
            _encode_instruction(_BPF_RETURN, _ACTION_ALLOW),
        ]
    return [*instructions, _encode_instruction(_BPF_RETURN, _ACTION_ALLOW)]


def _build_refusal_if(comparison: int, value: int) -> Sequence[bytes]:
    return [_encode_instruction(comparison, value, skip_if_false=1), _encode_instruction(_BPF_RETURN, _ACTION_REFUSE)]


def _encode_instruction(code: int, value: int, skip_if_true: int = 0, skip_if_false: int = 0) -> bytes:
    """Return one instruction; a comparison skips ``skip_if_true`` or ``skip_if_false`` instructions."""
    return struct.pack("=HBBI", code, skip_if_true, skip_if_false, value)
