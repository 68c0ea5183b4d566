"""SFTP over asyncssh: as fsspec's ``sshfs`` does it, but a file is never moved over another one."""

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
        """Rename as SFTP version 3 does: it fails where the new name is taken (draft-ietf-secsh-filexfer-02 §6.5)."""
        async with self._pool.get() as channel:
            await channel.rename(lpath, rpath)

    @wrap_exceptions  # type: ignore[untyped-decorator]  # sshfs ships no types
    async def _cat_file(self, path: str, start: int = 0, end: int = -1, **_options: Any) -> bytes:
        """Read from one place to another; the whole file unless it is said which."""
        async with self._pool.get() as channel, channel.open(path, "rb") as remote_file:
            content: bytes = await remote_file.read(max(end - start, -1), start)
            return content

    def close(self) -> None:
        """End the connection."""
        sync(self.loop, self._close_pool, timeout=5)

    async def _close_pool(self) -> None:
        await self._pool.close()
        await self._stack.aclose()


def parse_private_key(text: str, passphrase: str | None, folder_name: str) -> Any:
    """Return a private key. Raises ConfigurationError where the text is none, or the passphrase does not fit."""
    try:
        return asyncssh.import_private_key(text + "\n", passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigurationError(f"folder {folder_name!r}: private_key: {type(error).__name__}") from None
