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

from sources.arrivals import truncate_with_hash

IGNORED_FILE_PATTERNS = (
    ".*", "thumbs.db", "ehthumbs.db", "desktop.ini", "~$*", "*~", "#*#", "*.tmp", "*.temp", "*.part", "*.partial",
    "*.crdownload", "*.download", "*.filepart", "*.swp", "*.lock", "*.bak", "*.old", "*.lnk", "nohup.out",
)  # fmt: skip
IGNORED_DIRECTORY_PATTERNS = (
    ".*", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
)  # fmt: skip
MAILDIR_SUBDIRECTORIES = frozenset(
    {"cur", "new", "tmp"}
)  # what makes a folder a Maildir; mails in tmp are being delivered
MAILDIR_LOCATION_SEPARATOR = "/;UNIQUE="


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as a look at the directory shows it."""

    raw_path: str  # the path as the system says it; text takes a tenth of the time and room of a Path
    size: int
    modified_ns: int
    inode: int
    status_changed_ns: int  # unlike the time of modification, nobody can set it back
    is_maildir_mail: bool = False  # a mail of a Maildir: its name and its folder tell its flags, and change

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.raw_path)

    @property
    def fingerprint(self) -> str:
        """What stays the same as long as nobody writes to the file."""
        modification = f"{self.size}-{self.modified_ns}-{self.inode}"
        return (
            modification if self.is_maildir_mail else f"{modification}-{self.status_changed_ns}"
        )  # a new name changes the last one

    @property
    def location(self) -> str:
        """The path as text that any encoding can carry; of a mail in a Maildir the part that stays."""
        if self.is_maildir_mail:
            return truncate_with_hash(
                decode_path(self.path.parent.parent)
                + MAILDIR_LOCATION_SEPARATOR
                + decode_path(self.path.name).partition(":2,")[0]
            )
        return truncate_with_hash(decode_path(self.raw_path))

    @property
    def file_name(self) -> str:
        """The name without the folders."""
        return decode_path(self.path.name)

    def is_unchanged(self) -> bool:
        """Look again, and return whether the file is as it was."""
        return (current := find_regular_file(self.raw_path)) is not None and replace(
            current, is_maildir_mail=self.is_maildir_mail
        ) == self


def decode_path(path: str | Path) -> str:
    """Return a path or name as text that any encoding can carry."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def build_name_matcher(patterns: Collection[str]) -> Callable[[str], bool]:
    """Return a test whether a name fits one of the patterns, without regard to case."""
    match_name = re.compile("|".join(fnmatch.translate(pattern.casefold()) for pattern in patterns) or r"\b\B").match
    return lambda name: match_name(name.casefold()) is not None


is_ignored_file = build_name_matcher(IGNORED_FILE_PATTERNS)
is_ignored_directory = build_name_matcher(IGNORED_DIRECTORY_PATTERNS)


def list_files(
    root: Path, is_wanted: Callable[[str], bool] = lambda _name: True, skipped_directories: Collection[Path] = ()
) -> Iterator[LocalFile | str]:
    """Yield the files below ``root`` in sorted order; for one that cannot be looked at, the reason as text.

    Only files whose names are wanted, and none in the ``skipped`` directories. Links are not followed, and only regular
    files count: nothing outside of ``root`` is ever opened. Of a Maildir the mails, but in ``tmp``, and its folders.

    Raises:
        OSError: ``root`` itself cannot be listed.
    """
    stack = [_list_directory_entries(root)]  # not recursion: a folder may be nested deeper than Python's own stack
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            continue
        try:
            if item.is_dir(follow_symlinks=False):
                if not is_ignored_directory(item.name) and not (
                    skipped_directories and Path(item.path) in skipped_directories
                ):
                    stack.append(_list_directory_entries(Path(item.path)))
            elif not is_ignored_file(item.name) and is_wanted(item.name):
                yield _inspect_entry(item) or f"{item.path!r} is not a regular file"
        except FileNotFoundError:  # gone, or a mail that has another flag, and so another name, by now
            continue
        except OSError as error:
            yield f"{item.path!r} cannot be read: {error.strerror}"


@dataclass(frozen=True, slots=True)
class _MaildirMail:
    """A file in a Maildir; it looks like an entry of a directory."""

    name: str
    path: str

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return stat.S_ISDIR(self.stat(follow_symlinks=follow_symlinks).st_mode)

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)


def _list_directory_entries(directory: Path) -> Iterator[os.DirEntry[str] | _MaildirMail]:
    entries = _scan_directory_by_name(directory)
    if {
        entry.name for entry in entries if entry.name in MAILDIR_SUBDIRECTORIES and entry.is_dir(follow_symlinks=False)
    } >= MAILDIR_SUBDIRECTORIES:
        mails = [entry for name in ("cur", "new") for entry in _scan_directory_by_name(directory / name)]
        ordered_mails = sorted((_MaildirMail(entry.name, entry.path) for entry in mails), key=lambda mail: mail.name)
        subdirectories = (
            entry
            for entry in entries
            if entry.name not in MAILDIR_SUBDIRECTORIES and entry.is_dir(follow_symlinks=False)
        )
        return chain(ordered_mails, subdirectories)
    return iter(entries)


def _scan_directory_by_name(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as scan:
        return sorted(scan, key=lambda entry: entry.name)


def _inspect_entry(entry: os.DirEntry[str] | _MaildirMail) -> LocalFile | None:
    return _from_stat_result(
        entry.path, entry.stat(follow_symlinks=False), is_maildir_mail=isinstance(entry, _MaildirMail)
    )


def find_regular_file(path: str | Path) -> LocalFile | None:
    """Return the file as it is now, or None if it is gone or is no regular file."""
    try:
        return _from_stat_result(str(path), os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _from_stat_result(raw_path: str, status: os.stat_result, is_maildir_mail: bool = False) -> LocalFile | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return LocalFile(raw_path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, is_maildir_mail)


def open_regular_file(path: Path) -> BufferedReader:
    """Open a regular file for reading, following no link and waiting for nothing; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fdopen(descriptor, "rb")
    except OSError:  # a folder by now
        os.close(descriptor)
        raise
