"""Selects the backend for a configured folder: a local directory, or a folder on a server."""

from __future__ import annotations

from invoices.settings.sources import FolderSettings
from sources.folder.folder_backend import FolderBackend, parse_move_target
from sources.folder.local_folder import LocalFolder
from sources.folder.remote_folder import RemoteFolder


def open_folder_backend(settings: FolderSettings) -> FolderBackend:
    """Return the backend for a folder; no connection is opened yet.

    Raises ConfigurationError if the target of ``after`` is not below the folder.
    """
    parse_move_target(settings)
    return RemoteFolder(settings) if settings.is_remote else LocalFolder(settings)
