"""Readers: what documents are, read in processes that can be killed, so that a bad file costs a result and never the batch."""

from __future__ import annotations

import contextlib
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from invoices.documents.child import Limits
from invoices.documents.outcomes import Outcome, Reading
from invoices.documents.reader_process import ReaderProcess

__all__ = ["Limits", "Outcome", "Reading", "Readers"]


class Readers:
    """A pool of reader processes, started when first needed; safe to share between threads; close it, or use ``with``.

    A document gets ``limits.seconds`` on the clock and ``limits.memory_bytes`` of private memory; past either, its process
    is killed and replaced, and the reading says ``reader_timeout``, ``reader_memory`` or ``reader_crashed``.
    """

    def __init__(self, workers: int | None = None, limits: Limits | None = None) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._limits = limits or Limits()
        self._idle: queue.LifoQueue[ReaderProcess] = queue.LifoQueue()
        self._all = [ReaderProcess(self._limits) for _ in range(self._workers)]
        for process in self._all:
            self._idle.put(process)

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: Path) -> Reading:
        """Return what the document at ``path`` is; waits for an idle process where all are busy."""
        process = self._idle.get()
        try:
            return process.read(path)
        finally:
            self._idle.put(process)

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
