"""Lists a directory tree: regular files only, sorted, without the temporary files of systems and editors."""

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

from invoices.model.locations import truncate_with_hash

IGNORED_FILE_PATTERNS = (
    ".*", "thumbs.db", "ehthumbs.db", "desktop.ini", "~$*", "*~", "#*#", "*.tmp", "*.temp", "*.part", "*.partial",
    "*.crdownload", "*.download", "*.filepart", "*.swp", "*.lock", "*.bak", "*.old", "*.lnk", "nohup.out",
)  # fmt: skip
IGNORED_DIRECTORY_PATTERNS = (
    ".*", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
)  # fmt: skip
MAILDIR_SUBDIRECTORIES = frozenset({"cur", "new", "tmp"})  # a directory with all three is a Maildir
NOT_REGULAR_REASON = "is not a regular file"  # a link or a pipe, for example, which is never collected
MAILDIR_LOCATION_SEPARATOR = "/;UNIQUE="


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as the directory lists it."""

    raw_path: str  # the path as the system gives it; a str needs a tenth of the time and memory of a Path
    size: int
    modified_ns: int
    inode: int
    status_changed_ns: int  # unlike the time of modification, no program can set it back
    is_maildir_mail: bool = False  # its name and directory encode its flags, so both can change

    @property
    def path(self) -> Path:
        """The path."""
        return Path(self.raw_path)

    @property
    def fingerprint(self) -> str:
        """A text that stays the same as long as nobody writes to the file."""
        modification = f"{self.size}-{self.modified_ns}-{self.inode}"
        if self.is_maildir_mail:  # a new name, that is a new flag, changes the status time
            return modification
        return f"{modification}-{self.status_changed_ns}"

    @property
    def location(self) -> str:
        """The path as text for any encoding; for a mail in a Maildir, the part that does not change with its flags."""
        if self.is_maildir_mail:
            maildir, unique_name = decode_path(self.path.parent.parent), self.file_name.partition(":2,")[0]
            return truncate_with_hash(f"{maildir}{MAILDIR_LOCATION_SEPARATOR}{unique_name}")
        return truncate_with_hash(decode_path(self.raw_path))

    @property
    def file_name(self) -> str:
        """The name without the directories."""
        return decode_path(self.path.name)

    def is_unchanged(self, other_status_time: int | None = None) -> bool:
        """Inspect the file again, and return whether it is as it was.

        ``other_status_time`` is another status time that it may have, in nanoseconds.
        """
        current = find_regular_file(self.raw_path)
        if current is None:
            return False
        if current.status_changed_ns == other_status_time:
            current = replace(current, status_changed_ns=self.status_changed_ns)
        return replace(current, is_maildir_mail=self.is_maildir_mail) == self


def decode_path(path: str | Path) -> str:
    """Return a path or name as text for any encoding; bytes that are not UTF-8 become ``\\x..``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def build_name_matcher(patterns: Collection[str]) -> Callable[[str], bool]:
    """Return a function that tests whether a name matches one of the patterns, ignoring case."""
    match_name = re.compile("|".join(fnmatch.translate(pattern.casefold()) for pattern in patterns) or r"\b\B").match
    return lambda name: match_name(name.casefold()) is not None


is_ignored_file = build_name_matcher(IGNORED_FILE_PATTERNS)
is_ignored_directory = build_name_matcher(IGNORED_DIRECTORY_PATTERNS)


def list_files(
    root: Path, is_wanted: Callable[[str], bool] = lambda _name: True, skipped_directories: Collection[Path] = ()
) -> Iterator[LocalFile | str]:
    """Yield the files below ``root`` in sorted order; for a file that cannot be inspected, the reason as text.

    Yields only files for which ``is_wanted`` is true, and none in ``skipped_directories``. Links are not followed and
    only regular files count, so nothing outside of ``root`` is ever opened. A Maildir yields its mails, without those
    in ``tmp`` that are still being delivered, and then its subdirectories.

    Raises:
        OSError: ``root`` itself cannot be listed.
    """
    stack = [_list_directory_entries(root)]  # not recursion: directories may be nested deeper than Python's stack
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
                status, is_maildir_mail = item.stat(follow_symlinks=False), isinstance(item, _MaildirMail)
                yield (_from_stat_result(item.path, status, is_maildir_mail) or f"{item.path!r} {NOT_REGULAR_REASON}")
        except FileNotFoundError:  # removed, or a mail whose name has changed with its flags
            continue
        except OSError as error:
            yield f"{item.path!r} cannot be read: {error.strerror}"


@dataclass(frozen=True, slots=True)
class _MaildirMail:
    """A file in a Maildir, with the interface of ``os.DirEntry``."""

    name: str
    path: str

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return stat.S_ISDIR(self.stat(follow_symlinks=follow_symlinks).st_mode)

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)


def _list_directory_entries(directory: Path) -> Iterator[os.DirEntry[str] | _MaildirMail]:
    entries = _scan_directory_by_name(directory)
    maildir_parts = [entry for entry in entries if entry.name in MAILDIR_SUBDIRECTORIES]
    if sum(entry.is_dir(follow_symlinks=False) for entry in maildir_parts) < len(MAILDIR_SUBDIRECTORIES):
        return iter(entries)
    mails = [entry for name in ("cur", "new") for entry in _scan_directory_by_name(directory / name)]
    ordered_mails = sorted((_MaildirMail(entry.name, entry.path) for entry in mails), key=lambda mail: mail.name)
    subdirectories = (entry for entry in entries if entry not in maildir_parts and entry.is_dir(follow_symlinks=False))
    return chain(ordered_mails, subdirectories)


def _scan_directory_by_name(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as scan:
        return sorted(scan, key=lambda entry: entry.name)


def find_regular_file(path: str | Path) -> LocalFile | None:
    """Return the file as it is now, or None if it does not exist or is not a regular file."""
    try:
        return _from_stat_result(str(path), os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _from_stat_result(raw_path: str, status: os.stat_result, is_maildir_mail: bool = False) -> LocalFile | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return LocalFile(raw_path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, is_maildir_mail)


def open_without_following_links(path: Path) -> BufferedReader:
    """Open a regular file for reading, without following links and without blocking; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fdopen(descriptor, "rb")
    except OSError:  # it is a directory now
        os.close(descriptor)
        raise
