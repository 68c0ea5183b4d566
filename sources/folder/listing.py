"""What lies in a directory: regular files only, sorted, without what systems and editors leave behind."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import chain
from pathlib import Path

from sources.arriving import bounded

LEFTOVER_FILES = (
    ".*", "thumbs.db", "ehthumbs.db", "desktop.ini", "~$*", "*~", "#*#", "*.tmp", "*.temp", "*.part", "*.partial",
    "*.crdownload", "*.download", "*.filepart", "*.swp", "*.lock", "*.bak", "*.old", "*.lnk", "nohup.out",
)  # fmt: skip
LEFTOVER_DIRECTORIES = (
    ".*", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
)  # fmt: skip
MAILDIR = frozenset({"cur", "new", "tmp"})  # what makes a folder a Maildir; mails in tmp are being delivered
UNIQUE = "/;UNIQUE="


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a look at the directory shows it."""

    full_name: str  # the path as the system says it; text takes a tenth of the time and room of a Path
    size: int
    modified_ns: int
    inode: int
    changed_ns: int  # unlike the time of modification, nobody can set it back
    is_delivered: bool = False  # a mail of a Maildir: its name and its folder tell its flags, and change

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.full_name)

    @property
    def fingerprint(self) -> str:
        """What stays the same as long as nobody writes to the file."""
        written = f"{self.size}-{self.modified_ns}-{self.inode}"
        return written if self.is_delivered else f"{written}-{self.changed_ns}"  # a new name changes the last one

    @property
    def location(self) -> str:
        """The path as text that any encoding can carry; of a mail in a Maildir the part that stays."""
        if self.is_delivered:
            return bounded(as_text(self.path.parent.parent) + UNIQUE + as_text(self.path.name).partition(":2,")[0])
        return bounded(as_text(self.full_name))

    @property
    def file_name(self) -> str:
        """The name without the folders."""
        return as_text(self.path.name)

    def is_unchanged(self) -> bool:
        """Look again, and return whether the file is as it was."""
        return (now := look_at(self.full_name)) is not None and replace(now, is_delivered=self.is_delivered) == self


def as_text(path: str | Path) -> str:
    """Return a path or name as text that any encoding can carry."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def matching(patterns: Collection[str]) -> Callable[[str], bool]:
    """Return a test whether a name fits one of the patterns, without regard to case."""
    fits = re.compile("|".join(fnmatch.translate(pattern.casefold()) for pattern in patterns) or r"\b\B").match
    return lambda name: fits(name.casefold()) is not None


is_leftover_file = matching(LEFTOVER_FILES)
is_leftover_directory = matching(LEFTOVER_DIRECTORIES)


def list_files(
    root: Path, is_wanted: Callable[[str], bool] = lambda _name: True, skipped: Collection[Path] = ()
) -> Iterator[Entry | str]:
    """Yield the files below ``root`` in sorted order; for one that cannot be looked at, the reason as text.

    Only files whose names are wanted, and none in the ``skipped`` directories. Links are not followed, and only regular
    files count: nothing outside of ``root`` is ever opened. Of a Maildir the mails, but in ``tmp``, and its folders.

    Raises:
        OSError: ``root`` itself cannot be listed.
    """
    stack = [_items(root)]  # not recursion: a folder may be nested deeper than Python's own stack
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            continue
        try:
            if item.is_dir(follow_symlinks=False):
                if not is_leftover_directory(item.name) and not (skipped and Path(item.path) in skipped):
                    stack.append(_items(Path(item.path)))
            elif not is_leftover_file(item.name) and is_wanted(item.name):
                yield _entry(item) or f"{item.path!r} is not a regular file"
        except FileNotFoundError:  # gone, or a mail that has another flag, and so another name, by now
            continue
        except OSError as error:
            yield f"{item.path!r} cannot be read: {error.strerror}"


@dataclass(frozen=True, slots=True)
class _Mail:
    """A file in a Maildir; it looks like an entry of a directory."""

    name: str
    path: str

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return stat.S_ISDIR(self.stat(follow_symlinks=follow_symlinks).st_mode)

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)


def _items(directory: Path) -> Iterator[os.DirEntry[str] | _Mail]:
    found = _sorted(directory)
    if {item.name for item in found if item.name in MAILDIR and item.is_dir(follow_symlinks=False)} >= MAILDIR:
        mails = [item for name in ("cur", "new") for item in _sorted(directory / name)]
        ordered = sorted((_Mail(item.name, item.path) for item in mails), key=lambda mail: mail.name)
        beside = (item for item in found if item.name not in MAILDIR and item.is_dir(follow_symlinks=False))
        return chain(ordered, beside)
    return iter(found)


def _sorted(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as found:
        return sorted(found, key=lambda item: item.name)


def _entry(item: os.DirEntry[str] | _Mail) -> Entry | None:
    return _from_status(item.path, item.stat(follow_symlinks=False), is_delivered=isinstance(item, _Mail))


def look_at(path: str | Path) -> Entry | None:
    """Return the file as it is now, or None if it is gone or is no regular file."""
    try:
        return _from_status(str(path), os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _from_status(full_name: str, status: os.stat_result, is_delivered: bool = False) -> Entry | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(full_name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, is_delivered)


def open_plainly(path: Path) -> BufferedReader:
    """Open a regular file for reading, following no link and waiting for nothing; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fdopen(descriptor, "rb")
    except OSError:  # a folder by now
        os.close(descriptor)
        raise
