"""A folder on a server, accessed through fsspec: its files are downloaded to be collected, and moved on the server."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import posixpath
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, BinaryIO, cast

from invoices.errors import ConfigurationError, InvoicesError, TransientError
from invoices.model.locations import truncate_with_hash
from invoices.settings.sources import FolderSettings
from sources.folder.folder_backend import FileChangedError, FileUnreadableError, ListedFile, parse_move_target
from sources.folder.listing import build_name_matcher, is_ignored_directory, is_ignored_file
from sources.folder.remote_filesystems import FolderConnection, connect_to_folder

MAX_REQUEST_SECONDS = 300.0  # for one response: the listing of one directory, or 8 MB of a file
_BLOCK_BYTES = 1 << 20
_RANGE_BYTES = 8 << 20
_MAX_MEMORY_BYTES = 8 << 20  # of a downloaded file; a larger one goes to a temporary file without a name
_MAX_DEPTH = 100
_MAX_FINGERPRINT_BYTES = 80  # the size of the column in the ledger
_OBJECT_STORE_SCHEMES = ("s3", "gs", "az")  # they list an object only once it is complete
_TAG_KEYS = ("ETag", "etag", "generation", "md5Hash", "version_id", "VersionId")
_MODIFIED_KEYS = ("mtime", "LastModified", "last_modified", "modified", "updated")
_CONNECTION_ERRORS = (ConnectionError, TimeoutError)
_FILE_ERROR_NAMES = {
    "SFTPPermissionDenied", "SFTPFailure", "SFTPNoSuchPath", "SFTPInvalidFilename", "ForbiddenOperation",
}  # fmt: skip
_ACCESS_ERROR_NAMES = {
    "PermissionDenied", "SFTPPermissionDenied", "NoCredentialsError", "ClientAuthenticationError",
    "InvalidAccessKeyId",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the server lists it."""

    path: str  # in the filesystem
    path_parts: Sequence[str]  # below the folder: the directories, then the file name
    location: str
    size: int
    modified_ns: int
    tag: str  # an ETag, version or checksum from the server, or empty

    @property
    def fingerprint(self) -> str:
        """A text that stays the same as long as nobody writes to the file, as far as the server reports changes."""
        return truncate_with_hash(f"{self.size}-{self.modified_ns}-{self.tag}", _MAX_FINGERPRINT_BYTES)

    @property
    def file_name(self) -> str:
        """The name without the directories."""
        return self.path_parts[-1]


class RemoteFolder:
    """A folder on a server; no name from the server is ever used as a local path."""

    def __init__(self, settings: FolderSettings) -> None:
        self._settings = settings
        self._is_wanted, self._is_excluded = build_name_matcher(settings.pattern), build_name_matcher(settings.exclude)
        self._skipped_directory = tuple(parse_move_target(settings)[:1])
        self._cached_connection: FolderConnection | None = None

    @property
    def may_list_partial_files(self) -> bool:
        """Whether the server can list files that are still being written."""
        return not self._settings.url.startswith(_OBJECT_STORE_SCHEMES)

    def check_listable(self) -> None:
        """Raise ConfigurationError or TransientError unless the folder can be listed."""
        try:
            with self._translate_errors():
                self._list_directory(())
        except InvoicesError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        connection, self._cached_connection = self._cached_connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be broken already
                connection.close()

    def list_files(self) -> Iterator[RemoteFile | str]:
        """Yield the selected files, sorted by name in each directory; for one that cannot be read, the reason."""
        stack = [iter(self._list_wanted_entries(()))]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
            elif isinstance(item, tuple):
                stack.append(iter(self._list_wanted_entries(item)))
            else:
                yield item

    def list_changed_files(self, files: Sequence[ListedFile]) -> list[ListedFile]:
        """List the directories of these files again, and return the files that have changed."""
        remote_files = [_require_remote_file(file) for file in files]
        current_fingerprints: set[tuple[str, str]] = set()
        for directory in {tuple(remote_file.path_parts[:-1]) for remote_file in remote_files}:
            listed_files = [item for item in self._list_wanted_entries(directory) if isinstance(item, RemoteFile)]
            current_fingerprints |= {(remote_file.location, remote_file.fingerprint) for remote_file in listed_files}
        return [
            remote_file
            for remote_file in remote_files
            if (remote_file.location, remote_file.fingerprint) not in current_fingerprints
        ]

    @contextlib.contextmanager
    def open_file(self, file: ListedFile) -> Iterator[BinaryIO]:
        """Download a file, complete and unchanged, and yield the local copy."""
        remote_file = _require_remote_file(file)
        with tempfile.SpooledTemporaryFile(max_size=_MAX_MEMORY_BYTES) as local_copy:
            with self._translate_errors(is_single_file=True):
                self._download_file(remote_file, cast(BinaryIO, local_copy))
            local_copy.seek(0)
            yield cast(BinaryIO, local_copy)

    def is_unchanged(self, file: ListedFile, stream: BinaryIO) -> bool:
        """Return True: the open file is a local copy."""
        return file.size >= 0 and not stream.closed

    def get_parent_directories(self, file: ListedFile) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        return _require_remote_file(file).path_parts[:-1]

    def move_file(self, file: ListedFile, target_directory: Sequence[str]) -> bool:
        """Move a file on the server to a directory below the folder, never over another file. Raises OSError."""
        remote_file, connection = _require_remote_file(file), self._connection
        if not self._is_unchanged_on_server(remote_file):
            return False
        target_path = self._join_path(target_directory)
        with self._translate_errors(is_single_file=True):
            connection.filesystem.makedirs(target_path, exist_ok=True)
            free_name = next(
                name
                for name in _generate_candidate_names(remote_file)
                if not connection.filesystem.exists(posixpath.join(target_path, name))
            )
            self._move_on_server(remote_file, posixpath.join(target_path, free_name))
        return True

    @property
    def _connection(self) -> FolderConnection:
        if self._cached_connection is None:
            self._cached_connection = connect_to_folder(self._settings)
        return self._cached_connection

    @property
    def _timeout_options(self) -> Mapping[str, float]:
        """The time limit for an asynchronous filesystem; the others use the limits of their connections."""
        return {"timeout": MAX_REQUEST_SECONDS} if self._connection.filesystem.async_impl else {}

    def _join_path(self, path_parts: Sequence[str]) -> str:
        return "/".join(part for part in (self._connection.root, *path_parts) if part) or self._connection.root

    def _list_wanted_entries(self, directory: tuple[str, ...]) -> list[RemoteFile | tuple[str, ...] | str]:
        """Return the selected entries of a directory: files, subdirectories as tuples of names, and reasons as text."""
        try:
            with self._translate_errors(is_single_file=bool(directory)):
                entries = self._list_directory(directory)
        except (FileChangedError, FileUnreadableError) as error:
            return [f"{self._build_location(directory)!r} cannot be read: {error}"]
        return [item for name, info in entries if (item := self._classify_entry((*directory, name), info)) is not None]

    def _list_directory(self, directory: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the entries of a directory by name, without those that claim to be in another directory."""
        path = self._join_path(directory)
        info_by_name = {}
        for info in self._fetch_listing(path):
            parent, _, name = str(info["name"]).rstrip("/").rpartition("/")
            if name not in ("", ".", "..") and parent.strip("/") == path.strip("/").removeprefix("./"):
                info_by_name[name] = info
        return sorted(info_by_name.items())

    def _fetch_listing(self, path: str) -> Iterator[Mapping[str, Any]]:
        filesystem = self._connection.filesystem
        try:
            yield from filesystem.ls(path or "/", detail=True, **self._timeout_options)
        except FileNotFoundError:
            if path != self._connection.root or self.may_list_partial_files or "/" not in path:
                raise
            filesystem.ls(path.partition("/")[0])  # an object store has no empty folders, so only the bucket must exist

    def _classify_entry(
        self, path_parts: tuple[str, ...], info: Mapping[str, Any]
    ) -> RemoteFile | tuple[str, ...] | str | None:
        name, kind = path_parts[-1], info.get("type")
        if kind == "directory":
            is_skipped = (
                is_ignored_directory(name) or path_parts == self._skipped_directory or len(path_parts) > _MAX_DEPTH
            )
            return None if is_skipped else path_parts
        if is_ignored_file(name) or not self._is_wanted(name) or self._is_excluded(name):
            return None
        if kind != "file" or parse_byte_count(info) is None:
            return f"{self._build_location(path_parts)!r} is not a regular file"
        return self._build_remote_file(path_parts, info)

    def _build_remote_file(self, path_parts: Sequence[str], info: Mapping[str, Any]) -> RemoteFile:
        tag = next((str(info[key]).strip('"') for key in _TAG_KEYS if info.get(key)), "")
        return RemoteFile(
            self._join_path(path_parts),
            path_parts,
            self._build_location(path_parts),
            parse_byte_count(info) or 0,
            parse_modified_ns(info),
            tag[:128],
        )

    def _build_location(self, path_parts: Sequence[str]) -> str:
        location = "/".join((self._connection.location, *path_parts))
        return truncate_with_hash(location.encode("utf-8", "backslashreplace").decode("utf-8"))

    def _download_file(self, remote_file: RemoteFile, local_copy: BinaryIO) -> None:
        remaining = remote_file.size
        for block in self._download_blocks(remote_file):
            remaining -= len(block)
            if remaining < 0:
                raise FileChangedError
            local_copy.write(block)
        if remaining or not self._is_unchanged_on_server(remote_file):
            raise FileChangedError

    def _download_blocks(self, remote_file: RemoteFile) -> Iterator[bytes]:
        """Yield the content; every request has its own time limit, so that a silent server cannot block a run."""
        filesystem = self._connection.filesystem
        if filesystem.async_impl:
            for start in range(0, remote_file.size, _RANGE_BYTES):
                end = min(start + _RANGE_BYTES, remote_file.size)
                yield filesystem.cat_file(remote_file.path, start=start, end=end, timeout=MAX_REQUEST_SECONDS)
        else:
            with filesystem.open(remote_file.path, "rb") as remote_stream:
                yield from iter(lambda: remote_stream.read(_BLOCK_BYTES), b"")

    def _is_unchanged_on_server(self, remote_file: RemoteFile) -> bool:
        """Return whether the server still reports the file as it was listed."""
        with self._translate_errors(is_single_file=True):
            current = self._build_remote_file(
                remote_file.path_parts, self._connection.filesystem.info(remote_file.path, **self._timeout_options)
            )
        if remote_file.tag and current.tag:  # more reliable than the time, which listings may round
            return (current.size, current.tag) == (remote_file.size, remote_file.tag)
        return (current.size, current.modified_ns) == (remote_file.size, remote_file.modified_ns)

    def _move_on_server(self, remote_file: RemoteFile, target_path: str) -> None:
        filesystem = self._connection.filesystem
        if self._connection.scheme == "sftp":
            filesystem.mv(remote_file.path, target_path)
        elif self._connection.scheme.startswith("webdav"):
            filesystem.client.move(remote_file.path, target_path, overwrite=False)
        else:  # an object store cannot move
            filesystem.cp_file(remote_file.path, target_path)
            if filesystem.info(target_path)["size"] == remote_file.size and self._is_unchanged_on_server(remote_file):
                filesystem.rm_file(remote_file.path)

    @contextlib.contextmanager
    def _translate_errors(self, is_single_file: bool = False) -> Iterator[None]:
        """Convert any error of a filesystem to our own, without its message, which may contain a credential."""
        try:
            yield
        except (InvoicesError, FileChangedError, FileUnreadableError):
            raise
        except Exception as error:  # noqa: BLE001 - every filesystem has its own errors, and none may be missed
            raise _build_folder_error(error, self._settings.name, is_single_file) from None


def _require_remote_file(file: ListedFile) -> RemoteFile:
    assert isinstance(file, RemoteFile)  # noqa: S101 - a backend is only given files from its own listing
    return file


def _build_folder_error(error: Exception, folder_name: str, is_single_file: bool) -> Exception:
    error_name = type(error).__name__
    is_file_error = (
        isinstance(error, OSError) and not isinstance(error, _CONNECTION_ERRORS)
    ) or error_name in _FILE_ERROR_NAMES
    if is_single_file and isinstance(error, FileNotFoundError):
        return FileChangedError("it has changed or no longer exists")
    if is_single_file and is_file_error:
        return FileUnreadableError(f"the server reports {error_name}")
    if error_name == "HostKeyNotVerifiable":
        return ConfigurationError(
            f"folder {folder_name!r}: the host's key is not in the file known_hosts; "
            "ask the owner of the server before you add it"
        )
    if isinstance(error, FileNotFoundError):
        return ConfigurationError(f"folder {folder_name!r}: there is no such folder on the server; check its url")
    if (
        isinstance(error, PermissionError)
        or error_name in _ACCESS_ERROR_NAMES
        or getattr(error, "status_code", None) in (401, 403)
    ):
        return ConfigurationError(
            f"folder {folder_name!r}: the server refuses access with these settings ({error_name})"
        )
    return TransientError(
        f"folder {folder_name!r}: the server cannot be reached ({error_name}); the next run tries again"
    )


def parse_byte_count(info: Mapping[str, Any]) -> int | None:
    """Return the size that a server states, or None if it states none that can be one."""
    try:
        byte_count = int(info["size"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return byte_count if 0 <= byte_count < 2**63 else None


def parse_modified_ns(info: Mapping[str, Any]) -> int:
    """Return the time of the last change that a server states, in nanoseconds; 0 if it states none that can be one."""
    modified = next((info[key] for key in _MODIFIED_KEYS if info.get(key) is not None), None)
    try:
        if isinstance(modified, str):
            modified = dt.datetime.fromisoformat(modified)
        if isinstance(modified, dt.datetime):
            modified = modified.replace(tzinfo=modified.tzinfo or dt.UTC).timestamp()
        return int(modified * 1_000_000) * 1000 if isinstance(modified, int | float) else 0
    except (ValueError, OverflowError):
        return 0


def _generate_candidate_names(remote_file: RemoteFile) -> Iterator[str]:
    """Yield the name, then names with a digest of the fingerprint."""
    stem, suffix = posixpath.splitext(remote_file.file_name)
    distinct_stem = f"{stem}-{hashlib.sha256(remote_file.fingerprint.encode()).hexdigest()[:8]}"
    numbered_names = (f"{distinct_stem}-{number}{suffix}" for number in count(2))
    return chain([remote_file.file_name, distinct_stem + suffix], numbered_names)
