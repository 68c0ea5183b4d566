"""The document store: every distinct sequence of bytes once, under its SHA-256, never overwritten."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from pathlib import Path
from typing import BinaryIO

from invoices.documents.landing import INCOMING, Landing, make_private
from invoices.errors import DocumentError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_STALE_SECONDS = 24 * 60 * 60


class DocumentStore:
    """Documents under ``<root>/<aa>/<sha256>``: files of mode 0600 in folders of mode 0700, whatever the umask.

    A document appears whole or not at all: it is written under a temporary name in the store, synced, renamed, and the
    folder is synced. Temporary files that a killed run left behind go once they are a day old.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / INCOMING
        make_private(root)
        make_private(self._incoming)
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

    def landing(self) -> Landing:
        """Return what many documents are put into to be made durable together, much faster than one after another."""
        return Landing(self._root)

    def put(self, content: bytes) -> str:
        """Keep the bytes and return their SHA-256; what is there already is not written again."""
        with self.landing() as landing:
            return landing.put(content)

    def put_file(self, source: Path | BinaryIO) -> tuple[str, int]:
        """Keep the content of a path or open binary file, read once in blocks; return its SHA-256 and length."""
        if isinstance(source, Path):
            with source.open("rb") as opened:
                return self.put_file(opened)
        with self.landing() as landing:
            return landing.put_file(source)

    def _drop_stale(self) -> None:
        oldest = time.time() - _STALE_SECONDS
        for left in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process cleans too
                if left.stat().st_mtime < oldest:
                    left.unlink()
