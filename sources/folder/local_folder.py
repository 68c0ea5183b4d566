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
from invoices.settings.sources import MOVE_PREFIX, FolderSettings
from sources.arrivals import Origin
from sources.folder.listing import LocalFile, build_name_matcher, decode_path, list_files, open_regular_file

SOURCE_KIND = "folder"
MAX_NAME_CHARS = 255


class FileChangedError(Exception):
    """A file is not what it was when the folder was listed, so nothing of it counts."""


class FileUnreadableError(Exception):
    """A file cannot be read; the text says why."""


class ListedFile(Protocol):
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


class FolderBackend(Protocol):
    """A folder in its place."""

    @property
    def may_list_partial_files(self) -> bool:
        """Whether files are shown that are not there as a whole yet."""
        ...

    def check_listable(self) -> None:
        """Raise ConfigurationError, or TransientError, unless the folder can be listed."""
        ...

    def list_files(self) -> Iterator[ListedFile | str]:
        """Yield the files that are wanted, sorted by name; for one that cannot be looked at, the reason as text."""
        ...

    def list_changed_files(self, files: Sequence[ListedFile]) -> list[ListedFile]:
        """Look again, and return those that are not as they were."""
        ...

    def open_file(self, file: ListedFile) -> AbstractContextManager[BinaryIO]:
        """Open a file to be read; raises Changed at the beginning or at the end of the block, and Unreadable."""
        ...

    def is_unchanged(self, file: ListedFile, stream: BinaryIO) -> bool:
        """Return whether an open file is still what was listed."""
        ...

    def get_parent_directories(self, file: ListedFile) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        ...

    def move_file(self, file: ListedFile, target_directory: Sequence[str]) -> bool:
        """Move a file to a directory of the folder, if it is unchanged; return whether it was. Raises OSError."""
        ...

    def close(self) -> None:
        """Leave no connection; the next question makes a new one."""
        ...


class SourceFileReader:
    """An open file whose errors are not taken for errors of the store that it is copied to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """Return that many bytes; fewer only before the end. Raises Unreadable."""
        try:
            return self._stream.read(size)
        except OSError as error:
            raise FileUnreadableError(error.strerror or str(error)) from error

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place in the file."""
        return self._stream.seek(offset, whence)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._stream.fileno()


class LocalFolder:
    """A folder on this machine, or on a share that is mounted here."""

    def __init__(self, settings: FolderSettings) -> None:
        self.root = resolve_folder_root(settings)
        self._is_wanted, self._is_excluded = build_name_matcher(settings.pattern), build_name_matcher(settings.exclude)
        self._skipped_directories = {self.root / part for part in parse_move_target(settings)[:1]}

    @property
    def may_list_partial_files(self) -> bool:
        """Whether files are shown that are not there as a whole yet."""
        return True

    def check_listable(self) -> None:
        """Refuse a folder that cannot be listed here, where dlt does not wrap the error yet."""
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise ConfigurationError(f"the folder {str(self.root)!r} cannot be listed: {error.strerror}") from error

    def list_files(self) -> Iterator[LocalFile | str]:
        """Yield the files that are wanted."""
        return list_files(
            self.root, lambda name: self._is_wanted(name) and not self._is_excluded(name), self._skipped_directories
        )

    def list_changed_files(self, files: Sequence[ListedFile]) -> list[ListedFile]:
        """Look again, and return those that are not as they were."""
        return [file for file in files if not _require_local_file(file).is_unchanged()]

    @contextlib.contextmanager
    def open_file(self, file: ListedFile) -> Iterator[BinaryIO]:
        """Open a file through one descriptor that all looks and reads go through."""
        local_file = _require_local_file(file)
        try:
            stream = open_regular_file(local_file.path)
        except OSError as error:
            raise FileUnreadableError(error.strerror) from error
        with stream:
            if not self.is_unchanged(local_file, stream):  # also what became a pipe, which would have no end
                raise FileChangedError
            yield cast(BinaryIO, SourceFileReader(stream))
            if not self.is_unchanged(local_file, stream):
                raise FileChangedError

    def is_unchanged(self, file: ListedFile, stream: BinaryIO) -> bool:
        """Return whether the open file, and what is under its name, are what was listed."""
        local_file, status = _require_local_file(file), os.fstat(stream.fileno())
        is_same_file = (status.st_size, status.st_mtime_ns, status.st_ino) == (
            local_file.size,
            local_file.modified_ns,
            local_file.inode,
        )
        return is_same_file and local_file.is_unchanged()

    def get_parent_directories(self, file: ListedFile) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        return _require_local_file(file).path.relative_to(self.root).parts[:-1]

    def move_file(self, file: ListedFile, target_directory: Sequence[str]) -> bool:
        """Move a file to a directory of the folder."""
        from sources.folder.file_move import move_without_overwrite

        return move_without_overwrite(self.root, _require_local_file(file), target_directory)

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _require_local_file(file: ListedFile) -> LocalFile:
    assert isinstance(file, LocalFile)  # noqa: S101 - a listing's own entries come back to it
    return file


def open_folder_backend(settings: FolderSettings) -> FolderBackend:
    """Return the folder that is meant. Raises ConfigurationError, also where a package for its server is missing."""
    parse_move_target(settings)
    if not settings.is_remote:
        return LocalFolder(settings)
    from sources.folder.remote_folder import RemoteFolder

    return RemoteFolder(settings)


def resolve_folder_root(settings: FolderSettings) -> Path:
    """Return the directory of a folder on this machine."""
    if settings.url.startswith("file://"):
        return Path(unquote(urlsplit(settings.url).path)).resolve()
    return Path(settings.url).expanduser().resolve()  # so that a location is the same from wherever a run is started


def parse_move_target(settings: FolderSettings) -> Sequence[str]:
    """Return the directories below the folder that taken files go to; none where they stay.

    Raises:
        ConfigurationError: it is not in the folder.
    """
    if not settings.after.startswith(MOVE_PREFIX):
        return ()
    target = settings.after.removeprefix(MOVE_PREFIX).strip()
    parts = PurePosixPath(target.rstrip("/")).parts
    if not parts or target.startswith("/") or ".." in parts:
        raise ConfigurationError(f"folder {settings.name!r}: {target!r} is not a folder beside the files")
    return parts


def build_file_origin(settings: FolderSettings, backend: FolderBackend, file: ListedFile) -> Origin:
    """Return where a file was seen, and whose it is by the names of its sub-folders.

    Of a mail in a Maildir the folder ``cur`` or ``new`` is none of them: it tells whether a mail is new.
    """
    labels: dict[str, str] = {}
    directories = backend.get_parent_directories(file)
    directories = directories[:-1] if isinstance(file, LocalFile) and file.is_maildir_mail else directories
    for label, name in zip(settings.sub_folders, directories, strict=False):
        labels.setdefault(label, decode_path(name)[:MAX_NAME_CHARS])
    return Origin(
        settings.name,
        SOURCE_KIND,
        file.location,
        fingerprint=file.fingerprint,
        entity=labels.get("entity"),
        cost_centre=labels.get("cost_centre"),
    )
