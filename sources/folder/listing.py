"""What lies in a directory: regular files only, sorted, without what systems and editors leave behind."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

LEFTOVER_FILES = (
    ".*", "thumbs.db", "ehthumbs.db", "desktop.ini", "~$*", "*~", "#*#", "*.tmp", "*.temp", "*.part", "*.partial",
    "*.crdownload", "*.download", "*.filepart", "*.swp", "*.lock", "*.bak", "*.old", "*.lnk", "nohup.out",
)  # fmt: skip
LEFTOVER_DIRECTORIES = (
    ".*", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a look at the directory shows it."""

    path: Path
    size: int
    modified_ns: int
    inode: int
    changed_ns: int  # unlike the time of modification, nobody can set it back

    @property
    def fingerprint(self) -> str:
        """What stays the same as long as nobody writes to the file."""
        return f"{self.size}-{self.modified_ns}-{self.inode}-{self.changed_ns}"

    @property
    def location(self) -> str:
        """The path as text that any encoding can carry."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")


def list_files(root: Path) -> Iterator[Entry | str]:
    """Yield the files below ``root`` in sorted order; for one that cannot be looked at, the reason as text.

    Links are not followed, and only regular files count: nothing outside of ``root`` is ever opened.

    Raises:
        OSError: ``root`` itself cannot be listed.
    """
    stack = [_sorted(root)]  # not recursion: a folder may be nested deeper than Python's own stack
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            continue
        path = Path(item.path)
        try:
            if item.is_dir(follow_symlinks=False):
                if not _matches(item.name, LEFTOVER_DIRECTORIES):
                    stack.append(_sorted(path))
            elif not _matches(item.name, LEFTOVER_FILES):
                yield look_at(path) or f"{str(path)!r} is not a regular file"
        except OSError as error:
            yield f"{str(path)!r} cannot be read: {error.strerror}"


def _sorted(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as found:
        return iter(sorted(found, key=lambda item: item.name))


def look_at(path: Path) -> Entry | None:
    """Return the file as it is now, or None if it is gone or is no regular file."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


def open_plainly(path: Path) -> BufferedReader:
    """Open a regular file for reading, following no link and waiting for nothing; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fdopen(descriptor, "rb")
    except OSError:  # a folder by now
        os.close(descriptor)
        raise


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    lowered = name.casefold()
    return any(fnmatch.fnmatchcase(lowered, pattern) for pattern in patterns)
