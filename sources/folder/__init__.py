"""The folder source: every document below a directory, local or on a server, once nobody writes to it any more."""

from sources.folder.post_actions import move_recorded_files
from sources.folder.source import FolderScanState, build_folder_source

__all__ = ["FolderScanState", "build_folder_source", "move_recorded_files"]
