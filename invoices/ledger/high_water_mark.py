"""The high-water mark of a home: the id of its ledger, and the highest revision that a process of this home committed.

It is flushed to disk after each commit and before whatever the commit announces, such as a request to a vendor. A
ledger that is below the mark has been restored from a backup, and lacks records of what was done since.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RECORD_BYTES = 128  # always written whole: a shorter record could leave the end of a longer one behind


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """A ledger and its highest revision that is known in a home."""

    ledger_id: str
    revision: int


class HighWaterMarkFile:
    """The high-water mark at ``path``, shared by all processes of the home."""

    def __init__(self, path: Path) -> None:
        """Keep the path; nothing is read or written yet."""
        self._path = path
        self._thread_lock = threading.Lock()

    def read(self) -> HighWaterMark | None:
        """Return the mark; None if there is none, or it is damaged."""
        try:
            return _parse_record(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def replace(self, mark: HighWaterMark) -> None:
        """Write the mark, whatever is there."""
        with self._open_locked() as descriptor:
            _write_record(descriptor, mark)

    def raise_to(self, mark: HighWaterMark) -> None:
        """Write the mark, unless the same ledger already has a higher one."""
        with self._open_locked() as descriptor:
            current = _parse_record(os.pread(descriptor, RECORD_BYTES, 0))
            if current is None or current.ledger_id != mark.ledger_id or current.revision < mark.revision:
                _write_record(descriptor, mark)

    @contextmanager
    def _open_locked(self) -> Iterator[int]:
        with self._thread_lock:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield descriptor
            finally:
                os.close(descriptor)


def _write_record(descriptor: int, mark: HighWaterMark) -> None:
    text = json.dumps({"ledger_id": mark.ledger_id, "revision": mark.revision})
    os.pwrite(descriptor, text.ljust(RECORD_BYTES - 1).encode() + b"\n", 0)
    os.fdatasync(descriptor)


def _parse_record(content: bytes) -> HighWaterMark | None:
    try:
        record = json.loads(content)
        return HighWaterMark(str(record["ledger_id"]), int(record["revision"]))
    except (ValueError, KeyError, TypeError):
        return None
