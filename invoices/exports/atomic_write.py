"""Writing a batch to disk: complete under its name, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from invoices.errors import ConfigurationError, TransientError
from invoices.exports.batch_header import BatchHeader
from invoices.exports.manifest import FILE_NAME as MANIFEST_NAME
from invoices.exports.manifest import WrittenFile, describe_file
from invoices.exports.rendering import OrderedInvoices, render_batch_folder
from invoices.private_files import make_private_directory, use_private_umask

_PARTIAL_SUFFIX = ".partial"
_TRANSIENT_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EINTR, errno.EMFILE, errno.ENFILE)


def write_batch_folder(
    root: Path, batch: BatchHeader, invoices: OrderedInvoices, before_release: Callable[[str], None] = lambda _: None
) -> Path:
    """Return ``root/<batch_id>``, with the files of the batch; all are on disk before the folder gets its name.

    A batch that exists with the same bytes is not touched. Partial folders of killed runs in ``root`` are removed.
    Waits while another process writes into the same ``root``. ``before_release`` gets the SHA-256 of the manifest
    before the folder gets its name; if it raises an error, nothing is written.

    Raises ConfigurationError if the batch exists with other bytes, or ``root`` cannot be written; TransientError if
    the disk is full or fails. An existing batch is never changed.
    """
    target = root / batch.batch_id
    try:
        make_private_directory(root)
        with _lock_directory(root) as root_descriptor, use_private_umask():
            for partial_folder in root.glob(f".*{_PARTIAL_SUFFIX}"):
                shutil.rmtree(partial_folder)
            partial_folder = target.with_name(f".{target.name}{_PARTIAL_SUFFIX}")
            make_private_directory(partial_folder)
            try:
                files = render_batch_folder(partial_folder, batch, invoices)
                before_release(files[MANIFEST_NAME].sha256)
                if os.path.lexists(target):
                    _require_identical_files(target, batch, files)
                else:
                    _release_folder(partial_folder, target, root_descriptor)
            finally:
                shutil.rmtree(partial_folder, ignore_errors=True)
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


def _require_identical_files(target: Path, batch: BatchHeader, files: Mapping[str, WrittenFile]) -> None:
    existing_paths = {path.name: path for path in target.iterdir()} if target.is_dir() else {}
    differing_names = {
        name
        for name, path in existing_paths.items()
        if name in files and (not path.is_file() or describe_file(path, 0).sha256 != files[name].sha256)
    }
    differing_names |= set(existing_paths) ^ set(files)
    if differing_names:
        raise ConfigurationError(
            f"batch {batch.batch_id!r} already exists in {str(target)!r} and differs in {sorted(differing_names)!r}. "
            "A finished batch is never changed: move it away and reissue it"
        )


def _release_folder(partial_folder: Path, target: Path, root_descriptor: int) -> None:
    for path in partial_folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_directory(partial_folder)
    partial_folder.rename(target)
    os.fsync(root_descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
