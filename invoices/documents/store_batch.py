"""Many documents made durable together: written under temporary names, synced in parallel, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from invoices.private_files import make_private_directory

TEMPORARY_FOLDER_NAME = "incoming"  # the folder of temporary names in a store

_BLOCK_BYTES = 1 << 20
_SYNC_THREADS = 8  # the journal of the disk commits for all of them at once
_FILES_PER_SYNC = 16  # one task's share; the files stay open until then, so that no error of the disk is missed
_MAX_SYNCS_AHEAD = 2 * _SYNC_THREADS
_MIN_ITEMS_FOR_THREADS = 4  # fewer are faster without threads
_TEMPORARY_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

T = TypeVar("T")


class ByteSource(Protocol):
    """A source of bytes: an open binary file, or the response of a child process."""

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes; fewer only before the end, none at the end."""


@dataclass(frozen=True, slots=True)
class _TemporaryFile:
    """A file under its temporary name; the descriptor is open until the file is synced."""

    temporary_path: str
    final_path: str
    byte_count: int
    descriptor: int


class StoreBatch:
    """Documents on their way into a store; threads may share it. Made by ``DocumentStore.open_batch()``.

    Documents are durable and visible once ``flush`` has returned or the ``with`` block has ended without an error; only
    then may the ledger name them. No document appears under its name before its bytes are synced. A block that raises
    discards what was not flushed. If the disk fails, ``flush`` raises OSError, discards what was not durable yet, and
    the batch accepts nothing more.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._pending_files: dict[str, _TemporaryFile] = {}
        self._unsynced_files: list[_TemporaryFile] = []
        self._sync_futures: list[Future[None]] = []
        self._folders_to_sync: set[str] = set()
        self._executor: ThreadPoolExecutor | None = None
        self.new_hashes: set[str] = set()  # of the documents that were made visible, and were not stored before
        self._failure: BaseException | None = None

    def __enter__(self) -> StoreBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._close()

    def put(self, content: bytes) -> str:
        """Write the bytes, unless the store or this batch has them, and return their SHA-256. Raises OSError."""
        return self._write_if_missing(content, hashlib.sha256(content).hexdigest())

    def put_file(self, source: ByteSource) -> tuple[str, int]:
        """Write the content of ``source``, read once in blocks of 1 MB; return SHA-256 and length. Raises OSError."""
        block = source.read(_BLOCK_BYTES)
        digest, byte_count = hashlib.sha256(block), len(block)
        next_block = source.read(_BLOCK_BYTES)
        if not next_block:
            return self._write_if_missing(block, digest.hexdigest()), byte_count
        with self._open_temporary_file() as (descriptor, temporary_path):
            _write_all_bytes(descriptor, block)
            while next_block:
                digest.update(next_block)
                byte_count += len(next_block)
                _write_all_bytes(descriptor, next_block)
                next_block = source.read(_BLOCK_BYTES)
            sha256 = digest.hexdigest()
            final_path = self._build_final_path(sha256)
            self._add_pending_file(
                sha256,
                _TemporaryFile(temporary_path, final_path, byte_count, descriptor),
                is_new=not self._is_stored(final_path, byte_count),
            )
        return sha256, byte_count

    def flush(self) -> None:
        """Make durable what was put before this call. Raises OSError if the disk fails now or failed before."""
        with self._flush_lock:
            with self._lock:
                pending_files, self._pending_files = self._pending_files, {}
                unsynced_files, self._unsynced_files = self._unsynced_files, []
                sync_futures, self._sync_futures = self._sync_futures, []
                folders, self._folders_to_sync = self._folders_to_sync, set()
            try:
                self._run_in_parallel(_sync_and_close_files, [[file] for file in unsynced_files])
                for future in sync_futures:
                    future.result()
                self._raise_if_failed()
                self._move_files_to_final_paths(pending_files.values(), folders)
            except BaseException as error:
                self._failure = self._failure or error
                _remove_temporary_files(pending_files.values())
                raise

    def _write_if_missing(self, content: bytes, sha256: str) -> str:
        final_path = self._build_final_path(sha256)
        if sha256 not in self._pending_files and not self._is_stored(final_path, len(content)):
            with self._open_temporary_file() as (descriptor, temporary_path):
                _write_all_bytes(descriptor, content)
                self._add_pending_file(sha256, _TemporaryFile(temporary_path, final_path, len(content), descriptor))
        return sha256

    def _build_final_path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def _is_stored(self, final_path: str, byte_count: int) -> bool:
        """Return whether the store has the document; its folder is synced again, as its writer may not have done so."""
        if not _is_intact_file(final_path, byte_count):
            return False
        with self._lock:
            self._folders_to_sync.add(os.path.dirname(final_path))
        return True

    @contextlib.contextmanager
    def _open_temporary_file(self) -> Iterator[tuple[int, str]]:
        """Yield a descriptor and its file's name; both are removed if the block raises."""
        self._raise_if_failed()
        self._wait_for_earlier_syncs()
        temporary_path = f"{self._root}/{TEMPORARY_FOLDER_NAME}/{secrets.token_hex(16)}"
        descriptor = os.open(temporary_path, _TEMPORARY_FILE_FLAGS, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            yield descriptor, temporary_path
        except BaseException:
            os.close(descriptor)
            os.unlink(temporary_path)
            raise

    def _add_pending_file(self, sha256: str, file: _TemporaryFile, is_new: bool = True) -> None:
        """Keep the file until the next flush, unless the same content was added or stored in the meantime."""
        with self._lock:
            is_new = is_new and self._pending_files.setdefault(sha256, file) is file
            if is_new:
                self._unsynced_files.append(file)
                if len(self._unsynced_files) >= _FILES_PER_SYNC:
                    files, self._unsynced_files = self._unsynced_files, []
                    self._sync_futures.append(self._get_executor().submit(_sync_and_close_files, files))
        if not is_new:
            os.close(file.descriptor)
            os.unlink(file.temporary_path)

    def _wait_for_earlier_syncs(self) -> None:
        """Wait until fewer files are open; ``flush`` raises the errors of the syncs."""
        with self._lock:
            earlier_sync = (
                self._sync_futures[-_MAX_SYNCS_AHEAD] if len(self._sync_futures) >= _MAX_SYNCS_AHEAD else None
            )
        if earlier_sync:
            earlier_sync.exception()

    def _move_files_to_final_paths(self, files: Collection[_TemporaryFile], folders: set[str]) -> None:
        """Rename the synced files to their final names and sync their folders and ``folders``."""
        for folder in {os.path.dirname(file.final_path) for file in files}:
            if not os.path.isdir(folder):
                make_private_folder(Path(folder))
                folders.add(self._root)
            folders.add(folder)
        for file in files:
            if _is_intact_file(file.final_path, file.byte_count):  # another batch was faster
                os.unlink(file.temporary_path)
            else:
                os.rename(file.temporary_path, file.final_path)
                self.new_hashes.add(os.path.basename(file.final_path))
        self._run_in_parallel(sync_folder, list(folders))

    def _run_in_parallel(self, task: Callable[[T], None], items: Sequence[T]) -> None:
        """Run the task for every item, even if one fails; then raise the first failure."""
        if len(items) < _MIN_ITEMS_FOR_THREADS:
            failures = [_run_capturing_os_error(task, item) for item in items]
        else:
            failures = [future.exception() for future in [self._get_executor().submit(task, item) for item in items]]
        for failure in failures:
            if failure:
                raise failure

    def _get_executor(self) -> ThreadPoolExecutor:
        self._executor = self._executor or ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="store-batch")
        return self._executor

    def _raise_if_failed(self) -> None:
        if self._failure:
            raise OSError(f"this batch accepts no more documents: {self._failure}") from self._failure

    def _close(self) -> None:
        """End the threads, close the open files and remove the temporary ones."""
        self._failure = self._failure or RuntimeError("the batch is closed")
        with self._flush_lock, self._lock:
            for file in self._unsynced_files:
                os.close(file.descriptor)
            if self._executor:
                self._executor.shutdown()
            _remove_temporary_files(self._pending_files.values())
            self._unsynced_files, self._pending_files = [], {}


def _is_intact_file(path: str, byte_count: int) -> bool:
    """Return whether the file has the right size and the hash of its name; one that a disk has damaged is replaced."""
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == byte_count and hashlib.file_digest(
                file, "sha256"
            ).hexdigest() == os.path.basename(path)
    except OSError:  # it is missing, or the disk cannot read it
        return False


def make_private_folder(folder: Path) -> None:
    """Create the folder with mode 0700, or give it that mode."""
    make_private_directory(folder)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)


def sync_folder(folder: str | Path) -> None:
    """Sync the folder itself, which makes the names in it durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_and_close_files(files: Sequence[_TemporaryFile]) -> None:
    """Sync the files and close them; all are closed, even if a sync fails."""
    with contextlib.ExitStack() as exit_stack:
        for file in files:
            exit_stack.callback(os.close, file.descriptor)
        for file in files:
            os.fsync(file.descriptor)


def _run_capturing_os_error(task: Callable[[T], None], item: T) -> BaseException | None:
    try:
        task(item)
    except OSError as error:
        return error
    return None


def _write_all_bytes(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _remove_temporary_files(files: Collection[_TemporaryFile]) -> None:
    for file in files:
        with contextlib.suppress(OSError):  # what cannot be removed is deleted after a day
            os.unlink(file.temporary_path)
