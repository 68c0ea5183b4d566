"""Files and directories that only their owner can read, whatever the umask of the process is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
UMASK = 0o077


def make_private_directory(directory: Path) -> None:
    """Create a directory with mode 0700; an existing one keeps its mode. Raises OSError."""
    if not directory.is_dir():
        with suppress(FileExistsError):  # another process was faster
            directory.mkdir(parents=True, mode=DIRECTORY_MODE)
        directory.chmod(DIRECTORY_MODE)


def open_privately(path: str | os.PathLike[str], flags: int) -> int:
    """Return a descriptor of the file, which gets mode 0600; the ``opener`` for Python's ``open``. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    with suppress(PermissionError):  # somebody else owns the file
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def make_private_file(path: Path) -> None:
    """Give a file mode 0600, and create it if it is missing, before a library opens it. Raises OSError."""
    os.close(open_privately(path, os.O_RDWR | os.O_CREAT))


@contextmanager
def use_private_umask() -> Iterator[None]:
    """Let the files that a library makes in the block be readable by their owner only; for the whole process."""
    previous_umask = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(previous_umask)
