"""A folder on this machine, or on a share that is mounted here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from invoices.errors import ConfigurationError
from invoices.settings.sources import FolderSettings
from sources.folder.file_move import move_without_overwrite
from sources.folder.folder_backend import FileChangedError, FileUnreadableError, ListedFile, parse_move_target
from sources.folder.listing import LocalFile, build_name_matcher, list_files, open_without_following_links


class SourceFileReader:
    """An open file that reports read errors as FileUnreadableError, apart from errors of the store it is copied to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """Return ``size`` bytes, fewer only before the end. Raises FileUnreadableError."""
        try:
            return self._stream.read(size)
        except OSError as error:
            raise FileUnreadableError(error.strerror or str(error)) from error

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position in the file."""
        return self._stream.seek(offset, whence)

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._stream.fileno()


class LocalFolder:
    """A folder on this machine, or on a share that is mounted here."""

    def __init__(self, settings: FolderSettings) -> None:
        self.root = resolve_folder_root(settings)
        self._is_wanted, self._is_excluded = build_name_matcher(settings.pattern), build_name_matcher(settings.exclude)
        self._moved_inodes: dict[int, int] = {}
        self._skipped_directories = {self.root / part for part in parse_move_target(settings)[:1]}

    @property
    def may_list_partial_files(self) -> bool:
        """Return True: a file is listed as soon as its writer creates it."""
        return True

    def check_listable(self) -> None:
        """Raise ConfigurationError if the folder cannot be listed, at a point where dlt does not wrap errors yet."""
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise ConfigurationError(f"the folder {str(self.root)!r} cannot be listed: {error.strerror}") from error

    def list_files(self) -> Iterator[LocalFile | str]:
        """Yield the files that the settings select; for a file that cannot be inspected, the reason."""
        return list_files(
            self.root, lambda name: self._is_wanted(name) and not self._is_excluded(name), self._skipped_directories
        )

    def list_changed_files(self, files: Sequence[ListedFile]) -> list[ListedFile]:
        """Inspect these files again, and return those that have changed."""
        return [file for file in files if not _require_local_file(file).is_unchanged()]

    @contextlib.contextmanager
    def open_file(self, file: ListedFile) -> Iterator[BinaryIO]:
        """Open a file once, and use the same descriptor for all checks and reads."""
        local_file = _require_local_file(file)
        try:
            stream = open_without_following_links(local_file.path)
        except OSError as error:
            raise FileUnreadableError(error.strerror) from error
        with stream:
            if not self.is_unchanged(local_file, stream):  # a pipe, too, which could be read without end
                raise FileChangedError
            yield cast(BinaryIO, SourceFileReader(stream))
            if not self.is_unchanged(local_file, stream):
                raise FileChangedError

    def is_unchanged(self, file: ListedFile, stream: BinaryIO) -> bool:
        """Return whether both the open file and the file under its name are as they were listed."""
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
        """Move a file to a directory below the folder if it is unchanged; return whether it was. Raises OSError."""
        return move_without_overwrite(self.root, _require_local_file(file), target_directory, self._moved_inodes)

    def close(self) -> None:
        """Do nothing: there is no connection."""


def resolve_folder_root(settings: FolderSettings) -> Path:
    """Return the directory of a local folder as an absolute path: locations must not depend on where a run starts."""
    if settings.url.startswith("file://"):
        return Path(unquote(urlsplit(settings.url).path)).resolve()
    return Path(settings.url).expanduser().resolve()


def _require_local_file(file: ListedFile) -> LocalFile:
    assert isinstance(file, LocalFile)  # noqa: S101 - a backend is only given files from its own listing
    return file
