"""The folder source: every document below a directory, here or behind a server, taken once it has stopped growing."""

from sources.folder.file_move import move_recorded_files
from sources.folder.source import FolderScanState, build_folder_source

__all__ = ["FolderScanState", "build_folder_source", "move_recorded_files"]
