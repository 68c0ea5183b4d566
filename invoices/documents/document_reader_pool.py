"""Documents read in processes that can be killed: a bad file costs its own result and never the batch."""

from __future__ import annotations

import contextlib
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from types import TracebackType

from invoices.documents import title_ocr_process
from invoices.documents.child_process import ProcessLimits
from invoices.documents.document_reader_client import DocumentReader
from invoices.documents.outcomes import DocumentReading, Outcome
from invoices.documents.store_batch import StoreBatch
from invoices.errors import TransientError

_IMAGE_TYPES = {"image/png", "image/jpeg"}

__all__ = ["DocumentReaderPool", "DocumentReading", "Outcome", "ProcessLimits"]


class DocumentReaderPool:
    """A pool of reader processes, started when first needed; threads may share it; close it, or use ``with``.

    A document gets ``limits.seconds`` on the clock and ``limits.memory_bytes`` of private memory; past either, its
    process is killed and replaced, and the reading is ``reader_timeout``, ``reader_memory`` or ``reader_crashed``.

    Where the package rapidocr-onnxruntime is installed (or ``use_title_ocr`` is true), one more process reads the
    titles of pictures, so that an expense report or a delivery note does not go to a paid model.
    """

    def __init__(
        self, worker_count: int | None = None, limits: ProcessLimits | None = None, use_title_ocr: bool | None = None
    ) -> None:
        self._worker_count = worker_count or os.cpu_count() or 1
        self._limits = limits or ProcessLimits()
        self._idle_readers: queue.LifoQueue[DocumentReader] = queue.LifoQueue()
        self._all_readers = [DocumentReader(self._limits) for _ in range(self._worker_count)]
        for reader in self._all_readers:
            self._idle_readers.put(reader)
        self._idle_title_readers: queue.Queue[DocumentReader] = queue.Queue()
        self._uses_title_ocr = title_ocr_process.is_ocr_installed() if use_title_ocr is None else use_title_ocr
        if self._uses_title_ocr:
            self._all_readers.append(
                DocumentReader(title_ocr_process.TITLE_OCR_LIMITS, "invoices.documents.title_ocr_process")
            )
            self._idle_title_readers.put(self._all_readers[-1])

    def __enter__(self) -> DocumentReaderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(
        self, path: Path, expected_sha256: str | None = None, store_batch: StoreBatch | None = None
    ) -> DocumentReading:
        """Return what the document at ``path`` is; waits until a process is idle.

        A document whose bytes do not have the hash ``expected_sha256`` is not opened; its reason code is ``altered``.
        The files inside an e-invoice are put into ``store_batch``; without one, they are not taken out.
        """
        reading = _read_with_idle_reader(self._idle_readers, path, expected_sha256, store_batch)
        if self._uses_title_ocr and reading.outcome == "needs_extraction" and reading.media_type in _IMAGE_TYPES:
            with contextlib.suppress(TransientError):  # if it does not start, the picture goes to a model anyway
                title_reading = _read_with_idle_reader(self._idle_title_readers, path, expected_sha256)
                return title_reading if title_reading.outcome == "not_invoice" else reading
        return reading

    def read_in_order(
        self,
        paths: Iterable[Path],
        expected_hashes: Iterable[str] | None = None,
        store_batch: StoreBatch | None = None,
    ) -> Iterator[DocumentReading]:
        """Yield the reading of each path in order; all processes work, a bounded number of documents ahead.

        ``expected_hashes`` are in the order of the paths, see ``read``; so is ``store_batch``.
        """
        pending_futures: deque[Future[DocumentReading]] = deque()
        with ThreadPoolExecutor(self._worker_count, thread_name_prefix="document-reader") as executor:
            try:
                hashes: Iterable[str | None] = repeat(None) if expected_hashes is None else expected_hashes
                for path, expected_sha256 in zip(paths, hashes, strict=False):
                    pending_futures.append(executor.submit(self.read, path, expected_sha256, store_batch))
                    if len(pending_futures) > 8 * self._worker_count:
                        yield pending_futures.popleft().result()
                while pending_futures:
                    yield pending_futures.popleft().result()
            finally:
                for future in pending_futures:
                    future.cancel()

    def close(self) -> None:
        """End all processes."""
        with contextlib.ExitStack() as stack:
            for reader in self._all_readers:
                stack.callback(reader.close)


def _read_with_idle_reader(
    idle_readers: queue.Queue[DocumentReader],
    path: Path,
    expected_sha256: str | None,
    store_batch: StoreBatch | None = None,
) -> DocumentReading:
    reader = idle_readers.get()
    try:
        return reader.read(path, expected_sha256, store_batch)
    finally:
        idle_readers.put(reader)
