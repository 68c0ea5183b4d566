"""SFTP over asyncssh, like fsspec's ``sshfs``, except that a file is never moved over another one."""

from __future__ import annotations

from typing import Any

import asyncssh
from fsspec.asyn import sync
from sshfs import SSHFileSystem
from sshfs.utils import wrap_exceptions

from invoices.errors import ConfigurationError


class SftpFileSystem(SSHFileSystem):  # type: ignore[misc]  # sshfs ships no types
    """A filesystem on an SFTP server; it runs no command there."""

    @wrap_exceptions  # type: ignore[untyped-decorator]  # sshfs ships no types
    async def _mv(self, lpath: str, rpath: str, **_options: Any) -> None:
        """Rename as in SFTP version 3: it fails if the new name exists (draft-ietf-secsh-filexfer-02 §6.5)."""
        async with self._pool.get() as channel:
            await channel.rename(lpath, rpath)

    @wrap_exceptions  # type: ignore[untyped-decorator]  # sshfs ships no types
    async def _cat_file(self, path: str, start: int = 0, end: int = -1, **_options: Any) -> bytes:
        """Return the bytes from ``start`` to ``end``, by default the whole file."""
        async with self._pool.get() as channel, channel.open(path, "rb") as remote_file:
            content: bytes = await remote_file.read(max(end - start, -1), start)
            return content

    def close(self) -> None:
        """Close the connection."""

        async def close_pool() -> None:
            await self._pool.close()
            await self._stack.aclose()

        sync(self.loop, close_pool, timeout=5)


def parse_private_key(text: str, passphrase: str | None, folder_name: str) -> Any:
    """Return a private key. Raises ConfigurationError if the text is not a key, or the passphrase is wrong."""
    try:
        return asyncssh.import_private_key(text + "\n", passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigurationError(
            f"folder {folder_name!r}: check the private_key and its passphrase: {type(error).__name__}"
        ) from None
