"""Where a folder is: on this machine, or behind a server; what can be done there is the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast
from urllib.parse import unquote, urlsplit

from invoices.errors import ConfigurationError
from invoices.settings.intake import MOVE, Folder
from sources.arriving import Place
from sources.folder.listing import Entry, as_text, list_files, matching, open_plainly

SOURCE_KIND = "folder"
LONGEST_NAME = 255


class Changed(Exception):
    """A file is not what it was when the folder was listed, so nothing of it counts."""


class Unreadable(Exception):
    """A file cannot be read; the text says why."""


class Found(Protocol):
    """A file as a listing shows it."""

    @property
    def location(self) -> str:
        """Where it is, as the ledger says it."""
        ...

    @property
    def fingerprint(self) -> str:
        """What stays the same as long as nobody writes to it."""
        ...

    @property
    def file_name(self) -> str:
        """The name without the folders."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def modified_ns(self) -> int:
        """The time of the last change, by the clock of whoever keeps the file; 0 where nobody tells."""
        ...


class FolderAt(Protocol):
    """A folder in its place."""

    @property
    def may_grow(self) -> bool:
        """Whether files are shown that are not there as a whole yet."""
        ...

    def check(self) -> None:
        """Raise ConfigurationError, or TransientError, unless the folder can be listed."""
        ...

    def files(self) -> Iterator[Found | str]:
        """Yield the files that are wanted, sorted by name; for one that cannot be looked at, the reason as text."""
        ...

    def changed(self, found: Sequence[Found]) -> list[Found]:
        """Look again, and return those that are not as they were."""
        ...

    def opened(self, found: Found) -> AbstractContextManager[BinaryIO]:
        """Open a file to be read; raises Changed at the beginning or at the end of the block, and Unreadable."""
        ...

    def is_unchanged(self, found: Found, opened: BinaryIO) -> bool:
        """Return whether an open file is still what was listed."""
        ...

    def directories(self, found: Found) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        ...

    def move(self, found: Found, target: Sequence[str]) -> bool:
        """Move a file to a directory of the folder, if it is unchanged; return whether it was. Raises OSError."""
        ...

    def close(self) -> None:
        """Leave no connection; the next question makes a new one."""
        ...


class Reading:
    """An open file whose errors are not taken for errors of the store that it is copied to."""

    def __init__(self, opened: BinaryIO) -> None:
        self._opened = opened

    def read(self, size: int = -1, /) -> bytes:
        """Return that many bytes; fewer only before the end. Raises Unreadable."""
        try:
            return self._opened.read(size)
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place in the file."""
        return self._opened.seek(offset, whence)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._opened.fileno()


class LocalFolder:
    """A folder on this machine, or on a share that is mounted here."""

    def __init__(self, settings: Folder) -> None:
        self.root = root_of(settings)
        self._is_wanted, self._is_excluded = matching(settings.pattern), matching(settings.exclude)
        self._skipped = {self.root / part for part in moving_to(settings)[:1]}

    @property
    def may_grow(self) -> bool:
        """Whether files are shown that are not there as a whole yet."""
        return True

    def check(self) -> None:
        """Refuse a folder that cannot be listed here, where dlt does not wrap the error yet."""
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise ConfigurationError(f"the folder {str(self.root)!r} cannot be listed: {error.strerror}") from error

    def files(self) -> Iterator[Entry | str]:
        """Yield the files that are wanted."""
        return list_files(self.root, lambda name: self._is_wanted(name) and not self._is_excluded(name), self._skipped)

    def changed(self, found: Sequence[Found]) -> list[Found]:
        """Look again, and return those that are not as they were."""
        return [each for each in found if not _entry(each).is_unchanged()]

    @contextlib.contextmanager
    def opened(self, found: Found) -> Iterator[BinaryIO]:
        """Open a file through one descriptor that all looks and reads go through."""
        entry = _entry(found)
        try:
            opened = open_plainly(entry.path)
        except OSError as error:
            raise Unreadable(error.strerror) from error
        with opened:
            if not self.is_unchanged(entry, opened):  # also what became a pipe, which would have no end
                raise Changed
            yield cast(BinaryIO, Reading(opened))
            if not self.is_unchanged(entry, opened):
                raise Changed

    def is_unchanged(self, found: Found, opened: BinaryIO) -> bool:
        """Return whether the open file, and what is under its name, are what was listed."""
        entry, status = _entry(found), os.fstat(opened.fileno())
        same = (status.st_size, status.st_mtime_ns, status.st_ino) == (entry.size, entry.modified_ns, entry.inode)
        return same and entry.is_unchanged()

    def directories(self, found: Found) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        return _entry(found).path.relative_to(self.root).parts[:-1]

    def move(self, found: Found, target: Sequence[str]) -> bool:
        """Move a file to a directory of the folder."""
        from sources.folder.moving import move_file

        return move_file(self.root, _entry(found), target)

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _entry(found: Found) -> Entry:
    assert isinstance(found, Entry)  # noqa: S101 - a listing's own entries come back to it
    return found


def place_of(settings: Folder) -> FolderAt:
    """Return the folder that is meant. Raises ConfigurationError, also where a package for its server is missing."""
    moving_to(settings)
    if not settings.is_remote:
        return LocalFolder(settings)
    from sources.folder.remote import RemoteFolder

    return RemoteFolder(settings)


def root_of(settings: Folder) -> Path:
    """Return the directory of a folder on this machine."""
    if settings.url.startswith("file://"):
        return Path(unquote(urlsplit(settings.url).path)).resolve()
    return Path(settings.url).expanduser().resolve()  # so that a location is the same from wherever a run is started


def moving_to(settings: Folder) -> Sequence[str]:
    """Return the directories below the folder that taken files go to; none where they stay.

    Raises:
        ConfigurationError: it is not in the folder.
    """
    if not settings.after.startswith(MOVE):
        return ()
    stated = settings.after.removeprefix(MOVE).strip()
    parts = PurePosixPath(stated.rstrip("/")).parts
    if not parts or stated.startswith("/") or ".." in parts:
        raise ConfigurationError(f"folder {settings.name!r}: {stated!r} is not a folder beside the files")
    return parts


def described(settings: Folder, at: FolderAt, found: Found) -> Place:
    """Return where a file was seen, and whose it is by the names of its sub-folders.

    Of a mail in a Maildir the folder ``cur`` or ``new`` is none of them: it tells whether a mail is new.
    """
    meanings: dict[str, str] = {}
    names = at.directories(found)
    names = names[:-1] if isinstance(found, Entry) and found.is_delivered else names
    for meaning, name in zip(settings.sub_folders, names, strict=False):
        meanings.setdefault(meaning, as_text(name)[:LONGEST_NAME])
    return Place(
        settings.name,
        SOURCE_KIND,
        found.location,
        fingerprint=found.fingerprint,
        entity=meanings.get("entity"),
        cost_centre=meanings.get("cost_centre"),
    )
