"""The folder source: every document below a directory, here or behind a server, taken once it has stopped growing."""

from sources.folder.moving import move_taken
from sources.folder.source import Seen, folder

__all__ = ["Seen", "folder", "move_taken"]
