"""Many documents made durable together: written under temporary names, synced side by side, then shown."""

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

TEMPORARY_FOLDER_NAME = "incoming"  # the folder of temporary names in a store

_BLOCK_BYTES = 1 << 20
_SYNC_THREADS = 8  # threads: the disk's journal commits for all of them at once
_FILES_PER_SYNC = (
    16  # files that one thread syncs in one go; they stay open until then, so that no error of the disk is missed
)
_MAX_SYNCS_AHEAD = 2 * _SYNC_THREADS
_MIN_ITEMS_FOR_THREADS = 4  # that threads are not worth
_TEMPORARY_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

T = TypeVar("T")


class ByteSource(Protocol):
    """What bytes are read from: an open binary file, or the answer of a process."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes; fewer only before the end, none at the end."""


@dataclass(frozen=True, slots=True)
class _TemporaryFile:
    """A file under its temporary name; the descriptor is open until the file is synced."""

    temporary_path: str
    final_path: str
    byte_count: int
    descriptor: int


class StoreBatch:
    """Documents on their way into a store; threads may share it. Made by ``DocumentStore.landing()``.

    What was put is durable, and can be seen, when ``settle`` has returned or the ``with`` block has ended well; only
    then may a ledger speak of it. No document appears under its name before its bytes are synced. A block that raises
    leaves nothing that was not settled. Where the disk fails in ``settle``, it raises OSError, what was not durable yet
    is gone, and the landing takes nothing more.
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
        """Write the bytes, unless they are kept or were put already, and return their SHA-256. Raises OSError."""
        return self._write_if_missing(content, hashlib.sha256(content).hexdigest())

    def put_file(self, source: ByteSource) -> tuple[str, int]:
        """Write what the source has, read once in blocks of 1 MB; return its SHA-256 and length. Raises OSError."""
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
        """Make durable whatever was put before this call. Raises OSError where the disk fails, now or before."""
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
        """Return whether the document is there; whoever renamed it may not have synced the folder yet, so we do."""
        if not _is_complete_file(final_path, byte_count):
            return False
        with self._lock:
            self._folders_to_sync.add(os.path.dirname(final_path))
        return True

    @contextlib.contextmanager
    def _open_temporary_file(self) -> Iterator[tuple[int, str]]:
        """Give a descriptor and its file's name; both are gone afterwards if the block raises."""
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
        """Remember the file until it is settled, unless the same bytes came another way in the meantime."""
        with self._lock:
            is_new = is_new and self._pending_files.setdefault(sha256, file) is file
            if is_new:
                self._unsynced_files.append(file)
                self._submit_sync_if_due()
        if not is_new:
            os.close(file.descriptor)
            os.unlink(file.temporary_path)

    def _submit_sync_if_due(self) -> None:
        """Let a thread sync a full slice; the caller has the lock."""
        if len(self._unsynced_files) >= _FILES_PER_SYNC:
            files, self._unsynced_files = self._unsynced_files, []
            self._sync_futures.append(self._get_executor().submit(_sync_and_close_files, files))

    def _wait_for_earlier_syncs(self) -> None:
        """Wait until few files are open; ``settle`` tells what went wrong."""
        with self._lock:
            earlier_sync = (
                self._sync_futures[-_MAX_SYNCS_AHEAD] if len(self._sync_futures) >= _MAX_SYNCS_AHEAD else None
            )
        if earlier_sync:
            earlier_sync.exception()

    def _move_files_to_final_paths(self, files: Collection[_TemporaryFile], folders: set[str]) -> None:
        """Give the synced files their names, and sync every folder that holds one, or one that was there already."""
        for folder in {os.path.dirname(file.final_path) for file in files}:
            if not os.path.isdir(folder):
                make_private_folder(Path(folder))
                folders.add(self._root)
            folders.add(folder)
        for file in files:
            if _is_complete_file(file.final_path, file.byte_count):  # another landing was faster
                os.unlink(file.temporary_path)
            else:
                os.rename(file.temporary_path, file.final_path)
        folder_groups = [list(folders)[start::_SYNC_THREADS] for start in range(min(_SYNC_THREADS, len(folders)))]
        self._run_in_parallel(_sync_folders, folder_groups)

    def _run_in_parallel(self, task: Callable[[T], None], items: Sequence[T]) -> None:
        """Do the work for each thing, all of them whatever fails; raise the first failure."""
        if len(items) < _MIN_ITEMS_FOR_THREADS:
            failures = [_run_capturing_os_error(task, item) for item in items]
        else:
            failures = [future.exception() for future in [self._get_executor().submit(task, item) for item in items]]
        for failure in failures:
            if failure:
                raise failure

    def _get_executor(self) -> ThreadPoolExecutor:
        self._executor = self._executor or ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="landing")
        return self._executor

    def _raise_if_failed(self) -> None:
        if self._failure:
            raise OSError(f"nothing more can be landed: {self._failure}") from self._failure

    def _close(self) -> None:
        """Leave no thread, no open file and no temporary name."""
        self._failure = self._failure or RuntimeError("the landing has ended")
        with self._flush_lock, self._lock:
            for file in self._unsynced_files:
                os.close(file.descriptor)
            if self._executor:
                self._executor.shutdown()
            _remove_temporary_files(self._pending_files.values())
            self._unsynced_files, self._pending_files = [], {}


def _is_complete_file(path: str, byte_count: int) -> bool:
    """Return whether the whole document is there; a shorter file is what a failing disk left and is replaced."""
    try:
        return os.stat(path).st_size == byte_count
    except FileNotFoundError:
        return False


def make_private_folder(folder: Path) -> None:
    """Create the folder with mode 0700, or tighten it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)


def sync_folder(folder: str | Path) -> None:
    """Make durable which names are in the folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folders(folders: Sequence[str]) -> None:
    for folder in folders:
        sync_folder(folder)


def _sync_and_close_files(files: Sequence[_TemporaryFile]) -> None:
    """Sync and close; all of them are closed, whatever fails."""
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
        with contextlib.suppress(OSError):  # what cannot be removed goes after a day
            os.unlink(file.temporary_path)
