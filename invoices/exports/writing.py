"""Putting a rendered batch in place: complete under its name, or not there at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from invoices.errors import ConfigurationError, InvoicesError, TransientError
from invoices.exports.batch import Batch

_PARTIAL = ".partial"
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EINTR, errno.EMFILE, errno.ENFILE)


def write(root: Path, batch: Batch, files: Mapping[str, bytes]) -> Path:
    """Return ``root/<batch_id>``, holding exactly ``files``, all on disk before the folder has its name.

    A batch that is there with the same bytes is left as it is. What killed runs left in ``root`` is removed; another
    process writing into the same ``root`` is waited for.

    Raises ConfigurationError where the batch is there with other bytes, or ``root`` cannot be written; TransientError
    where the disk is full or fails. Whatever was there stays as it was.
    """
    target = root / batch.batch_id
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root) as descriptor:
            _remove_leftovers(root)
            if os.path.lexists(target):
                _refuse_other_bytes(target, batch, files)
            else:
                _place(target, files, descriptor)
    except OSError as failure:
        raise _named(failure, target) from failure
    return target


@contextmanager
def _locked(root: Path) -> Iterator[int]:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_leftovers(root: Path) -> None:
    for leftover in root.glob(f".*{_PARTIAL}"):
        shutil.rmtree(leftover)


def _refuse_other_bytes(target: Path, batch: Batch, files: Mapping[str, bytes]) -> None:
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    differing = {name for name in found & set(files) if (target / name).read_bytes() != files[name]}
    differing |= found ^ set(files)
    if differing:
        raise ConfigurationError(
            f"batch {batch.batch_id!r} is already in {str(target)!r} and differs in {sorted(differing)!r}: a finished "
            "batch is never changed; move it away and issue it again"
        )


def _place(target: Path, files: Mapping[str, bytes], root_descriptor: int) -> None:
    partial = target.with_name(f".{target.name}{_PARTIAL}")
    partial.mkdir()
    for name, content in files.items():
        _write_through(partial / name, content)
    _sync_directory(partial)
    partial.rename(target)
    os.fsync(root_descriptor)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(failure: OSError, target: Path) -> InvoicesError:
    message = f"export {str(target)!r} cannot be written: {failure}"
    return TransientError(message) if failure.errno in _PASSING else ConfigurationError(message)
