"""Containers opened in processes that can be killed, their parts streamed into the store: a bomb costs one result."""

from __future__ import annotations

import contextlib
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType

from invoices.documents.child_process import ProcessLimits
from invoices.documents.containers.container_opener_client import ContainerOpener
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.content_sniffing import MAX_SNIFFED_BYTES
from invoices.documents.outcomes import REASON_CODES
from invoices.documents.store_batch import StoreBatch

CONTAINER_LIMITS = ProcessLimits(memory_bytes=400 * 1024 * 1024, seconds=20.0)

_MAX_BYTES_AHEAD = 64 * 1024 * 1024
_MAX_CONTAINERS_AHEAD_PER_PROCESS = 64

__all__ = ["CONTAINER_LIMITS", "ContainerOpenerPool"]


class ContainerOpenerPool:
    """A pool of opener processes, started when first needed; threads may share it; close it, or use ``with``.

    A container gets ``limits.seconds`` on the clock and ``limits.memory_bytes`` of private memory; past either, its
    process is killed and replaced, and the result is ``reader_timeout``, ``reader_memory`` or ``reader_crashed``, and
    has no parts. A container of more than ``limits.max_bytes`` is ``too_large`` and is not opened.
    """

    def __init__(
        self,
        worker_count: int | None = None,
        limits: ProcessLimits = CONTAINER_LIMITS,
        unpack_archives: bool = True,
        module: str = "invoices.documents.containers.container_opener_process",
    ) -> None:
        self._worker_count = worker_count or os.cpu_count() or 1
        self._limits = limits
        self._unpack_archives = unpack_archives
        self._all_openers = [ContainerOpener(limits, module) for _ in range(self._worker_count)]
        self._idle_openers: queue.LifoQueue[ContainerOpener] = queue.LifoQueue()
        for opener in self._all_openers:
            self._idle_openers.put(opener)

    def __enter__(self) -> ContainerOpenerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open_container(
        self,
        container: bytes | Path,
        store_batch: StoreBatch,
        file_name: str | None = None,
        *,
        is_mail: bool = False,
    ) -> OpenedContainer:
        """Return what is in a container, with the SHA-256 of each part; the parts are put into ``store_batch``.

        Nothing is durable before the batch is flushed. ``file_name`` helps to name the content of a signed file;
        ``is_mail`` opens the content as a mail, whatever its bytes look like. Waits until a process is idle. Raises
        OSError if the batch cannot write or the path cannot be read, and TransientError if no process starts.
        """
        content = self._read_container(container)
        if len(content) > self._limits.max_bytes:
            return OpenedContainer(reason_code="too_large", reason=REASON_CODES["too_large"][1])
        with self._borrow_opener() as opener:
            return opener.open_container(content, store_batch, file_name, self._unpack_archives, is_mail=is_mail)

    def detect_file_type(self, head: bytes) -> str:
        """Return the media type of a file by its first bytes, at most 64 KB, which are matched in a process.

        The type of bytes that stop the process is ``application/octet-stream``. Raises TransientError if no process
        starts.
        """
        with self._borrow_opener() as opener:
            return opener.detect_file_type(head[:MAX_SNIFFED_BYTES])

    def find_from_lines(self, block: bytes, *, is_file_start: bool) -> Sequence[tuple[int, int]]:
        """Return where the mail before each From_ line of an mbox ends, and where the mail after it begins.

        Raises DocumentError if the process is stopped, TransientError if none starts; so do the next two.
        """
        with self._borrow_opener() as opener:
            return opener.match_mbox("find_from_lines", block, is_file_start=is_file_start).positions

    def remove_status_fields(self, head: bytes, /) -> bytes:
        """Return the beginning of a mail in an mbox without the marks of mail programs in its header."""
        with self._borrow_opener() as opener:
            return opener.match_mbox("remove_status_fields", head).content

    def unescape_from_lines(self, content: bytes, /) -> bytes:
        """Return a mail as it was before it was put into an mbox, with ``>From`` turned back into ``From``."""
        if b">From " not in content:
            return content
        with self._borrow_opener() as opener:
            return opener.match_mbox("unescape_from_lines", content).content

    def open_containers_in_order(
        self, containers: Iterable[bytes], store_batch: StoreBatch, *, are_mails: bool = False
    ) -> Iterator[OpenedContainer]:
        """Yield what is in each container, in order; all processes work, a bounded number of containers ahead.

        ``containers`` is iterated in the caller's thread, so that fetching them, such as from a server, overlaps with
        opening them.
        """
        open_container = partial(self.open_container, is_mail=are_mails)
        pending_futures: deque[tuple[Future[OpenedContainer], int]] = deque()
        bytes_ahead = 0
        max_containers_ahead = _MAX_CONTAINERS_AHEAD_PER_PROCESS * self._worker_count
        with ThreadPoolExecutor(self._worker_count, thread_name_prefix="container-opener") as executor:
            try:
                for content in containers:
                    pending_futures.append((executor.submit(open_container, content, store_batch), len(content)))
                    bytes_ahead += len(content)
                    while pending_futures and (
                        bytes_ahead > _MAX_BYTES_AHEAD
                        or len(pending_futures) > max_containers_ahead
                        or pending_futures[0][0].done()
                    ):
                        future, length = pending_futures.popleft()
                        bytes_ahead -= length
                        yield future.result()
                while pending_futures:
                    yield pending_futures.popleft()[0].result()
            finally:
                for future, _ in pending_futures:
                    future.cancel()

    def close(self) -> None:
        """End all processes."""
        with contextlib.ExitStack() as stack:
            for opener in self._all_openers:
                stack.callback(opener.close)

    @contextlib.contextmanager
    def _borrow_opener(self) -> Iterator[ContainerOpener]:
        """Wait until a process is idle, and keep others from using it during the block."""
        opener = self._idle_openers.get()
        try:
            yield opener
        finally:
            self._idle_openers.put(opener)

    def _read_container(self, container: bytes | Path) -> bytes:
        """Return the bytes of a container; of a file, at most one byte more than allowed."""
        if isinstance(container, bytes):
            return container
        with container.open("rb") as file:
            return file.read(self._limits.max_bytes + 1)
