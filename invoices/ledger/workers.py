"""Workers: who works on a ledger, and how others on this machine see that one has died.

Each worker holds the lock of a file of its own for as long as it lives, however it ends. Where the file cannot be seen,
on another machine, only the lease of a claim tells.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path


class Worker:
    """This process as a worker in ``directory``; close it after use."""

    def __init__(self, directory: Path) -> None:
        """Lock a file of its own; raises OSError where the folder cannot be written."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(8)}"
        self._lock_file = _build_lock_path(directory, self.name).open("w", encoding="utf-8")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def filter_dead_workers(self, worker_names: Iterable[str]) -> list[str]:
        """Return which of these workers have left a file here that nobody holds any more."""
        return [
            worker_name
            for worker_name in worker_names
            if worker_name != self.name and _is_lock_abandoned(_build_lock_path(self._directory, worker_name))
        ]

    def delete_lock_files(self, worker_names: Iterable[str]) -> None:
        """Remove the files of dead workers."""
        for worker_name in worker_names:
            _build_lock_path(self._directory, worker_name).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock and remove its file."""
        _build_lock_path(self._directory, self.name).unlink(missing_ok=True)
        self._lock_file.close()


def _build_lock_path(directory: Path, worker_name: str) -> Path:
    return directory / f"{os.path.basename(worker_name)}.lock"


def _is_lock_abandoned(lock_path: Path) -> bool:
    try:
        with lock_path.open("r+", encoding="utf-8") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # no such file here, or its holder lives
        return False
    return True
