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
from invoices.settings.sources import FolderSettings
from sources.folder.listing import LocalFile
from sources.folder.local_folder import (
    FileChangedError,
    FileUnreadableError,
    ListedFile,
    open_folder_backend,
    parse_move_target,
)

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ERRNOS_FOR_ALL_FILES = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOSPC,
    errno.EDQUOT,
}  # the next file fares no better
_NO_LINK_ERRNOS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
_LOOKUP_BATCH_SIZE = 500

FingerprintLookup = Callable[[Sequence[str]], Mapping[str, Collection[str]]]


def move_recorded_files(
    folder_settings: FolderSettings, lookup_fingerprints: FingerprintLookup, files: Sequence[ListedFile]
) -> list[str]:
    """Move what the ledger knows as it is now, and return in words what could not be moved.

    To be called after the last transaction, with ``Seen.movable``. A file that is not ``known`` with its fingerprint,
    or that has changed since it was listed, stays. Nothing is overwritten: where a name is taken, a suffix from the
    content comes to it. What a killed run left behind is moved by the next one.
    """
    target = parse_move_target(folder_settings)
    if not target or not files:
        return []
    problems: list[str] = []
    with contextlib.closing(open_folder_backend(folder_settings)) as backend:
        for file in _select_recorded_files(lookup_fingerprints, files):
            try:
                backend.move_file(file, [*target, *backend.get_parent_directories(file)])
            except (FileChangedError, FileNotFoundError):  # somebody else was faster
                continue
            except (OSError, FileUnreadableError, InvoicesError) as error:
                problems.append(f"{file.location!r} cannot be moved, and is not taken again: {_format_error(error)}")
                if isinstance(error, InvoicesError) or getattr(error, "errno", None) in _ERRNOS_FOR_ALL_FILES:
                    return [f"{problems[-1]}; no other file was tried"]
    return problems


def _format_error(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _select_recorded_files(lookup_fingerprints: FingerprintLookup, files: Sequence[ListedFile]) -> Iterator[ListedFile]:
    for start in range(0, len(files), _LOOKUP_BATCH_SIZE):
        batch = files[start : start + _LOOKUP_BATCH_SIZE]
        fingerprints_by_location = lookup_fingerprints([file.location for file in batch])
        yield from (file for file in batch if file.fingerprint in fingerprints_by_location.get(file.location, ()))


def move_without_overwrite(root: Path, file: LocalFile, target_parts: Sequence[str]) -> bool:
    """Move a file to the directory ``target`` below ``root``; return False if it is not what it was. Raises OSError.

    No link is followed, in no directory below the root, and at any time the file is under one of the two names.
    """
    source_parts = file.path.relative_to(root).parts[:-1]
    with (
        _open_directory(root, source_parts) as source_fd,
        _open_directory(root, target_parts, create=True) as target_fd,
    ):
        temporary_name = f".moving-{secrets.token_hex(8)}"
        if not file.is_unchanged() or not _link_or_copy_file(source_fd, file, target_fd, temporary_name):
            return False
        try:
            _link_under_free_name(file, target_fd, temporary_name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary_name, dir_fd=target_fd)
        os.fsync(target_fd)
        if not _is_file_unchanged(source_fd, file):  # another file has taken its name meanwhile
            return False
        os.unlink(file.path.name, dir_fd=source_fd)
        return True


@contextlib.contextmanager
def _open_directory(root: Path, parts: Sequence[str], create: bool = False) -> Iterator[int]:
    """Give a descriptor of a directory below the root, come to without following a link."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            child = os.open(part, _DIRECTORY_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _is_file_unchanged(directory_fd: int, file: LocalFile) -> bool:
    """Return whether the file is under its name; a second link to it does not count as a change."""
    status = os.stat(file.path.name, dir_fd=directory_fd, follow_symlinks=False)
    return (status.st_size, status.st_mtime_ns, status.st_ino) == (file.size, file.modified_ns, file.inode)


def _link_or_copy_file(source_fd: int, file: LocalFile, target_fd: int, temporary_name: str) -> bool:
    """Have the file in the other directory too: as a link, or where that cannot be as a copy that is on the disk."""
    try:
        os.link(file.path.name, temporary_name, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK_ERRNOS:
            raise
        _copy_file(source_fd, file, target_fd, temporary_name)
    return _is_file_unchanged(source_fd, file)


def _copy_file(source_fd: int, file: LocalFile, target_fd: int, temporary_name: str) -> None:
    original_fd = os.open(file.path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source_fd)
    with os.fdopen(original_fd, "rb") as original:
        copy_fd = os.open(temporary_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target_fd)
        with os.fdopen(copy_fd, "wb") as copy:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            status = os.fstat(original_fd)
            os.fchmod(copy_fd, status.st_mode & 0o777)
            os.utime(copy_fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(copy_fd)


def _link_under_free_name(file: LocalFile, target_fd: int, temporary_name: str) -> None:
    """Give the file in the other directory a name that no other file has."""
    for name in _generate_candidate_names(
        file.path.name, functools.partial(_compute_short_digest, target_fd, temporary_name)
    ):
        try:
            os.link(temporary_name, name, src_dir_fd=target_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        except FileExistsError:
            if _find_inode(target_fd, name) == file.inode == _find_inode(target_fd, temporary_name):
                return  # a run that was killed has come so far
        except OSError as error:
            if error.errno not in _NO_LINK_ERRNOS:
                raise
            if _find_inode(target_fd, name) is None:
                os.rename(temporary_name, name, src_dir_fd=target_fd, dst_dir_fd=target_fd)
                return
        else:
            return


def _generate_candidate_names(name: str, compute_digest: Callable[[], str]) -> Iterator[str]:
    """Yield the name, then names that say what is in it."""
    yield name
    stem, suffix = os.path.splitext(name)
    distinct_stem = f"{stem}-{compute_digest()}"
    yield distinct_stem + suffix
    yield from (f"{distinct_stem}-{number}{suffix}" for number in count(2))


def _compute_short_digest(directory_fd: int, name: str) -> str:
    file_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    with os.fdopen(file_fd, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _find_inode(directory_fd: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None
