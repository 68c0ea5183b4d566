"""The document store: documents are stored completely or not at all, once, and privately."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoices.documents.store import DocumentStore
from invoices.documents.store_batch import StoreBatch
from invoices.errors import DocumentError


class FullDiskSource(io.BytesIO):
    """A source whose second block raises, as a copy to a full disk does."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(28, "No space left on device")
        return super().read(min(4, size or 4))


def list_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_content_comes_back_under_its_hash(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "documents")
    sha256 = store.put(b"an invoice")
    assert sha256 == hashlib.sha256(b"an invoice").hexdigest()
    assert store.get_path(sha256) == tmp_path / "documents" / sha256[:2] / sha256
    assert store.read(sha256) == b"an invoice"
    assert sha256 in store


def test_a_file_and_its_bytes_are_the_same_document(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "documents")
    (tmp_path / "in.pdf").write_bytes(b"x" * 3_000_000)
    assert store.put_file(tmp_path / "in.pdf") == (store.put(b"x" * 3_000_000), 3_000_000)
    assert store.put_file(io.BytesIO(b"open")) == (hashlib.sha256(b"open").hexdigest(), 4)


def test_stored_content_is_not_written_again(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    sha256 = store.put(b"once")
    before = store.get_path(sha256).stat()
    assert store.put(b"once") == sha256
    assert store.put_file(io.BytesIO(b"once")) == (sha256, 4)
    after = store.get_path(sha256).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_stored_document_that_lost_its_end_is_replaced(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    sha256 = store.put(b"whole document")
    os.truncate(store.get_path(sha256), 3)
    with pytest.raises(DocumentError, match="was altered after it was stored"):
        store.read(sha256)
    store.put(b"whole document")
    assert store.read(sha256) == b"whole document"


def test_a_stored_document_of_which_a_byte_was_changed_is_replaced(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    for put in (store.put, lambda content: store.put_file(io.BytesIO(content))[0]):
        sha256 = put(b"119.10 EUR")
        store.get_path(sha256).write_bytes(b"999.10 EUR")
        put(b"119.10 EUR")
        assert store.read(sha256) == b"119.10 EUR"
    large = bytes(3_000_000)
    sha256 = store.put(large)
    store.get_path(sha256).write_bytes(b"x" + large[1:])
    store.put_file(io.BytesIO(large))
    assert store.read(sha256) == large


def test_a_document_that_was_never_stored_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        DocumentStore(tmp_path).read("0" * 64)
    assert caught.value.reason_code == "missing"
    assert "0" * 64 not in DocumentStore(tmp_path)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_only_a_sha256_is_a_valid_name(tmp_path: Path, name: str) -> None:
    store = DocumentStore(tmp_path)
    assert name not in store
    with pytest.raises(ValueError, match="not a SHA-256"):
        store.get_path(name)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = DocumentStore(tmp_path / "documents")
        path = store.get_path(store.put(b"private"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        store.put_file(FullDiskSource(b"12345678"))
    assert list_files(tmp_path) == []


def test_stale_temporary_files_are_deleted_after_a_day_and_not_before(tmp_path: Path) -> None:
    DocumentStore(tmp_path)
    old, young = tmp_path / "incoming" / "old", tmp_path / "incoming" / "young"
    for file in (old, young):
        file.write_bytes(b"half")
    yesterday = time.time() - 25 * 60 * 60
    os.utime(old, (yesterday, yesterday))
    DocumentStore(tmp_path)
    assert list_files(tmp_path) == [young]


def test_many_threads_storing_the_same_bytes_store_one_document(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    threads = [threading.Thread(target=store.put, args=(b"shared",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in list_files(tmp_path)] == [b"shared"]


def test_documents_are_visible_once_the_batch_is_flushed_and_not_before(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    contents = [b"document %d" % number for number in range(100)]
    with store.open_batch() as batch:
        hashes = [batch.put(content) for content in contents[:50]]
        assert not any(sha256 in store for sha256 in hashes)
        batch.flush()
        assert [store.read(sha256) for sha256 in hashes] == contents[:50]
        hashes += [batch.put_file(io.BytesIO(content))[0] for content in contents[50:]]
        assert not any(sha256 in store for sha256 in hashes[50:])
    assert [store.read(sha256) for sha256 in hashes] == contents
    assert len(list_files(tmp_path)) == 100


def test_an_aborted_batch_keeps_only_what_was_flushed(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    batch = store.open_batch()
    with pytest.raises(RuntimeError, match="aborted"), batch:
        fail_batch_after_flush(batch)
    assert [path.read_bytes() for path in list_files(tmp_path)] == [b"flushed"]
    with pytest.raises(OSError, match="the batch is closed"):
        batch.put(b"too late")


def fail_batch_after_flush(store_batch: StoreBatch) -> None:
    store_batch.put(b"flushed")
    store_batch.flush()
    for number in range(100):
        store_batch.put(b"document %d" % number)
    raise RuntimeError("aborted")


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    with store.open_batch() as first, store.open_batch() as second:
        for batch in (first, second, first):
            batch.put(b"same")
            batch.put_file(io.BytesIO(b"large" * 1_000_000))
        first.flush()
        inodes = [path.stat().st_ino for path in list_files(tmp_path) if path.parent.name != "incoming"]
    assert [path.stat().st_ino for path in list_files(tmp_path)] == inodes
    assert len(inodes) == 2


def test_a_full_disk_during_a_batch_loses_only_the_document_that_did_not_fit(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    with store.open_batch() as batch:
        sha256 = batch.put(b"fits")
        with pytest.raises(OSError, match="No space left"):
            batch.put_file(FullDiskSource(b"12345678"))
    assert list_files(tmp_path) == [store.get_path(sha256)]


@pytest.mark.parametrize("count", [1, 100])
def test_a_disk_that_fails_during_the_flush_leaves_nothing_behind(tmp_path: Path, count: int) -> None:
    store = DocumentStore(tmp_path)
    batch = store.open_batch()
    with pytest.raises(OSError, match="Invalid argument"), batch:
        put_last_document_on_broken_disk(batch, count)
    assert list_files(tmp_path) == []
    with pytest.raises(OSError, match="accepts no more documents"):
        batch.put(b"more")


def put_last_document_on_broken_disk(store_batch: StoreBatch, count: int) -> None:
    """Replace the file that was written last with a device that cannot be synced."""
    for number in range(count - 1):
        store_batch.put(b"document %d" % number)
    open_before = set(list_open_files().values())
    store_batch.put(b"the last document")
    [last_descriptor] = [
        number for number, name in list_open_files().items() if name not in open_before and "incoming" in name
    ]
    with Path("/dev/null").open("wb") as device:
        os.dup2(device.fileno(), last_descriptor, inheritable=False)


def list_open_files() -> dict[int, str]:
    path_by_descriptor = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # other threads close them
            path_by_descriptor[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return path_by_descriptor


def test_the_number_of_open_files_is_bounded(tmp_path: Path) -> None:
    with DocumentStore(tmp_path).open_batch() as batch:
        before, most = len(os.listdir("/proc/self/fd")), 0
        for number in range(2000):
            batch.put(b"document %d" % number)
            most = max(most, len(os.listdir("/proc/self/fd"))) if number % 50 == 0 else most
        assert most - before < 350
    assert len(os.listdir("/proc/self/fd")) == before


def test_threads_can_share_a_batch_and_flush_it_at_any_time(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path)
    contents = [b"document %d" % (number % 60) for number in range(120)]

    def put_and_flush(content: bytes) -> bytes:
        sha256 = batch.put(content)
        batch.flush()
        return store.read(sha256)

    with store.open_batch() as batch, ThreadPoolExecutor(4) as threads:
        assert list(threads.map(put_and_flush, contents)) == contents
    assert len(list_files(tmp_path)) == 60


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=2000))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    store = DocumentStore(tmp_path_factory.mktemp("store"))
    assert store.read(store.put(content)) == content
