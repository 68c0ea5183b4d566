"""Files that are still being written: the folder source waits for them, or a later run collects them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from sources.folder import FolderScanState
from tests.integration.sources.folder.folder_fixtures import (
    MonitoredStore,
    list_file_names,
    scan_folder,
    write_settled_file,
)


def test_a_recent_file_that_does_not_change_is_collected_after_the_wait(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "new.pdf")
    os.utime(path)
    waits: list[float] = []
    assert list_file_names(scan_folder(inbox, store, sleep=waits.append)) == ["new.pdf"]
    assert waits == [2.0]


def test_old_files_are_collected_without_a_wait(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "old.pdf")
    assert len(scan_folder(inbox, store, sleep=lambda _seconds: pytest.fail("waited"))) == 1


def test_a_growing_file_is_collected_by_a_later_run(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "half.pdf")
    os.utime(path)
    write_settled_file(inbox / "other.pdf")

    def append_to_file(_seconds: float) -> None:
        with path.open("ab") as more:
            more.write(b" and the rest")

    scan_state = FolderScanState()
    monitored_store = MonitoredStore(store)
    assert list_file_names(scan_folder(inbox, monitored_store, scan_state=scan_state, sleep=append_to_file)) == [
        "other.pdf"
    ]
    assert scan_state.changing_files == [str(path)]
    assert monitored_store.read_count == 1  # half a file is not even read
    assert list_file_names(scan_folder(inbox, store)) == ["half.pdf", "other.pdf"]


def test_a_file_from_the_future_is_collected(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "future.pdf", modified=4_000_000_000)
    assert list_file_names(scan_folder(inbox, store)) == ["future.pdf"]


def test_a_file_removed_during_the_wait_blocks_no_other(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "gone.pdf")
    os.utime(path)
    write_settled_file(inbox / "stays.pdf")
    assert list_file_names(scan_folder(inbox, store, sleep=lambda _seconds: path.unlink())) == ["stays.pdf"]
