"""The document store: every distinct sequence of bytes once, under its SHA-256, never overwritten."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from invoices.errors import DocumentError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = "incoming"
_STALE_SECONDS = 24 * 60 * 60
_BLOCK = 1 << 20


class DocumentStore:
    """Documents under ``<root>/<aa>/<sha256>``: files of mode 0600 in folders of mode 0700, whatever the umask.

    A document appears whole or not at all: it is written under a temporary name in the store, synced, renamed, and the
    folder is synced. Temporary files that a killed run left behind go once they are a day old.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / _TEMPORARY
        _make_private(root)
        _make_private(self._incoming)
        self._drop_stale()

    def __contains__(self, sha256: object) -> bool:
        return isinstance(sha256, str) and bool(_DIGEST.fullmatch(sha256)) and self.path(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Return where the document is, or would be. Raises ValueError for anything but 64 lower-case hex digits."""
        if not _DIGEST.fullmatch(sha256):
            raise ValueError(f"not a SHA-256: {sha256[:80]!r}")
        return self._root / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Return the document's bytes. Raises DocumentError: ``missing``, or ``altered`` since it was stored."""
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise DocumentError(f"document {sha256!r} is not in the store", reason_code="missing") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DocumentError(f"document {sha256!r} is not what was stored", reason_code="altered")
        return content

    def put(self, content: bytes) -> str:
        """Keep the bytes and return their SHA-256; what is there already is not written again."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not self._has(sha256, len(content)):
            with self._temporary() as (file, name):
                file.write(content)
                self._commit(file, name, sha256)
        return sha256

    def put_file(self, source: Path | BinaryIO) -> tuple[str, int]:
        """Keep the content of a path or open binary file, read once in blocks; return its SHA-256 and length."""
        if isinstance(source, Path):
            with source.open("rb") as opened:
                return self.put_file(opened)
        digest, length = hashlib.sha256(), 0
        with self._temporary() as (file, name):
            while block := source.read(_BLOCK):
                digest.update(block)
                length += len(block)
                file.write(block)
            sha256 = digest.hexdigest()
            if not self._has(sha256, length):
                self._commit(file, name, sha256)
        return sha256, length

    def _has(self, sha256: str, length: int) -> bool:
        """Return whether the whole document is there; a shorter file is what a failing disk left and is replaced."""
        try:
            return self.path(sha256).stat().st_size == length
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[BinaryIO, Path]]:
        """Give an open file that is gone at the end unless it was committed: a full disk leaves nothing behind."""
        name = self._incoming / secrets.token_hex(16)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                yield file, name
        finally:
            name.unlink(missing_ok=True)

    def _commit(self, file: BinaryIO, name: Path, sha256: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        target = self.path(sha256)
        if not target.parent.is_dir():
            _make_private(target.parent)
            _sync_folder(self._root)
        name.rename(target)
        _sync_folder(target.parent)

    def _drop_stale(self) -> None:
        oldest = time.time() - _STALE_SECONDS
        for left in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process cleans too
                if left.stat().st_mtime < oldest:
                    left.unlink()


def _make_private(folder: Path) -> None:
    """Create the folder with mode 0700, or tighten it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
