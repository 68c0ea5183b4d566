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

INCOMING = "incoming"  # the folder of temporary names in a store

_BLOCK = 1 << 20
_SYNCING = 8  # threads: the disk's journal commits for all of them at once
_SLICE = 16  # files that one thread syncs in one go; they stay open until then, so that no error of the disk is missed
_SLICES_AHEAD = 2 * _SYNCING
_FEW = 4  # that threads are not worth
_TEMPORARY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

T = TypeVar("T")


class Source(Protocol):
    """What bytes are read from: an open binary file, or the answer of a process."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes; fewer only before the end, none at the end."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A file under its temporary name; the descriptor is open until the file is synced."""

    name: str
    target: str
    length: int
    descriptor: int


class Landing:
    """Documents on their way into a store; threads may share it. Made by ``DocumentStore.landing()``.

    What was put is durable, and can be seen, when ``settle`` has returned or the ``with`` block has ended well; only
    then may a ledger speak of it. No document appears under its name before its bytes are synced. A block that raises
    leaves nothing that was not settled. Where the disk fails in ``settle``, it raises OSError, what was not durable yet
    is gone, and the landing takes nothing more.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._lock = threading.Lock()
        self._settling = threading.Lock()
        self._written: dict[str, _Written] = {}
        self._unsynced: list[_Written] = []
        self._syncs: list[Future[None]] = []
        self._folders: set[str] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Landing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.settle()
        finally:
            self._end()

    def put(self, content: bytes) -> str:
        """Write the bytes, unless they are kept or were put already, and return their SHA-256. Raises OSError."""
        return self._put(content, hashlib.sha256(content).hexdigest())

    def put_file(self, source: Source) -> tuple[str, int]:
        """Write what the source has, read once in blocks of 1 MB; return its SHA-256 and length. Raises OSError."""
        block = source.read(_BLOCK)
        digest, length = hashlib.sha256(block), len(block)
        following = source.read(_BLOCK)
        if not following:
            return self._put(block, digest.hexdigest()), length
        with self._temporary() as (descriptor, name):
            _write(descriptor, block)
            while following:
                digest.update(following)
                length += len(following)
                _write(descriptor, following)
                following = source.read(_BLOCK)
            sha256 = digest.hexdigest()
            target = self._target(sha256)
            self._note(sha256, _Written(name, target, length, descriptor), is_new=not self._is_kept(target, length))
        return sha256, length

    def settle(self) -> None:
        """Make durable whatever was put before this call. Raises OSError where the disk fails, now or before."""
        with self._settling:
            with self._lock:
                written, self._written = self._written, {}
                unsynced, self._unsynced = self._unsynced, []
                syncs, self._syncs = self._syncs, []
                folders, self._folders = self._folders, set()
            try:
                self._side_by_side(_sync, [[each] for each in unsynced])
                for sync in syncs:
                    sync.result()
                self._check()
                self._show(written.values(), folders)
            except BaseException as error:
                self._failure = self._failure or error
                _remove(written.values())
                raise

    def _put(self, content: bytes, sha256: str) -> str:
        target = self._target(sha256)
        if sha256 not in self._written and not self._is_kept(target, len(content)):
            with self._temporary() as (descriptor, name):
                _write(descriptor, content)
                self._note(sha256, _Written(name, target, len(content), descriptor))
        return sha256

    def _target(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def _is_kept(self, target: str, length: int) -> bool:
        """Return whether the document is there; whoever renamed it may not have synced the folder yet, so we do."""
        if not _is_whole(target, length):
            return False
        with self._lock:
            self._folders.add(os.path.dirname(target))
        return True

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[int, str]]:
        """Give a descriptor and its file's name; both are gone afterwards if the block raises."""
        self._check()
        self._let_syncs_catch_up()
        name = f"{self._root}/{INCOMING}/{secrets.token_hex(16)}"
        descriptor = os.open(name, _TEMPORARY, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            yield descriptor, name
        except BaseException:
            os.close(descriptor)
            os.unlink(name)
            raise

    def _note(self, sha256: str, written: _Written, is_new: bool = True) -> None:
        """Remember the file until it is settled, unless the same bytes came another way in the meantime."""
        with self._lock:
            is_new = is_new and self._written.setdefault(sha256, written) is written
            if is_new:
                self._unsynced.append(written)
                self._hand_over()
        if not is_new:
            os.close(written.descriptor)
            os.unlink(written.name)

    def _hand_over(self) -> None:
        """Let a thread sync a full slice; the caller has the lock."""
        if len(self._unsynced) >= _SLICE:
            part, self._unsynced = self._unsynced, []
            self._syncs.append(self._pool().submit(_sync, part))

    def _let_syncs_catch_up(self) -> None:
        """Wait until few files are open; ``settle`` tells what went wrong."""
        with self._lock:
            earlier = self._syncs[-_SLICES_AHEAD] if len(self._syncs) >= _SLICES_AHEAD else None
        if earlier:
            earlier.exception()

    def _show(self, written: Collection[_Written], folders: set[str]) -> None:
        """Give the synced files their names, and sync every folder that holds one, or one that was there already."""
        for folder in {os.path.dirname(each.target) for each in written}:
            if not os.path.isdir(folder):
                make_private(Path(folder))
                folders.add(self._root)
            folders.add(folder)
        for each in written:
            if _is_whole(each.target, each.length):  # another landing was faster
                os.unlink(each.name)
            else:
                os.rename(each.name, each.target)
        some = [list(folders)[first::_SYNCING] for first in range(min(_SYNCING, len(folders)))]
        self._side_by_side(_sync_folders, some)

    def _side_by_side(self, work: Callable[[T], None], things: Sequence[T]) -> None:
        """Do the work for each thing, all of them whatever fails; raise the first failure."""
        if len(things) < _FEW:
            done = [_tried(work, thing) for thing in things]
        else:
            done = [future.exception() for future in [self._pool().submit(work, thing) for thing in things]]
        for failure in done:
            if failure:
                raise failure

    def _pool(self) -> ThreadPoolExecutor:
        self._threads = self._threads or ThreadPoolExecutor(_SYNCING, thread_name_prefix="landing")
        return self._threads

    def _check(self) -> None:
        if self._failure:
            raise OSError(f"nothing more can be landed: {self._failure}") from self._failure

    def _end(self) -> None:
        """Leave no thread, no open file and no temporary name."""
        self._failure = self._failure or RuntimeError("the landing has ended")
        with self._settling, self._lock:
            for each in self._unsynced:
                os.close(each.descriptor)
            if self._threads:
                self._threads.shutdown()
            _remove(self._written.values())
            self._unsynced, self._written = [], {}


def _is_whole(path: str, length: int) -> bool:
    """Return whether the whole document is there; a shorter file is what a failing disk left and is replaced."""
    try:
        return os.stat(path).st_size == length
    except FileNotFoundError:
        return False


def make_private(folder: Path) -> None:
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


def _sync(files: Sequence[_Written]) -> None:
    """Sync and close; all of them are closed, whatever fails."""
    with contextlib.ExitStack() as closing:
        for each in files:
            closing.callback(os.close, each.descriptor)
        for each in files:
            os.fsync(each.descriptor)


def _tried(work: Callable[[T], None], thing: T) -> BaseException | None:
    try:
        work(thing)
    except OSError as error:
        return error
    return None


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _remove(files: Collection[_Written]) -> None:
    for each in files:
        with contextlib.suppress(OSError):  # what cannot be removed goes after a day
            os.unlink(each.name)
