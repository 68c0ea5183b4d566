"""A folder behind a server, through fsspec: listed, copied here to be taken, and moved there."""

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
from invoices.settings.intake import Folder
from sources.arriving import bounded
from sources.folder.connections import Connection, connect
from sources.folder.listing import is_leftover_directory, is_leftover_file, matching
from sources.folder.places import Changed, Found, Unreadable, moving_to

LONGEST_SECONDS = 300.0  # for one answer: a listing of one directory, or 8 MB of a file
_BLOCK = 1 << 20
_RANGE = 8 << 20
_IN_MEMORY = 8 << 20  # of a file on its way; a larger one goes to a temporary file without a name
_DEEPEST = 100
_LONGEST_FINGERPRINT = 80  # characters, as the ledger keeps it
_WHOLE = ("s3", "gs", "az")  # stores that show an object only once all of it is there
_TAGS = ("ETag", "etag", "generation", "md5Hash", "version_id", "VersionId")
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated")
_LOST = (ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """A file as a listing of the server shows it."""

    path: str  # in the filesystem
    names: Sequence[str]  # below the folder: directories, and the file's own
    location: str
    size: int
    modified_ns: int
    tag: str

    @property
    def fingerprint(self) -> str:
        """What stays the same as long as nobody writes to it, as far as the server tells."""
        return bounded(f"{self.size}-{self.modified_ns}-{self.tag}", _LONGEST_FINGERPRINT)

    @property
    def file_name(self) -> str:
        """The name without the folders."""
        return self.names[-1]


class RemoteFolder:
    """A folder behind a server; names from there are never names here."""

    def __init__(self, settings: Folder) -> None:
        self._settings = settings
        self._is_wanted, self._is_excluded = matching(settings.pattern), matching(settings.exclude)
        self._skipped = tuple(moving_to(settings)[:1])
        self._connected: Connection | None = None

    @property
    def may_grow(self) -> bool:
        """Whether the server shows files that are not there as a whole yet."""
        return not self._settings.url.startswith(_WHOLE)

    def check(self) -> None:
        """Raise ConfigurationError, or TransientError, unless the folder can be listed."""
        try:
            with self._told():
                self._listed(())
        except InvoicesError:
            self.close()
            raise

    def close(self) -> None:
        """Leave no connection; the next question makes a new one."""
        connected, self._connected = self._connected, None
        if connected is not None:
            with contextlib.suppress(Exception):  # it may be broken already
                connected.close()

    def files(self) -> Iterator[RemoteEntry | str]:
        """Yield the files that are wanted, sorted by name in each directory."""
        stack = [iter(self._look_in(()))]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
            elif isinstance(item, tuple):
                stack.append(iter(self._look_in(item)))
            else:
                yield item

    def changed(self, found: Sequence[Found]) -> list[Found]:
        """List again where these files are, and return those that are not as they were."""
        entries = [_entry(each) for each in found]
        now: set[tuple[str, str]] = set()
        for directory in {tuple(entry.names[:-1]) for entry in entries}:
            listed = [item for item in self._look_in(directory) if isinstance(item, RemoteEntry)]
            now |= {(entry.location, entry.fingerprint) for entry in listed}
        return [entry for entry in entries if (entry.location, entry.fingerprint) not in now]

    @contextlib.contextmanager
    def opened(self, found: Found) -> Iterator[BinaryIO]:
        """Bring a file here, whole and unchanged, and give it."""
        entry = _entry(found)
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as here:
            with self._told(is_one_file=True):
                self._bring(entry, cast(BinaryIO, here))
            here.seek(0)
            yield cast(BinaryIO, here)

    def is_unchanged(self, found: Found, opened: BinaryIO) -> bool:
        """Return True: what was opened is a copy."""
        return found.size >= 0 and not opened.closed

    def directories(self, found: Found) -> Sequence[str]:
        """Return the names of the directories between the folder and the file."""
        return _entry(found).names[:-1]

    def move(self, found: Found, target: Sequence[str]) -> bool:
        """Move a file on the server to a directory of the folder, never over another file. Raises OSError."""
        entry, at = _entry(found), self._at
        if not self._is_same(entry):
            return False
        directory = self._path(target)
        with self._told(is_one_file=True):
            at.filesystem.makedirs(directory, exist_ok=True)
            free = next(name for name in _names(entry) if not at.filesystem.exists(posixpath.join(directory, name)))
            self._move(entry, posixpath.join(directory, free))
        return True

    @property
    def _at(self) -> Connection:
        if self._connected is None:
            self._connected = connect(self._settings)
        return self._connected

    @property
    def _patience(self) -> Mapping[str, float]:
        """How long an asynchronous filesystem is waited for; the others have the limits of their connections."""
        return {"timeout": LONGEST_SECONDS} if self._at.filesystem.async_impl else {}

    def _path(self, names: Sequence[str]) -> str:
        return "/".join(part for part in (self._at.root, *names) if part) or self._at.root

    def _look_in(self, directory: tuple[str, ...]) -> list[RemoteEntry | tuple[str, ...] | str]:
        """Return what is wanted in a directory: files, directories as the names that lead there, and reasons."""
        try:
            with self._told(is_one_file=bool(directory)):
                listed = self._listed(directory)
        except (Changed, Unreadable) as error:
            return [f"{self._location(directory)!r} cannot be read: {error}"]
        return [item for name, info in listed if (item := self._item((*directory, name), info)) is not None]

    def _listed(self, directory: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what a directory shows, by name; what claims to be elsewhere is not believed."""
        path = self._path(directory)
        found = {}
        for info in self._ls(path):
            above, _, name = str(info["name"]).rstrip("/").rpartition("/")
            if name not in ("", ".", "..") and above.strip("/") == path.strip("/").removeprefix("./"):
                found[name] = info
        return sorted(found.items())

    def _ls(self, path: str) -> Iterator[Mapping[str, Any]]:
        filesystem = self._at.filesystem
        try:
            yield from filesystem.ls(path or "/", detail=True, **self._patience)
        except FileNotFoundError:
            if path != self._at.root or self.may_grow or "/" not in path:
                raise
            filesystem.ls(path.partition("/")[0])  # a store of objects has no empty folders, but buckets

    def _item(self, names: tuple[str, ...], info: Mapping[str, Any]) -> RemoteEntry | tuple[str, ...] | str | None:
        name, kind = names[-1], info.get("type")
        if kind == "directory":
            is_ours = is_leftover_directory(name) or names == self._skipped or len(names) > _DEEPEST
            return None if is_ours else names
        if is_leftover_file(name) or not self._is_wanted(name) or self._is_excluded(name):
            return None
        if kind != "file" or info.get("size") is None:
            return f"{self._location(names)!r} is not a regular file"
        return self._entry_of(names, info)

    def _entry_of(self, names: Sequence[str], info: Mapping[str, Any]) -> RemoteEntry:
        tag = next((str(info[key]).strip('"') for key in _TAGS if info.get(key)), "")
        return RemoteEntry(
            self._path(names), names, self._location(names), int(info["size"]), _modified_ns(info), tag[:128]
        )

    def _location(self, names: Sequence[str]) -> str:
        told = "/".join((self._at.location, *names))
        return bounded(told.encode("utf-8", "backslashreplace").decode("utf-8"))

    def _bring(self, entry: RemoteEntry, here: BinaryIO) -> None:
        left = entry.size
        for block in self._blocks(entry):
            left -= len(block)
            if left < 0:
                raise Changed
            here.write(block)
        if left or not self._is_same(entry):
            raise Changed

    def _blocks(self, entry: RemoteEntry) -> Iterator[bytes]:
        """Yield the content; each question has its own end of patience, so that a silent server holds nobody up."""
        filesystem = self._at.filesystem
        if filesystem.async_impl:
            for start in range(0, entry.size, _RANGE):
                end = min(start + _RANGE, entry.size)
                yield filesystem.cat_file(entry.path, start=start, end=end, timeout=LONGEST_SECONDS)
        else:
            with filesystem.open(entry.path, "rb") as there:
                yield from iter(lambda: there.read(_BLOCK), b"")

    def _is_same(self, entry: RemoteEntry) -> bool:
        """Return whether the server still shows the file as it was listed."""
        with self._told(is_one_file=True):
            now = self._entry_of(entry.names, self._at.filesystem.info(entry.path, **self._patience))
        if entry.tag and now.tag:  # where there is one, it tells more than the time, which listings may round
            return (now.size, now.tag) == (entry.size, entry.tag)
        return (now.size, now.modified_ns) == (entry.size, entry.modified_ns)

    def _move(self, entry: RemoteEntry, target: str) -> None:
        filesystem = self._at.filesystem
        if self._at.scheme == "sftp":
            filesystem.mv(entry.path, target)
        elif self._at.scheme.startswith("webdav"):
            filesystem.client.move(entry.path, target, overwrite=False)
        else:  # there is no moving in an object store
            filesystem.cp_file(entry.path, target)
            if filesystem.info(target)["size"] == entry.size and self._is_same(entry):
                filesystem.rm_file(entry.path)

    @contextlib.contextmanager
    def _told(self, is_one_file: bool = False) -> Iterator[None]:
        """Turn whatever a filesystem raises into our errors, without its words: they may hold a credential."""
        try:
            yield
        except (InvoicesError, Changed, Unreadable):
            raise
        except Exception as error:  # noqa: BLE001 - each filesystem has its own errors, and none is to be missed
            raise _ours(error, self._settings.name, is_one_file) from None


def _entry(found: Found) -> RemoteEntry:
    assert isinstance(found, RemoteEntry)  # noqa: S101 - a listing's own entries come back to it
    return found


def _ours(error: Exception, name: str, is_one_file: bool) -> Exception:
    kind = type(error).__name__
    is_about_the_file = (isinstance(error, OSError) and not isinstance(error, _LOST)) or kind in _OF_ONE_FILE
    if is_one_file and isinstance(error, FileNotFoundError):
        return Changed()
    if is_one_file and is_about_the_file:
        return Unreadable(f"the server says {kind}")
    if kind == "HostKeyNotVerifiable":
        return ConfigurationError(f"folder {name!r}: the host's key is not among the known hosts")
    if isinstance(error, FileNotFoundError):
        return ConfigurationError(f"folder {name!r}: there is no such folder on the server")
    if isinstance(error, PermissionError) or kind in _REFUSED or getattr(error, "status_code", None) in (401, 403):
        return ConfigurationError(f"folder {name!r}: the server lets nobody in with these settings ({kind})")
    return TransientError(f"folder {name!r}: the server cannot be reached ({kind})")


_OF_ONE_FILE = ("SFTPPermissionDenied", "SFTPFailure", "SFTPNoSuchPath", "SFTPInvalidFilename", "ForbiddenOperation")
_REFUSED = (
    "PermissionDenied",
    "SFTPPermissionDenied",
    "NoCredentialsError",
    "ClientAuthenticationError",
    "InvalidAccessKeyId",
)


def _modified_ns(info: Mapping[str, Any]) -> int:
    stated = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    with contextlib.suppress(ValueError):
        if isinstance(stated, str):
            stated = dt.datetime.fromisoformat(stated)
    if isinstance(stated, dt.datetime):
        stated = stated.replace(tzinfo=stated.tzinfo or dt.UTC).timestamp()
    return int(stated * 1_000_000) * 1000 if isinstance(stated, int | float) else 0


def _names(entry: RemoteEntry) -> Iterator[str]:
    """Yield the name, then names that differ with what is in it."""
    stem, suffix = posixpath.splitext(entry.file_name)
    distinct = f"{stem}-{hashlib.sha256(entry.fingerprint.encode()).hexdigest()[:8]}"
    numbered = (f"{distinct}-{number}{suffix}" for number in count(2))
    return chain([entry.file_name, distinct + suffix], numbered)
