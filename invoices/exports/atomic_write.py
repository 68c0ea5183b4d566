"""Writing a rendered batch to disk: complete under its name, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from invoices.errors import ConfigurationError, TransientError
from invoices.exports.batch_header import BatchHeader
from invoices.private_files import make_private_directory, open_privately

_PARTIAL_SUFFIX = ".partial"
_TRANSIENT_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EINTR, errno.EMFILE, errno.ENFILE)


def write_batch_folder(root: Path, batch: BatchHeader, files: Mapping[str, bytes]) -> Path:
    """Return ``root/<batch_id>``, holding exactly ``files``; all are on disk before the folder gets its name.

    A batch that exists with the same bytes is not touched. Partial folders of killed runs in ``root`` are removed.
    Waits while another process writes into the same ``root``.

    Raises ConfigurationError if the batch exists with other bytes, or ``root`` cannot be written; TransientError if
    the disk is full or fails. An existing batch is never changed.
    """
    target = root / batch.batch_id
    try:
        make_private_directory(root)
        with _lock_directory(root) as root_descriptor:
            for partial_folder in root.glob(f".*{_PARTIAL_SUFFIX}"):
                shutil.rmtree(partial_folder)
            if os.path.lexists(target):
                _require_identical_files(target, batch, files)
            else:
                _write_folder_atomically(target, files, root_descriptor)
    except OSError as error:
        error_type = TransientError if error.errno in _TRANSIENT_ERRNOS else ConfigurationError
        raise error_type(f"the export {str(target)!r} cannot be written: {error}") from error
    return target


@contextmanager
def _lock_directory(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel releases it if the process dies
        yield descriptor
    finally:
        os.close(descriptor)


def _require_identical_files(target: Path, batch: BatchHeader, files: Mapping[str, bytes]) -> None:
    existing_names = {path.name for path in target.iterdir()} if target.is_dir() else set()
    differing_names = {name for name in existing_names & set(files) if (target / name).read_bytes() != files[name]}
    differing_names |= existing_names ^ set(files)
    if differing_names:
        raise ConfigurationError(
            f"batch {batch.batch_id!r} already exists in {str(target)!r} and differs in {sorted(differing_names)!r}. "
            "A finished batch is never changed: move it away and reissue it"
        )


def _write_folder_atomically(target: Path, files: Mapping[str, bytes], root_descriptor: int) -> None:
    partial_folder = target.with_name(f".{target.name}{_PARTIAL_SUFFIX}")
    make_private_directory(partial_folder)
    for name, content in files.items():
        _write_file_durably(partial_folder / name, content)
    _sync_directory(partial_folder)
    partial_folder.rename(target)
    os.fsync(root_descriptor)


def _write_file_durably(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=open_privately) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
