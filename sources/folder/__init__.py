"""The folder source: every document below a directory, taken once it has stopped growing."""

from sources.folder.source import Seen, folder

__all__ = ["Seen", "folder"]
