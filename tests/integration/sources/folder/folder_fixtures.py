"""Folders with files that nobody writes to, a store that counts reads, and a scan of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from invoices.documents.containers import mbox_format
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.content_sniffing import detect_file_type
from invoices.documents.store import DocumentStore
from invoices.documents.store_batch import ByteSource, StoreBatch
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source

Row = dict[str, Any]
SETTLED_TIMESTAMP = 1_700_000_000  # long ago, so that the source does not wait


class MonitoredStoreBatch(StoreBatch):
    """A batch that counts the files put into it, and calls an action after reading each of them."""

    def __init__(self, root: Path, monitored_store: MonitoredStore) -> None:
        super().__init__(root)
        self.monitored_store = monitored_store

    def put_file(self, source: ByteSource) -> tuple[str, int]:
        self.monitored_store.read_count += 1
        stored = super().put_file(source)
        self.monitored_store.action_while_reading()
        return stored


class MonitoredStore:
    """A store whose batches are monitored; ``read_count`` is the number of files that were read."""

    def __init__(self, store: DocumentStore, action_while_reading: Callable[[], None] = lambda: None) -> None:
        self.root, self.action_while_reading, self.read_count = (
            store.get_path("0" * 64).parents[1],
            action_while_reading,
            0,
        )

    def open_batch(self) -> StoreBatch:
        return MonitoredStoreBatch(self.root, self)


class DisabledContainerOpener:
    """Opens no container; the tests of containers use the real one."""

    def open_container(
        self, _container: bytes | Path, _store_batch: StoreBatch, _file_name: str | None = None
    ) -> OpenedContainer:
        return OpenedContainer(reason_code="damaged_archive", reason="nothing is opened here")

    detect_file_type = staticmethod(detect_file_type)
    find_from_lines = staticmethod(mbox_format.find_from_lines)
    remove_status_fields = staticmethod(mbox_format.remove_status_fields)
    unescape_from_lines = staticmethod(mbox_format.unescape_from_lines)


def write_settled_file(path: Path, content: bytes | str = b"%PDF-1.7 one", modified: float = SETTLED_TIMESTAMP) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (modified, modified))
    return path


def scan_folder(
    inbox: Path,
    store: DocumentStore | MonitoredStore,
    known_fingerprints: Mapping[str, Collection[str]] | None = None,
    scan_state: FolderScanState | None = None,
    sleep: Callable[[float], None] = lambda _seconds: None,
    **folder_options: Any,
) -> list[Row]:
    settings = FolderSettings(name="inbox", url=str(inbox), **folder_options)
    source = build_folder_source(
        settings, store, DisabledContainerOpener(), lambda _locations: known_fingerprints or {}, scan_state, sleep
    )
    return [sighting for arrival in source for sighting in arrival["sightings"]]


def list_file_names(rows: list[Row]) -> list[str]:
    return [row["file_name"] for row in rows]


def map_known_fingerprints(rows: list[Row]) -> dict[str, set[str]]:
    return {row["location"]: {row["fingerprint"]} for row in rows}


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
