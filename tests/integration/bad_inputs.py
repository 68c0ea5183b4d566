"""Bad input, watched: what a limited reader makes of it, how long that takes, and how much memory at most."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

from invoices.documents.reading import Limits, Readers, Reading

SECONDS = 10.0  # bar 3 of the catalogue: no row takes longer
MEGABYTES = 300


@dataclass(slots=True)
class Watched:
    """A pool of one reader, and per row the seconds and the megabytes of the worst file."""

    folder: Path
    readers: Readers
    rows: dict[str, tuple[float, float]] = field(default_factory=dict)

    def read(self, row: str, content: bytes | Path) -> Reading:
        """Return the reading of some bytes; fails where it took more than the catalogue allows."""
        path = content if isinstance(content, Path) else self.folder / "document"
        if isinstance(content, bytes):
            path.write_bytes(content)
        started = time.monotonic()
        with _Memory() as memory:
            reading = self.readers.read(path)
        seconds = time.monotonic() - started
        before = self.rows.get(row, (0.0, 0.0))
        self.rows[row] = max(before[0], seconds), max(before[1], memory.megabytes)
        assert seconds < SECONDS, (row, seconds)
        assert memory.megabytes < MEGABYTES, (row, memory.megabytes)
        return reading

    def table(self) -> str:
        """Return seconds and megabytes of each row, the slowest first."""
        slowest = sorted(self.rows.items(), key=lambda row: -row[1][0])
        return "\n".join(f"{row:6} {seconds:6.2f} s {megabytes:6.0f} MB" for row, (seconds, megabytes) in slowest)


def opened(folder: Path) -> Watched:
    """Return a watched pool; its limits are lower than the real ones, so that the tests are quick."""
    return Watched(folder, Readers(workers=1, limits=Limits(seconds=5.0), titles=False))


class _Memory:
    """The most memory that a reader of ours had while the block ran: asked every few milliseconds, it may be killed."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Memory:
        for process in _readers():
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak starts anew: proc(5)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        processes: list[psutil.Process] = []
        while not self._ended.wait(0.005):
            processes = [one for one in processes if one.is_running()] or _readers()
            self._look(processes)
        self._look(_readers())

    def _look(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
                self.megabytes = max(self.megabytes, int(found[1]) / 1024 if found else 0.0)


def _readers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("invoices.documents" in part for part in child.cmdline()):
                found.append(child)
    return found
