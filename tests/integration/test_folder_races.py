"""A folder that others write to while it is looked through: reliability F-17 to F-23."""

from __future__ import annotations

import errno
import hashlib
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

from invoices.documents.landing import Landing, Source
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.parts import Unwrapped
from invoices.settings.intake import Folder
from sources.folder import Seen, folder

OLD = 1_700_000_000
REPLACING = """
import itertools, os, sys
for number in itertools.count():
    with open(sys.argv[1] + "/.coming", "w") as coming:
        coming.write(f"version {number:09}\\n" * 5_000)
    os.replace(sys.argv[1] + "/.coming", sys.argv[1] + "/bill.txt")
    print(number, flush=True)
"""


class Closed:
    """Opens no container."""

    def unwrap(self, _container: bytes | Path, _landing: Landing, _file_name: str | None = None) -> Unwrapped:
        return Unwrapped(reason_code="damaged_archive")


class Full(Landing):
    """A landing on a disk that is full."""

    def put_file(self, source: Source) -> tuple[str, int]:
        source.read(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullStore:
    """A store on a disk that is full."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def landing(self) -> Landing:
        return Full(self.root)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    """An empty store."""
    return DocumentStore(tmp_path / "documents")


def look(
    inbox: Path, store: DocumentStore | FullStore, seen: Seen | None = None, sleep: Callable[[float], object] = float
) -> list[dict[str, Any]]:
    def waiting(seconds: float) -> None:
        sleep(seconds)

    settings = Folder(name="inbox", url=str(inbox))
    source = folder(settings, store, Closed(), seen=seen, sleep=waiting)
    return [sighting for arrival in source for sighting in arrival["sightings"]]


def append(place: Path, content: bytes, modified: float | None = None) -> None:
    with place.open("ab") as file:
        file.write(content)
    if modified is not None:
        os.utime(place, (modified, modified))


def hashes(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["document_sha256"] for row in rows]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_writer_that_pauses_for_long_ends_in_the_whole_file(inbox: Path, store: DocumentStore) -> None:
    append(inbox / "slow.pdf", b"first half, ")
    assert hashes(look(inbox, store)) == [sha(b"first half, ")]  # it paused longer than we wait
    append(inbox / "slow.pdf", b"second half")
    assert hashes(look(inbox, store)) == [sha(b"first half, second half")]


@pytest.mark.parametrize("hours", [-14, -1, 0, 1, 14])
def test_a_clock_that_is_hours_off_hides_no_writer(inbox: Path, store: DocumentStore, hours: int) -> None:
    there = time.time() + hours * 3600  # what time it is on the share
    append(inbox / "half.pdf", b"half", there)
    seen = Seen()
    assert look(inbox, store, seen, lambda _seconds: append(inbox / "half.pdf", b" and half", there + 1)) == []
    assert seen.growing == [str(inbox / "half.pdf")]


def test_all_young_files_are_waited_for_together(inbox: Path, store: DocumentStore) -> None:
    for number in range(20):
        append(inbox / f"{number}.pdf", b"%d" % number)
    waits: list[float] = []
    assert len(look(inbox, store, sleep=waits.append)) == 20
    assert waits == [2.0]


def test_only_whole_versions_of_a_file_that_is_replaced_all_the_time_are_taken(
    inbox: Path, store: DocumentStore
) -> None:
    taken: list[str] = []
    with subprocess.Popen([sys.executable, "-c", REPLACING, inbox], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"
        for _ in range(60):
            taken += hashes(look(inbox, store))
        writer.terminate()
        versions = len(writer.stdout.readlines())
    taken += hashes(look(inbox, store))
    contents = [store.read(sha256).splitlines() for sha256 in taken]
    assert versions > 1
    assert taken
    assert all(len(lines) == 5_000 and len(set(lines)) == 1 for lines in contents)


def test_a_file_deleted_while_it_is_read_is_no_document(inbox: Path, tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        append(inbox / name, name.encode(), OLD)

    class Deleting(Landing):
        def put_file(self, source: Source) -> tuple[str, int]:
            (inbox / "a.pdf").unlink(missing_ok=True)
            return super().put_file(source)

    class Store(FullStore):
        def landing(self) -> Landing:
            return Deleting(self.root)

    DocumentStore(tmp_path / "documents")
    seen = Seen()
    assert hashes(look(inbox, Store(tmp_path / "documents"), seen)) == [sha(b"b.pdf")]
    assert seen.growing == [str(inbox / "a.pdf")]


def test_a_link_to_the_same_file_is_another_sighting_of_one_document(inbox: Path, store: DocumentStore) -> None:
    append(inbox / "a.pdf", b"one", OLD)
    os.link(inbox / "a.pdf", inbox / "b.pdf")
    rows = look(inbox, store)
    assert hashes(rows) == [sha(b"one"), sha(b"one")]
    assert len({row["sighting_id"] for row in rows}) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_a_device_is_never_opened(inbox: Path, store: DocumentStore) -> None:
    try:
        os.mknod(inbox / "zero.pdf", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this system lets nobody make devices")
    seen = Seen()
    assert look(inbox, store, seen) == []
    assert "is not a regular file" in seen.unreadable[0]


def test_a_full_disk_takes_nothing_and_blames_no_file(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
    append(inbox / "a.pdf", b"one", OLD)
    seen = Seen()
    with pytest.raises(ResourceExtractionError) as told:
        look(inbox, FullStore(tmp_path / "documents"), seen)
    assert isinstance(told.value.__cause__, OSError)
    assert seen == Seen()
    assert hashes(look(inbox, store)) == [sha(b"one")]


def test_workers_that_land_the_same_bytes_at_once_have_one_document(tmp_path: Path, store: DocumentStore) -> None:
    inboxes = [tmp_path / f"inbox{number}" for number in range(4)]
    for each in inboxes:
        each.mkdir()
        for number in range(50):
            append(each / f"{number}.pdf", b"%d" % number, OLD)
    with ThreadPoolExecutor(4) as threads:
        looks = list(threads.map(lambda each: look(each, store), inboxes))
    assert [len(rows) for rows in looks] == [50] * 4
    assert len({sha256 for rows in looks for sha256 in hashes(rows)}) == 50
    assert all(store.read(sha256) for sha256 in hashes(looks[0]))
