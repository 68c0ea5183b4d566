"""Containers opened in processes that can be killed, their parts streamed into the store: a bomb costs one result."""

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
from invoices.documents.landing import Landing
from invoices.documents.outcomes import REASONS
from invoices.documents.unwrapping.parts import Unwrapped
from invoices.documents.unwrapping.unwrapper_process import UnwrapperProcess

LIMITS = Limits(memory_bytes=400 * 1024 * 1024, seconds=20.0)

_BYTES_AHEAD = 64 * 1024 * 1024
_AHEAD = 64  # containers for each process

__all__ = ["LIMITS", "Unwrappers"]


class Unwrappers:
    """A pool of unwrapping processes, started when first needed; threads may share it; close it, or use ``with``.

    A container gets ``limits.seconds`` on the clock and ``limits.memory_bytes`` of private memory; past either, its
    process is killed and replaced, and the result says ``reader_timeout``, ``reader_memory`` or ``reader_crashed``, and
    has no parts. One of more than ``limits.max_bytes`` is ``too_large`` and is not opened.
    """

    def __init__(
        self,
        workers: int | None = None,
        limits: Limits = LIMITS,
        unpack_archives: bool = True,
        module: str = "invoices.documents.unwrapping.child",
    ) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._limits = limits
        self._unpack_archives = unpack_archives
        self._all = [UnwrapperProcess(limits, module) for _ in range(self._workers)]
        self._idle: queue.LifoQueue[UnwrapperProcess] = queue.LifoQueue()
        for process in self._all:
            self._idle.put(process)

    def __enter__(self) -> Unwrappers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def unwrap(self, container: bytes | Path, landing: Landing, file_name: str | None = None) -> Unwrapped:
        """Return what is in a container, with the SHA-256 of each part; the parts are put into the landing.

        Nothing is durable before the landing is settled. ``file_name`` helps to name what is in a signed file. Waits
        for an idle process where all are busy. Raises OSError where the landing cannot write or the path be read, and
        TransientError where no process starts.
        """
        content = self._content(container)
        if len(content) > self._limits.max_bytes:
            return Unwrapped(reason_code="too_large", reason=REASONS["too_large"][1])
        process = self._idle.get()
        try:
            return process.unwrap(content, landing, file_name, self._unpack_archives)
        finally:
            self._idle.put(process)

    def unwrap_ordered(self, containers: Iterable[bytes], landing: Landing) -> Iterator[Unwrapped]:
        """Yield what is in each container, in their order, with all processes at work and a bounded number ahead.

        The containers are drawn in the caller's thread, so that drawing, such as from a server, overlaps with the work.
        """
        waiting: deque[tuple[Future[Unwrapped], int]] = deque()
        ahead = 0
        with ThreadPoolExecutor(self._workers, thread_name_prefix="unwrapper") as threads:
            try:
                for content in containers:
                    waiting.append((threads.submit(self.unwrap, content, landing), len(content)))
                    ahead += len(content)
                    while waiting and (self._is_far(ahead, len(waiting)) or waiting[0][0].done()):
                        future, length = waiting.popleft()
                        ahead -= length
                        yield future.result()
                while waiting:
                    yield waiting.popleft()[0].result()
            finally:
                for future, _ in waiting:
                    future.cancel()

    def close(self) -> None:
        """End all processes; none is left behind."""
        with contextlib.ExitStack() as stack:
            for process in self._all:
                stack.callback(process.close)

    def _is_far(self, ahead: int, count: int) -> bool:
        return ahead > _BYTES_AHEAD or count > _AHEAD * self._workers

    def _content(self, container: bytes | Path) -> bytes:
        """Return the bytes of a container, of a path at most one more than allowed."""
        if isinstance(container, bytes):
            return container
        with container.open("rb") as file:
            return file.read(self._limits.max_bytes + 1)
