"""The document store: each distinct content once, under its SHA-256, never overwritten."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from invoices.documents.store_batch import TEMPORARY_FOLDER_NAME, StoreBatch, make_private_folder
from invoices.errors import DocumentError

_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_MAX_TEMPORARY_FILE_AGE_SECONDS = 24 * 60 * 60


class DocumentStore:
    """Documents under ``<root>/<aa>/<sha256>``: files of mode 0600 in folders of mode 0700, whatever the umask.

    A document appears whole or not at all: it is written under a temporary name in the store, synced, renamed, and the
    folder is synced. Temporary files that a killed run left behind are deleted once they are a day old.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary_folder = root / TEMPORARY_FOLDER_NAME
        make_private_folder(root)
        make_private_folder(self._temporary_folder)
        self._delete_stale_temporary_files()

    def __contains__(self, sha256: object) -> bool:
        return isinstance(sha256, str) and bool(_SHA256_PATTERN.fullmatch(sha256)) and self.get_path(sha256).is_file()

    def get_path(self, sha256: str) -> Path:
        """Return the path of a document, stored or not. Raises ValueError for anything but 64 lower-case hex digits."""
        if not _SHA256_PATTERN.fullmatch(sha256):
            raise ValueError(f"not a SHA-256: {sha256[:80]!r}")
        return self._root / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Return the document's bytes. Raises DocumentError: ``missing``, or ``altered`` since it was stored."""
        try:
            content = self.get_path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise DocumentError(f"document {sha256!r} is not in the store", reason_code="missing") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DocumentError(f"document {sha256!r} was altered after it was stored", reason_code="altered")
        return content

    def iter_hashes(self) -> Iterator[str]:
        """Yield the SHA-256 of every stored document."""
        for folder in self._root.iterdir():
            if folder != self._temporary_folder and folder.is_dir():
                yield from (file.name for file in folder.iterdir() if _SHA256_PATTERN.fullmatch(file.name))

    def delete(self, sha256: str) -> None:
        """Delete a document that nothing names; one that is not stored is no error."""
        self.get_path(sha256).unlink(missing_ok=True)

    def open_batch(self) -> StoreBatch:
        """Return a batch, which makes many documents durable together; much faster than one after another."""
        return StoreBatch(self._root)

    def put(self, content: bytes) -> str:
        """Store the bytes and return their SHA-256; content that is stored already is not written again."""
        with self.open_batch() as store_batch:
            return store_batch.put(content)

    def put_file(self, source: Path | BinaryIO) -> tuple[str, int]:
        """Store the content of a path or open binary file, read once in blocks; return its SHA-256 and length."""
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self.put_file(file)
        with self.open_batch() as store_batch:
            return store_batch.put_file(source)

    def _delete_stale_temporary_files(self) -> None:
        oldest_allowed = time.time() - _MAX_TEMPORARY_FILE_AGE_SECONDS
        for file in self._temporary_folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process deletes stale files, too
                if file.stat().st_mtime < oldest_allowed:
                    file.unlink()
