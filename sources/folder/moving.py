"""What becomes of files once they are safe: moved to a folder beside them, never over another file, never out of it."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from invoices.errors import InvoicesError
from invoices.settings.intake import Folder
from sources.folder.listing import Entry
from sources.folder.places import Changed, Found, Unreadable, moving_to, place_of

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_ALL = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}  # the next file fares no better
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
_TOGETHER = 500

Known = Callable[[Sequence[str]], Mapping[str, Collection[str]]]


def move_taken(folder_settings: Folder, known: Known, movable: Sequence[Found]) -> list[str]:
    """Move what the ledger knows as it is now, and return in words what could not be moved.

    To be called after the last transaction, with ``Seen.movable``. A file that is not ``known`` with its fingerprint,
    or that has changed since it was listed, stays. Nothing is overwritten: where a name is taken, a suffix from the
    content comes to it. What a killed run left behind is moved by the next one.
    """
    target = moving_to(folder_settings)
    if not target or not movable:
        return []
    told: list[str] = []
    with contextlib.closing(place_of(folder_settings)) as at:
        for found in _safe(known, movable):
            try:
                at.move(found, [*target, *at.directories(found)])
            except (Changed, FileNotFoundError):  # somebody else was faster
                continue
            except (OSError, Unreadable, InvoicesError) as error:
                told.append(f"{found.location!r} cannot be moved, and is not taken again: {_words(error)}")
                if isinstance(error, InvoicesError) or getattr(error, "errno", None) in _FOR_ALL:
                    return [f"{told[-1]}; no other file was tried"]
    return told


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _safe(known: Known, movable: Sequence[Found]) -> Iterator[Found]:
    for start in range(0, len(movable), _TOGETHER):
        some = movable[start : start + _TOGETHER]
        taken = known([found.location for found in some])
        yield from (found for found in some if found.fingerprint in taken.get(found.location, ()))


def move_file(root: Path, entry: Entry, target: Sequence[str]) -> bool:
    """Move a file to the directory ``target`` below ``root``; return False if it is not what it was. Raises OSError.

    No link is followed, in no directory below the root, and at any time the file is under one of the two names.
    """
    above = entry.path.relative_to(root).parts[:-1]
    with _directory(root, above) as here, _directory(root, target, create=True) as there:
        temporary = f".moving-{secrets.token_hex(8)}"
        if not entry.is_unchanged() or not _bring(here, entry, there, temporary):
            return False
        try:
            _show(entry, there, temporary)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=there)
        os.fsync(there)
        if not _is_same(here, entry):  # another file has taken its name meanwhile
            return False
        os.unlink(entry.path.name, dir_fd=here)
        return True


@contextlib.contextmanager
def _directory(root: Path, parts: Sequence[str], create: bool = False) -> Iterator[int]:
    """Give a descriptor of a directory below the root, come to without following a link."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _is_same(directory: int, entry: Entry) -> bool:
    """Return whether the file is under its name; a second link to it does not count as a change."""
    status = os.stat(entry.path.name, dir_fd=directory, follow_symlinks=False)
    return (status.st_size, status.st_mtime_ns, status.st_ino) == (entry.size, entry.modified_ns, entry.inode)


def _bring(here: int, entry: Entry, there: int, temporary: str) -> bool:
    """Have the file in the other directory too: as a link, or where that cannot be as a copy that is on the disk."""
    try:
        os.link(entry.path.name, temporary, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(here, entry, there, temporary)
    return _is_same(here, entry)


def _copy(here: int, entry: Entry, there: int, temporary: str) -> None:
    source = os.open(entry.path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    with os.fdopen(source, "rb") as original:
        target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=there)
        with os.fdopen(target, "wb") as copy:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            status = os.fstat(source)
            os.fchmod(target, status.st_mode & 0o777)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(target)


def _show(entry: Entry, there: int, temporary: str) -> None:
    """Give the file in the other directory a name that no other file has."""
    for name in _names(entry.path.name, functools.partial(_digest, there, temporary)):
        try:
            os.link(temporary, name, src_dir_fd=there, dst_dir_fd=there, follow_symlinks=False)
        except FileExistsError:
            if _inode(there, name) == entry.inode == _inode(there, temporary):
                return  # a run that was killed has come so far
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if _inode(there, name) is None:
                os.rename(temporary, name, src_dir_fd=there, dst_dir_fd=there)
                return
        else:
            return


def _names(name: str, digest: Callable[[], str]) -> Iterator[str]:
    """Yield the name, then names that say what is in it."""
    yield name
    stem, suffix = os.path.splitext(name)
    distinct = f"{stem}-{digest()}"
    yield distinct + suffix
    yield from (f"{distinct}-{number}{suffix}" for number in count(2))


def _digest(directory: int, name: str) -> str:
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(opened, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _inode(directory: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None
