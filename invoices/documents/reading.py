"""What documents are, read in processes that can be killed: a bad file costs a result and never the batch."""

from __future__ import annotations

import contextlib
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from invoices.documents import title_child
from invoices.documents.child import Limits
from invoices.documents.outcomes import Outcome, Reading
from invoices.documents.reader_process import ReaderProcess
from invoices.errors import TransientError

_PICTURES = {"image/png", "image/jpeg"}

__all__ = ["Limits", "Outcome", "Readers", "Reading"]


class Readers:
    """A pool of reader processes, started when first needed; threads may share it; close it, or use ``with``.

    A document gets ``limits.seconds`` on the clock and ``limits.memory_bytes`` of private memory; past either, its
    process is killed and replaced, and the reading says ``reader_timeout``, ``reader_memory`` or ``reader_crashed``.

    Where the package rapidocr-onnxruntime is installed (or ``titles`` is true), one more process reads the heads of
    pictures, so that an expense report or a delivery note does not go to a paid model.
    """

    def __init__(self, workers: int | None = None, limits: Limits | None = None, titles: bool | None = None) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._limits = limits or Limits()
        self._idle: queue.LifoQueue[ReaderProcess] = queue.LifoQueue()
        self._all = [ReaderProcess(self._limits) for _ in range(self._workers)]
        for process in self._all:
            self._idle.put(process)
        self._titles: queue.Queue[ReaderProcess] = queue.Queue()
        self._reads_titles = title_child.is_available() if titles is None else titles
        if self._reads_titles:
            self._all.append(ReaderProcess(title_child.LIMITS, "invoices.documents.title_child"))
            self._titles.put(self._all[-1])

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: Path) -> Reading:
        """Return what the document at ``path`` is; waits for an idle process where all are busy."""
        reading = _read_by(self._idle, path)
        if self._reads_titles and reading.outcome == "needs_extraction" and reading.media_type in _PICTURES:
            with contextlib.suppress(TransientError):  # where it does not start, a model is asked anyway
                titled = _read_by(self._titles, path)
                return titled if titled.outcome == "not_invoice" else reading
        return reading

    def read_many(self, paths: Iterable[Path]) -> Iterator[Reading]:
        """Yield the reading of each path, in their order, with all processes at work and a bounded number ahead."""
        waiting: deque[Future[Reading]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="reader") as threads:
            try:
                for path in paths:
                    waiting.append(threads.submit(self.read, path))
                    if len(waiting) > 8 * self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def close(self) -> None:
        """End all processes; none is left behind."""
        with contextlib.ExitStack() as stack:
            for process in self._all:
                stack.callback(process.close)


def _read_by(idle: queue.Queue[ReaderProcess], path: Path) -> Reading:
    process = idle.get()
    try:
        return process.read(path)
    finally:
        idle.put(process)
