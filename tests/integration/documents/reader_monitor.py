"""A reader pool that measures the time and the peak memory of each reading."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

from invoices.documents.document_reader_pool import DocumentReaderPool, DocumentReading, ProcessLimits

MAX_SECONDS = 10.0  # no row of docs/bad-inputs.md takes longer
MAX_MEGABYTES = 300


@dataclass(slots=True)
class MonitoredReaders:
    """A pool of one reader, and for each row the seconds and megabytes of the worst file."""

    folder: Path
    reader_pool: DocumentReaderPool
    peaks_by_row: dict[str, tuple[float, float]] = field(default_factory=dict)

    def read_document(self, row: str, content: bytes | Path) -> DocumentReading:
        """Return the reading of some bytes or a file; fails if it took more time or memory than allowed."""
        path = content if isinstance(content, Path) else self.folder / "document"
        if isinstance(content, bytes):
            path.write_bytes(content)
        started = time.monotonic()
        with _MemoryMonitor() as monitor:
            reading = self.reader_pool.read(path)
        seconds = time.monotonic() - started
        previous_peaks = self.peaks_by_row.get(row, (0.0, 0.0))
        self.peaks_by_row[row] = max(previous_peaks[0], seconds), max(previous_peaks[1], monitor.megabytes)
        assert seconds < MAX_SECONDS, (row, seconds)
        assert monitor.megabytes < MAX_MEGABYTES, (row, monitor.megabytes)
        return reading

    def render_table(self) -> str:
        """Return seconds and megabytes of each row, the slowest first."""
        slowest = sorted(self.peaks_by_row.items(), key=lambda row: -row[1][0])
        return "\n".join(f"{row:6} {seconds:6.2f} s {megabytes:6.0f} MB" for row, (seconds, megabytes) in slowest)


def open_monitored_readers(folder: Path) -> MonitoredReaders:
    """Return a monitored pool; its time limit is lower than the real one, so that the tests are quick."""
    return MonitoredReaders(
        folder, DocumentReaderPool(worker_count=1, limits=ProcessLimits(seconds=5.0), use_title_ocr=False)
    )


class _MemoryMonitor:
    """The peak memory of our reader processes during the block; sampled, because a process may be killed."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _MemoryMonitor:
        for process in _list_reader_processes():
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # resets the peak: proc(5)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_event.set()
        self._thread.join()

    def _run(self) -> None:
        processes: list[psutil.Process] = []
        while not self._stop_event.wait(0.005):
            processes = [process for process in processes if process.is_running()] or _list_reader_processes()
            self._record_peak(processes)
        self._record_peak(_list_reader_processes())

    def _record_peak(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(OSError):
                match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
                self.megabytes = max(self.megabytes, int(match[1]) / 1024 if match else 0.0)


def _list_reader_processes() -> list[psutil.Process]:
    processes = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("invoices.documents" in part for part in child.cmdline()):
                processes.append(child)
    return processes
