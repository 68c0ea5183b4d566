"""Moves a local file to another directory: never over another file, never through a link, never out of the folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from sources.folder.listing import LocalFile

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINK_ERRNOS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def move_without_overwrite(
    root: Path, file: LocalFile, target_parts: Sequence[str], moved_inodes: dict[int, int] | None = None
) -> bool:
    """Move a file to the directory ``target_parts`` below ``root``; return False if it has changed. Raises OSError.

    ``moved_inodes`` gets the status time that the move gives to the file's inode, and has those of earlier moves: to
    move one of several links to a file does not count as a change of the others. No link is followed in any directory
    below the root. At every moment the file exists under one of the two names.
    """
    source_parts = file.path.relative_to(root).parts[:-1]
    with (
        _open_directory(root, source_parts) as source_fd,
        _open_directory(root, target_parts, create=True) as target_fd,
    ):
        temporary_name = f".moving-{secrets.token_hex(8)}"
        if not file.is_unchanged((moved_inodes or {}).get(file.inode)) or not _link_or_copy_file(
            source_fd, file, target_fd, temporary_name
        ):
            return False
        try:
            _link_under_free_name(file, target_fd, temporary_name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary_name, dir_fd=target_fd)
        os.fsync(target_fd)
        if not _is_file_unchanged(source_fd, file):  # another file has its name now
            return False
        _unlink_and_record_status_time(source_fd, file, moved_inodes)
        return True


def _unlink_and_record_status_time(source_fd: int, file: LocalFile, moved_inodes: dict[int, int] | None) -> None:
    """Remove the name of a file, and record the status time that the other links to it have then."""
    file_fd = os.open(file.path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source_fd)
    try:
        os.unlink(file.path.name, dir_fd=source_fd)
        if moved_inodes is not None:
            moved_inodes[file.inode] = os.fstat(file_fd).st_ctime_ns
    finally:
        os.close(file_fd)


@contextlib.contextmanager
def _open_directory(root: Path, parts: Sequence[str], create: bool = False) -> Iterator[int]:
    """Yield a descriptor of a directory below the root, opened without following links."""
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
    """Return whether the file is unchanged under its name; a second link to it does not count as a change."""
    status = os.stat(file.path.name, dir_fd=directory_fd, follow_symlinks=False)
    return (status.st_size, status.st_mtime_ns, status.st_ino) == (file.size, file.modified_ns, file.inode)


def _link_or_copy_file(source_fd: int, file: LocalFile, target_fd: int, temporary_name: str) -> bool:
    """Link the file into the target directory, or copy it where links fail; return whether it is unchanged."""
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
    """Give the file in the target directory a name that no other file has."""
    for name in _generate_candidate_names(file.path.name, target_fd, temporary_name):
        try:
            os.link(temporary_name, name, src_dir_fd=target_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        except FileExistsError:
            if _find_inode(target_fd, name) == file.inode == _find_inode(target_fd, temporary_name):
                return  # a run that was killed has linked it already
        except OSError as error:
            if error.errno not in _NO_LINK_ERRNOS:
                raise
            if _find_inode(target_fd, name) is None:
                os.rename(temporary_name, name, src_dir_fd=target_fd, dst_dir_fd=target_fd)
                return
        else:
            return


def _generate_candidate_names(name: str, target_fd: int, temporary_name: str) -> Iterator[str]:
    """Yield the name, then names with a digest of the content, which is computed only if it is needed."""
    yield name
    file_fd = os.open(temporary_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target_fd)
    with os.fdopen(file_fd, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    stem, suffix = os.path.splitext(name)
    yield f"{stem}-{digest}{suffix}"
    yield from (f"{stem}-{digest}-{number}{suffix}" for number in count(2))


def _find_inode(directory_fd: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None
