"""A folder that others write to while it is scanned: reliability F-17 to F-23."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dlt.extract.exceptions import ResourceExtractionError

from invoices.documents.store import DocumentStore
from invoices.documents.store_batch import ByteSource, StoreBatch
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source
from tests.integration.sources.folder.folder_fixtures import SETTLED_TIMESTAMP, DisabledContainerOpener, hash_content

REPLACE_FILE_SCRIPT = """
import itertools, os, sys
for number in itertools.count():
    with open(sys.argv[1] + "/.coming", "w") as coming:
        coming.write(f"version {number:09}\\n" * 5_000)
    os.replace(sys.argv[1] + "/.coming", sys.argv[1] + "/bill.txt")
    print(number, flush=True)
"""


class FullDiskStoreBatch(StoreBatch):
    """A batch on a full disk."""

    def put_file(self, source: ByteSource) -> tuple[str, int]:
        source.read(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDiskStore:
    """A store on a full disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_batch(self) -> StoreBatch:
        return FullDiskStoreBatch(self.root)


def scan_folder(
    inbox: Path,
    store: DocumentStore | FullDiskStore,
    scan_state: FolderScanState | None = None,
    sleep: Callable[[float], object] = float,
) -> list[dict[str, Any]]:
    def sleep_between(seconds: float) -> None:
        sleep(seconds)

    settings = FolderSettings(name="inbox", url=str(inbox))
    source = build_folder_source(settings, store, DisabledContainerOpener(), scan_state=scan_state, sleep=sleep_between)
    return [sighting for arrival in source for sighting in arrival["sightings"]]


def append_bytes(path: Path, content: bytes, modified: float | None = None) -> None:
    with path.open("ab") as file:
        file.write(content)
    if modified is not None:
        os.utime(path, (modified, modified))


def list_document_hashes(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["document_sha256"] for row in rows]


def test_after_a_long_pause_of_the_writer_the_whole_file_is_collected(inbox: Path, store: DocumentStore) -> None:
    append_bytes(inbox / "slow.pdf", b"first half, ")
    # The writer pauses for longer than the source waits, so the first half is collected too.
    assert list_document_hashes(scan_folder(inbox, store)) == [hash_content(b"first half, ")]
    append_bytes(inbox / "slow.pdf", b"second half")
    assert list_document_hashes(scan_folder(inbox, store)) == [hash_content(b"first half, second half")]


@pytest.mark.parametrize("hours", [-14, -1, 0, 1, 14])
def test_a_clock_that_is_hours_off_does_not_hide_a_writer(inbox: Path, store: DocumentStore, hours: int) -> None:
    server_time = time.time() + hours * 3600  # the time on the share
    append_bytes(inbox / "half.pdf", b"half", server_time)
    scan_state = FolderScanState()
    assert (
        scan_folder(
            inbox, store, scan_state, lambda _seconds: append_bytes(inbox / "half.pdf", b" and half", server_time + 1)
        )
        == []
    )
    assert scan_state.changing_files == [str(inbox / "half.pdf")]


def test_there_is_one_wait_for_all_recent_files(inbox: Path, store: DocumentStore) -> None:
    for number in range(20):
        append_bytes(inbox / f"{number}.pdf", b"%d" % number)
    waits: list[float] = []
    assert len(scan_folder(inbox, store, sleep=waits.append)) == 20
    assert waits == [2.0]


def test_only_whole_versions_of_a_constantly_replaced_file_are_collected(inbox: Path, store: DocumentStore) -> None:
    collected_hashes: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", REPLACE_FILE_SCRIPT, inbox], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"
        for _ in range(60):
            collected_hashes += list_document_hashes(scan_folder(inbox, store))
        writer.terminate()
        versions = len(writer.stdout.readlines())
    collected_hashes += list_document_hashes(scan_folder(inbox, store))
    contents = [store.read(sha256).splitlines() for sha256 in collected_hashes]
    assert versions > 1
    assert collected_hashes
    assert all(len(lines) == 5_000 and len(set(lines)) == 1 for lines in contents)


def test_a_file_deleted_while_it_is_read_is_not_collected(inbox: Path, tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        append_bytes(inbox / name, name.encode(), SETTLED_TIMESTAMP)

    class DeletingStoreBatch(StoreBatch):
        def put_file(self, source: ByteSource) -> tuple[str, int]:
            (inbox / "a.pdf").unlink(missing_ok=True)
            return super().put_file(source)

    class DeletingStore(FullDiskStore):
        def open_batch(self) -> StoreBatch:
            return DeletingStoreBatch(self.root)

    DocumentStore(tmp_path / "documents")
    scan_state = FolderScanState()
    assert list_document_hashes(scan_folder(inbox, DeletingStore(tmp_path / "documents"), scan_state)) == [
        hash_content(b"b.pdf")
    ]
    assert scan_state.changing_files == [str(inbox / "a.pdf")]


def test_a_link_to_the_same_file_is_another_sighting_of_one_document(inbox: Path, store: DocumentStore) -> None:
    append_bytes(inbox / "a.pdf", b"one", SETTLED_TIMESTAMP)
    os.link(inbox / "a.pdf", inbox / "b.pdf")
    rows = scan_folder(inbox, store)
    assert list_document_hashes(rows) == [hash_content(b"one"), hash_content(b"one")]
    assert len({row["sighting_id"] for row in rows}) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_a_device_is_never_opened(inbox: Path, store: DocumentStore) -> None:
    try:
        os.mknod(inbox / "zero.pdf", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this system lets nobody make devices")
    scan_state = FolderScanState()
    assert scan_folder(inbox, store, scan_state) == []
    assert "is not a regular file" in scan_state.unreadable_files[0]


def test_on_a_full_disk_nothing_is_collected_and_no_file_is_blamed(
    inbox: Path, store: DocumentStore, tmp_path: Path
) -> None:
    append_bytes(inbox / "a.pdf", b"one", SETTLED_TIMESTAMP)
    scan_state = FolderScanState()
    with pytest.raises(ResourceExtractionError) as error_info:
        scan_folder(inbox, FullDiskStore(tmp_path / "documents"), scan_state)
    assert isinstance(error_info.value.__cause__, OSError)
    assert scan_state == FolderScanState()
    assert list_document_hashes(scan_folder(inbox, store)) == [hash_content(b"one")]


def test_threads_that_store_the_same_bytes_at_once_create_one_document(tmp_path: Path, store: DocumentStore) -> None:
    inboxes = [tmp_path / f"inbox{number}" for number in range(4)]
    for folder in inboxes:
        folder.mkdir()
        for number in range(50):
            append_bytes(folder / f"{number}.pdf", b"%d" % number, SETTLED_TIMESTAMP)
    with ThreadPoolExecutor(4) as threads:
        scans = list(threads.map(lambda folder: scan_folder(folder, store), inboxes))
    assert [len(rows) for rows in scans] == [50] * 4
    assert len({sha256 for rows in scans for sha256 in list_document_hashes(rows)}) == 50
    assert all(store.read(sha256) for sha256 in list_document_hashes(scans[0]))
