"""The interface to the files of a folder, local or on a server, and the errors that all backends raise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from invoices.errors import ConfigurationError
from invoices.settings.sources import MOVE_PREFIX, FolderSettings

LOOKUP_BATCH_SIZE = 500  # files per call of a FingerprintLookup

# From locations to the fingerprints that are recorded for each of them.
FingerprintLookup = Callable[[Sequence[str]], Mapping[str, Collection[str]]]


class FileChangedError(Exception):
    """A file has changed since the folder was listed, so nothing that was read from it counts."""


class FileUnreadableError(Exception):
    """A file cannot be read; the text gives the reason."""


class ListedFile(Protocol):
    """A file as a listing shows it."""

    @property
    def location(self) -> str:
        """The location that is recorded in the ledger."""
        ...

    @property
    def fingerprint(self) -> str:
        """A text that stays the same as long as nobody writes to the file."""
        ...

    @property
    def file_name(self) -> str:
        """The name without the directories."""
        ...

    @property
    def size(self) -> int:
        """The size in bytes."""
        ...

    @property
    def modified_ns(self) -> int:
        """The time of the last change in nanoseconds, by the clock of the machine that holds the file; 0 if unknown."""
        ...


class FolderBackend(Protocol):
    """Access to the files of one folder."""

    @property
    def may_list_partial_files(self) -> bool:
        """Whether a listing can contain files that are still being written."""
        ...

    def check_listable(self) -> None:
        """Raise ConfigurationError or TransientError unless the folder can be listed."""
        ...

    def list_files(self) -> Iterator[ListedFile | str]:
        """Yield the files that the settings select, sorted by name; for a file that cannot be inspected, the reason."""
        ...

    def list_changed_files(self, files: Sequence[ListedFile]) -> list[ListedFile]:
        """Inspect these files again, and return those that have changed."""
        ...

    def open_file(self, file: ListedFile) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading.

        Raises FileChangedError at the beginning or at the end of the block, and FileUnreadableError.
        """
        ...

    def is_unchanged(self, file: ListedFile, stream: BinaryIO) -> bool:
        """Return whether an open file is still as it was listed."""
        ...

    def get_parent_directories(self, file: ListedFile) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        ...

    def move_file(self, file: ListedFile, target_directory: Sequence[str]) -> bool:
        """Move a file to a directory below the folder if it is unchanged; return whether it was. Raises OSError."""
        ...

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        ...


def parse_move_target(settings: FolderSettings) -> Sequence[str]:
    """Return the directories below the folder that collected files are moved to; empty if they are not moved.

    Raises:
        ConfigurationError: the target is not below the folder.
    """
    if not settings.after.startswith(MOVE_PREFIX):
        return ()
    target = settings.after.removeprefix(MOVE_PREFIX).strip()
    parts = PurePosixPath(target.rstrip("/")).parts
    if not parts or target.startswith("/") or ".." in parts:
        raise ConfigurationError(
            f"folder {settings.name!r}: files cannot be moved to {target!r}: name a directory below the folder"
        )
    return parts
