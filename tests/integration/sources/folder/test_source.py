"""The folder source over real directories: what is taken, what is left, and that nothing outside is ever opened."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.store import DocumentStore
from invoices.documents.store_batch import ByteSource, StoreBatch
from invoices.errors import ConfigurationError
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source
from sources.folder.fetch import build_file_origin
from sources.folder.local_folder import LocalFolder

Row = dict[str, Any]
SETTLED_TIMESTAMP = 1_700_000_000  # a time of change long past


class MonitoredStoreBatch(StoreBatch):
    """A landing that notes each file it is given, and may do something to the folder while it reads."""

    def __init__(self, root: Path, monitored_store: MonitoredStore) -> None:
        super().__init__(root)
        self.monitored_store = monitored_store

    def put_file(self, source: ByteSource) -> tuple[str, int]:
        self.monitored_store.read_count += 1
        stored = super().put_file(source)
        self.monitored_store.action_while_reading()
        return stored


class MonitoredStore:
    """A store with such landings."""

    def __init__(self, store: DocumentStore, action_while_reading: Callable[[], None] = lambda: None) -> None:
        self.root, self.action_while_reading, self.read_count = (
            store.get_path("0" * 64).parents[1],
            action_while_reading,
            0,
        )

    def open_batch(self) -> StoreBatch:
        return MonitoredStoreBatch(self.root, self)


class DisabledContainerOpener:
    """Opens no container; the tests of containers have the real thing."""

    def open_container(
        self, _container: bytes | Path, _store_batch: StoreBatch, _file_name: str | None = None
    ) -> OpenedContainer:
        return OpenedContainer(reason_code="damaged_archive", reason="nothing is opened here")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    """An empty store."""
    return DocumentStore(tmp_path / "documents")


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


def test_every_file_below_the_folder_is_taken_in_sorted_order(inbox: Path, store: DocumentStore) -> None:
    for name in ("b/2.pdf", "b/1.pdf", "a.pdf", "b/deep/er/3.xml", "c.png", "B.pdf"):
        write_settled_file(inbox / name, f"content of {name}")
    actual = [Path(row["location"]).relative_to(inbox).as_posix() for row in scan_folder(inbox, store)]
    assert actual == ["B.pdf", "a.pdf", "b/1.pdf", "b/2.pdf", "b/deep/er/3.xml", "c.png"]


def test_a_sighting_tells_what_and_where_and_the_bytes_are_kept_before(inbox: Path, store: DocumentStore) -> None:
    content = b"%PDF-1.7 hello"
    path = write_settled_file(inbox / "bill.pdf", content)
    (row,) = scan_folder(inbox, store)
    assert store.read(hash_content(content)) == content
    assert row | {"sighting_id": "", "fingerprint": ""} == {
        "sighting_id": "", "document_sha256": hash_content(content), "media_type": "application/pdf", "byte_count": len(content),
        "source_name": "inbox", "source_kind": "folder", "location": str(path), "file_name": "bill.pdf",
        "fingerprint": "", "sender": None, "subject": None, "message_id": None, "received_at": None,
        "message_key": None, "section": None, "declared_type": None, "original_sender": None, "entity": None,
        "cost_centre": None, "settled": None, "flags": [],
    }  # fmt: skip
    assert scan_folder(inbox, store) == [row]
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store", ".hidden.pdf", "Thumbs.db", "THUMBS.DB", "desktop.ini", "~$bill.docx", "bill.pdf~", "#bill.pdf#",
        "bill.pdf.part", "bill.PDF.crdownload", "upload.tmp", "x.swp", "bill.lnk", ".git/config", "__MACOSX/bill.pdf",
        "@eaDir/bill.pdf", "$RECYCLE.BIN/bill.pdf", "#recycle/bill.pdf", "System Volume Information/x.pdf",
    ],
)  # fmt: skip
def test_what_systems_and_editors_leave_behind_is_not_a_document(inbox: Path, store: DocumentStore, name: str) -> None:
    write_settled_file(inbox / name)
    write_settled_file(inbox / "real.pdf")
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    assert scan_state.unreadable_files == []


def test_a_young_file_that_stays_as_it_is_is_taken_after_the_wait(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "new.pdf")
    os.utime(path)
    waits: list[float] = []
    assert list_file_names(scan_folder(inbox, store, sleep=waits.append)) == ["new.pdf"]
    assert waits == [2.0]


def test_old_files_are_taken_without_a_wait(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "old.pdf")
    assert len(scan_folder(inbox, store, sleep=lambda _seconds: pytest.fail("waited"))) == 1


def test_a_file_that_is_still_growing_is_left_for_the_next_run(inbox: Path, store: DocumentStore) -> None:
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


def test_a_file_from_the_future_is_taken_all_the_same(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "future.pdf", modified=4_000_000_000)
    assert list_file_names(scan_folder(inbox, store)) == ["future.pdf"]


def test_a_file_that_goes_while_we_wait_harms_nobody(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "gone.pdf")
    os.utime(path)
    write_settled_file(inbox / "stays.pdf")
    assert list_file_names(scan_folder(inbox, store, sleep=lambda _seconds: path.unlink())) == ["stays.pdf"]


def test_nothing_outside_of_the_folder_is_followed(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
    write_settled_file(tmp_path / "outside" / "secret.pdf")
    (inbox / "link.pdf").symlink_to(tmp_path / "outside" / "secret.pdf")
    (inbox / "folder").symlink_to(tmp_path / "outside")
    (inbox / "dangling.pdf").symlink_to(tmp_path / "nowhere")
    (inbox / "circle").symlink_to(inbox)
    write_settled_file(inbox / "real.pdf", "real")
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    assert len(scan_state.unreadable_files) == 4
    assert all("is not a regular file" in reason for reason in scan_state.unreadable_files)
    assert hash_content(b"%PDF-1.7 one") not in store


def test_a_pipe_and_a_socket_block_nobody(inbox: Path, store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(inbox / "pipe.pdf")
    write_settled_file(inbox / "real.pdf")
    monkeypatch.chdir(inbox)  # a socket's path has to be short
    scan_state = FolderScanState()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.pdf")
        assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    assert len(scan_state.unreadable_files) == 2


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "nothing"])
def test_a_file_that_becomes_something_else_before_it_is_opened_is_not_taken(
    inbox: Path, store: DocumentStore, tmp_path: Path, what: str
) -> None:
    write_settled_file(tmp_path / "secret.pdf", "secret")
    write_settled_file(inbox / "a.pdf")
    write_settled_file(inbox / "b.pdf", "b")
    write_settled_file(inbox / "c.pdf", "c")

    path = inbox / "b.pdf"
    becoming: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "secret.pdf"),
        "folder": path.mkdir,
        "nothing": lambda: None,
    }

    def replace_file() -> None:
        if path.is_file() and not path.is_symlink():
            path.unlink()
            becoming[what]()

    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, MonitoredStore(store, replace_file), scan_state=scan_state)) == [
        "a.pdf",
        "c.pdf",
    ]
    assert len(scan_state.changing_files) + len(scan_state.unreadable_files) == 1
    assert hash_content(b"secret") not in store


def test_a_file_replaced_while_it_is_read_is_left_for_the_next_run(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "a.pdf", "first")

    def replace_file() -> None:
        write_settled_file(path, "other", modified=SETTLED_TIMESTAMP + 5)

    scan_state = FolderScanState()
    assert scan_folder(inbox, MonitoredStore(store, replace_file), scan_state=scan_state) == []
    assert scan_state.changing_files == [str(path)]
    (row,) = scan_folder(inbox, store)
    assert row["document_sha256"] == hash_content(b"other")


def test_the_same_name_with_new_content_is_a_new_document(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "bill.pdf", "first")
    first = scan_folder(inbox, store)
    write_settled_file(path, "second", modified=SETTLED_TIMESTAMP + 5)
    (second,) = scan_folder(inbox, store, map_known_fingerprints(first))
    assert second["document_sha256"] == hash_content(b"second")
    assert second["sighting_id"] != first[0]["sighting_id"]
    assert store.read(hash_content(b"first")) == b"first"


def test_new_content_of_the_same_length_is_noticed(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "bill.pdf", "total 100")
    first = scan_folder(inbox, store)
    path.write_text("total 900")
    assert [row["document_sha256"] for row in scan_folder(inbox, store, map_known_fingerprints(first))] == [
        hash_content(b"total 900")
    ]


def test_new_content_under_the_old_length_and_time_is_noticed(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "same.pdf", b"%PDF-1.7 one")
    first = scan_folder(inbox, store)
    time.sleep(0.02)  # the system's clock of changes ticks every few milliseconds
    with path.open("r+b") as file:
        file.write(b"%PDF-1.7 two")
    os.utime(path, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
    (second,) = scan_folder(inbox, store, known_fingerprints=map_known_fingerprints(first))
    assert second["document_sha256"] == hash_content(b"%PDF-1.7 two")


def test_known_files_are_not_opened_again(inbox: Path, store: DocumentStore) -> None:
    for number in range(5):
        write_settled_file(inbox / f"{number}.pdf", str(number))
    rows = scan_folder(inbox, store)
    write_settled_file(inbox / "new.pdf", "new")
    monitored_store, scan_state = MonitoredStore(store), FolderScanState()
    assert list_file_names(scan_folder(inbox, monitored_store, map_known_fingerprints(rows), scan_state)) == ["new.pdf"]
    assert (monitored_store.read_count, scan_state.known_count) == (1, 5)


def test_the_same_bytes_twice_are_two_sightings_of_one_document(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "a.pdf")
    write_settled_file(inbox / "copy.pdf")
    rows = scan_folder(inbox, store)
    assert len({row["document_sha256"] for row in rows}) == 1
    assert len({row["sighting_id"] for row in rows}) == 2


def test_a_name_that_is_no_utf8_is_told_in_text_that_any_encoding_can_carry(inbox: Path, store: DocumentStore) -> None:
    place = os.fsencode(inbox) + b"/r\xe9sum\xe9.pdf"
    Path(os.fsdecode(place)).write_bytes(b"latin")
    os.utime(place, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
    write_settled_file(inbox / "r\u00e9sum\u00e9.pdf", "utf8")
    actual = {row["document_sha256"]: row for row in scan_folder(inbox, store)}
    assert actual[hash_content(b"latin")]["file_name"] == r"r\xe9sum\xe9.pdf"
    assert actual[hash_content(b"utf8")]["file_name"] == "r\u00e9sum\u00e9.pdf"
    for row in actual.values():
        row["location"].encode("utf-8")


def test_names_are_never_taken_for_paths_or_patterns(inbox: Path, store: DocumentStore) -> None:
    odd = ["-rf.pdf", "a\nb.pdf", "..pdf.pdf"[1:], "x;rm.pdf", "[1].pdf", "%00.pdf", "'\".pdf", "a\\b.pdf"]
    for name in odd:
        write_settled_file(inbox / name, name)
    taken_documents = set(list_file_names(scan_folder(inbox, store)))
    assert taken_documents == {name for name in odd if not name.startswith(".")}


def test_an_empty_file_is_a_document_too(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "empty.pdf", b"")
    (row,) = scan_folder(inbox, store)
    assert (row["byte_count"], row["document_sha256"]) == (0, hash_content(b""))


def test_folders_nested_deeper_than_any_stack_are_walked(inbox: Path, store: DocumentStore) -> None:
    depth, here = 1_500, os.getcwd()
    write_settled_file(inbox / "z.pdf", "shallow")
    try:
        os.chdir(inbox)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.pdf").write_text("deep")
        os.utime("deep.pdf", (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
        assert list_file_names(scan_folder(inbox, store)) == ["deep.pdf", "z.pdf"]
    finally:
        os.chdir(inbox)
        for _ in range(depth):
            os.chdir("d")
        Path("deep.pdf").unlink()
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)


def test_a_folder_that_is_not_there_or_is_none_is_a_configuration_error(tmp_path: Path, store: DocumentStore) -> None:
    write_settled_file(tmp_path / "file")
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match="cannot be listed"):
            scan_folder(path, store)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named_and_the_rest_is_taken(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "closed" / "x.pdf")
    write_settled_file(inbox / "forbidden.pdf").chmod(0)
    write_settled_file(inbox / "real.pdf")
    (inbox / "closed").chmod(0)
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    (inbox / "closed").chmod(0o700)
    assert len(scan_state.unreadable_files) == 2


def test_what_is_told_is_in_the_store_already(inbox: Path, store: DocumentStore) -> None:
    for number in range(450):
        write_settled_file(inbox / f"{number:04}.pdf", str(number))
    for number, arrival in enumerate(
        build_folder_source(FolderSettings(name="inbox", url=str(inbox)), store, DisabledContainerOpener())
    ):
        assert arrival["sightings"][0]["document_sha256"] in store, number


def test_many_sightings_come_one_by_one_in_order(inbox: Path, store: DocumentStore) -> None:
    for number in range(450):
        write_settled_file(inbox / f"{number:04}.pdf", str(number))
    assert list_file_names(scan_folder(inbox, store)) == [f"{number:04}.pdf" for number in range(450)]


def test_it_is_a_dlt_source_like_any_other(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
    write_settled_file(inbox / "a.pdf", "a")
    write_settled_file(inbox / "b.pdf", "b")
    database = tmp_path / "warehouse.duckdb"
    pipeline = dlt.pipeline(
        "documents", pipelines_dir=str(tmp_path / "dlt"), dataset_name="raw",
        destination=dlt.destinations.duckdb(str(database)),
    )  # fmt: skip
    for _ in range(2):  # merged by its key, so that a second run adds nothing
        settings = FolderSettings(name="inbox", url=str(inbox), settle_seconds=0)
        pipeline.run(build_folder_source(settings, store, DisabledContainerOpener())).raise_on_failed_jobs()
    pipeline.deactivate()
    with duckdb.connect(database) as connection:
        rows = connection.execute("select sightings ->> '$[0].file_name' from raw.arrivals order by all").fetchall()
    assert rows == [("a.pdf",), ("b.pdf",)]


def test_only_names_that_fit_a_pattern_are_taken_whatever_their_case(inbox: Path, store: DocumentStore) -> None:
    for name in ("a.PDF", "b.pdf", "c.xml", "d.txt", "copy of b.pdf", "Stra\u00dfe.pdf"):
        write_settled_file(inbox / name, name)
    rows = scan_folder(inbox, store, pattern=("*.pdf", "*.XML"), exclude=("COPY*", "STRASSE*"))
    assert list_file_names(rows) == ["a.PDF", "b.pdf", "c.xml"]


@pytest.mark.parametrize(("order", "expected"), [("name", ["a", "b"]), ("oldest", ["c", "a"]), ("newest", ["b", "a"])])
def test_a_run_takes_so_many_files_in_the_order_that_is_set(
    inbox: Path, store: DocumentStore, order: str, expected: list[str]
) -> None:
    for name, modified in {"a": SETTLED_TIMESTAMP + 1, "b": SETTLED_TIMESTAMP + 2, "c": SETTLED_TIMESTAMP}.items():
        write_settled_file(inbox / name, name, modified)
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state, order=order, files_per_run=2)) == expected
    assert scan_state.over_limit_count == 1


def test_known_files_do_not_count_for_the_cap(inbox: Path, store: DocumentStore) -> None:
    for name in ("a", "b", "c"):
        write_settled_file(inbox / name, name)
    first = scan_folder(inbox, store, files_per_run=2)
    assert list_file_names(scan_folder(inbox, store, map_known_fingerprints(first), files_per_run=2)) == ["c"]


def test_sub_folders_tell_whose_a_file_is(inbox: Path, store: DocumentStore) -> None:
    for name in ("Acme Ltd/2026/4711/a.pdf", "Acme Ltd/b.pdf", "c.pdf"):
        write_settled_file(inbox / name, name)
    rows = scan_folder(inbox, store, sub_folders=("entity", "", "cost_centre"))
    origins = [(row["file_name"], row["entity"], row["cost_centre"]) for row in rows]
    assert origins == [("a.pdf", "Acme Ltd", "4711"), ("b.pdf", "Acme Ltd", None), ("c.pdf", None, None)]


def test_of_a_maildir_the_folders_around_it_tell_whose_a_mail_is(tmp_path: Path) -> None:
    for name in ("Acme Ltd/Post/new/1.a", "cur/2.b:2,S"):
        write_settled_file(tmp_path / name)
    for beside in ("Acme Ltd/Post/cur", "Acme Ltd/Post/tmp", "new", "tmp"):
        (tmp_path / beside).mkdir()
    settings = FolderSettings(name="inbox", url=str(tmp_path), sub_folders=("entity", "cost_centre", "entity"))
    at = LocalFolder(settings)
    places = [build_file_origin(settings, at, actual) for actual in at.list_files() if not isinstance(actual, str)]
    assert sorted((folder_parts.entity or "", folder_parts.cost_centre or "") for folder_parts in places) == [
        ("", ""),
        ("Acme Ltd", "Post"),
    ]


def test_a_location_is_the_same_from_wherever_a_run_is_started(
    inbox: Path, store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_settled_file(inbox / "a.pdf")
    monkeypatch.chdir(inbox.parent)
    assert [row["location"] for row in scan_folder(Path("inbox"), store)] == [str(path)]


@pytest.mark.corpus
@pytest.mark.slow
def test_every_file_of_the_corpus_is_seen_once(corpus: Path, store: DocumentStore) -> None:
    scan_state = FolderScanState()
    rows = scan_folder(corpus, store, scan_state=scan_state)
    files = sum(path.is_file() and not path.is_symlink() for path in corpus.rglob("*"))
    assert len(rows) == files
    assert (scan_state.changing_files, scan_state.unreadable_files) == ([], [])
    assert all(row["document_sha256"] in store for row in rows)
