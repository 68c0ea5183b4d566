"""Workers: the processes that work on a ledger, and how others on the same machine detect that one has died.

Each worker holds the lock on its own file until its process ends, however it ends. A worker on another machine has no
file here; its claims end only when their leases expire.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from invoices.private_files import make_private_directory, open_privately


class Worker:
    """This process as a worker in ``directory``; close it after use."""

    def __init__(self, directory: Path) -> None:
        """Create and lock the file of this worker; raises OSError if ``directory`` cannot be written."""
        make_private_directory(directory)
        self._directory = directory
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(8)}"
        lock_path = _build_lock_path(directory, self.name)
        self._lock_file = os.fdopen(open_privately(lock_path, os.O_RDWR | os.O_CREAT), "r+", encoding="utf-8")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def filter_dead_workers(self, worker_names: Iterable[str]) -> list[str]:
        """Return those of the workers whose file is here and no longer locked."""
        return [
            worker_name
            for worker_name in worker_names
            if worker_name != self.name and _is_lock_abandoned(_build_lock_path(self._directory, worker_name))
        ]

    def delete_lock_files(self, worker_names: Iterable[str]) -> None:
        """Delete the lock files of dead workers."""
        for worker_name in worker_names:
            _build_lock_path(self._directory, worker_name).unlink(missing_ok=True)

    def close(self) -> None:
        """Delete the lock file and release the lock."""
        _build_lock_path(self._directory, self.name).unlink(missing_ok=True)
        self._lock_file.close()


def _build_lock_path(directory: Path, worker_name: str) -> Path:
    return directory / f"{os.path.basename(worker_name)}.lock"


def _is_lock_abandoned(lock_path: Path) -> bool:
    try:
        with lock_path.open("r+", encoding="utf-8") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # there is no such file here, or its worker is alive
        return False
    return True
