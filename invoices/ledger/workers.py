"""Workers: the processes that work on a ledger, and how others detect that one has died.

Each worker holds the lock on its own file until its process ends, however it ends. Where the file is not visible (in
another home, or deleted), the name says on which machine which process is the worker. What a worker on another machine
has claimed ends only with its leases.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import socket
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from invoices.private_files import make_private_directory, open_privately

_open_worker_names: set[str] = set()  # of this process


class Worker:
    """This process as a worker in ``directory``; close it after use."""

    def __init__(self, directory: Path) -> None:
        """Create and lock the file of this worker; raises OSError if ``directory`` cannot be written."""
        make_private_directory(directory)
        self._directory, process_id = directory, os.getpid()
        start_time = _find_start_time(process_id) or "0"
        self.name = "-".join(
            [socket.gethostname()[:30], str(process_id), start_time, _compute_machine_id(), secrets.token_hex(8)]
        )
        lock_path = _build_lock_path(directory, self.name)
        self._lock_file = os.fdopen(open_privately(lock_path, os.O_RDWR | os.O_CREAT), "r+", encoding="utf-8")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _open_worker_names.add(self.name)

    def filter_dead_workers(self, worker_names: Iterable[str]) -> list[str]:
        """Return those of the workers that are certainly dead: by their lock file, else by their process."""
        return [
            worker_name
            for worker_name in worker_names
            if worker_name != self.name and _is_dead(_build_lock_path(self._directory, worker_name), worker_name)
        ]

    def list_ended_workers(self) -> list[str]:
        """Return the workers of this machine with a lock file in the directory whose process has ended."""
        names = [path.name.removesuffix(".lock") for path in self._directory.glob("*.lock")]
        return [name for name in names if _has_process_ended(name) and self.filter_dead_workers([name])]

    def delete_lock_files(self, worker_names: Iterable[str]) -> None:
        """Delete the lock files of dead workers."""
        for worker_name in worker_names:
            _build_lock_path(self._directory, worker_name).unlink(missing_ok=True)

    def close(self, *, has_claims: bool = False) -> None:
        """Release the lock, and delete its file; with ``has_claims`` the file stays, so that others release them."""
        if not has_claims:
            _build_lock_path(self._directory, self.name).unlink(missing_ok=True)
        self._lock_file.close()
        _open_worker_names.discard(self.name)


def _build_lock_path(directory: Path, worker_name: str) -> Path:
    return directory / f"{os.path.basename(worker_name)}.lock"


def _is_dead(lock_path: Path, worker_name: str) -> bool:
    try:
        with lock_path.open("r+", encoding="utf-8") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return _has_process_ended(worker_name)
    except OSError:  # locked by the worker, or unreadable for us
        return False
    return True


def _has_process_ended(worker_name: str) -> bool:
    """Return whether the process in the name has ended; False if it is on another machine or unknown."""
    _, *parts = worker_name.rsplit("-", 4)
    if len(parts) != 4 or not parts[0].isdecimal() or parts[2] != _compute_machine_id():
        return False
    process_id, start_time = int(parts[0]), parts[1]
    if process_id == os.getpid():
        return worker_name not in _open_worker_names
    return _find_start_time(process_id) != start_time


def _find_start_time(process_id: int) -> str | None:
    """Return when a process of this machine began, in ticks since its start; None without such a process."""
    try:
        fields = (
            Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]  # a zombie holds nothing any more


@cache
def _compute_machine_id() -> str:
    """Return the same 8 characters in all processes that see each other's process ids, until the machine restarts."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no Linux: other workers are known by their lock file or their leases only
        return secrets.token_hex(4)
    return hashlib.sha256(f"{boot_id} {namespace}".encode()).hexdigest()[:8]
