"""The folder source on real directories: sightings, order, known files, patterns, limits and sub-folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dlt
import duckdb
import pytest

from invoices.documents.store import DocumentStore
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source
from sources.folder.fetch import build_file_origin
from sources.folder.local_folder import LocalFolder
from tests.integration.sources.folder.folder_fixtures import (
    SETTLED_TIMESTAMP,
    DisabledContainerOpener,
    MonitoredStore,
    hash_content,
    list_file_names,
    map_known_fingerprints,
    scan_folder,
    write_settled_file,
)


def test_every_file_below_the_folder_is_collected_in_sorted_order(inbox: Path, store: DocumentStore) -> None:
    for name in ("b/2.pdf", "b/1.pdf", "a.pdf", "b/deep/er/3.xml", "c.png", "B.pdf"):
        write_settled_file(inbox / name, f"content of {name}")
    actual = [Path(row["location"]).relative_to(inbox).as_posix() for row in scan_folder(inbox, store)]
    assert actual == ["B.pdf", "a.pdf", "b/1.pdf", "b/2.pdf", "b/deep/er/3.xml", "c.png"]


def test_a_sighting_describes_a_file_whose_bytes_are_already_stored(inbox: Path, store: DocumentStore) -> None:
    content = b"%PDF-1.7 hello"
    path = write_settled_file(inbox / "bill.pdf", content)
    (row,) = scan_folder(inbox, store)
    assert store.read(hash_content(content)) == content
    assert row | {"sighting_id": "", "fingerprint": ""} == {
        "sighting_id": "", "document_sha256": hash_content(content),
        "media_type": "application/pdf", "byte_count": len(content),
        "source_name": "inbox", "source_kind": "folder", "location": str(path), "file_name": "bill.pdf",
        "fingerprint": "", "sender": None, "subject": None, "message_id": None, "received_at": None,
        "message_key": None, "section": None, "declared_type": None, "original_sender": None, "entity": None,
        "cost_centre": None, "embedded_in": None, "settled": None, "flags": [],
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
def test_temporary_files_of_systems_and_editors_are_ignored(inbox: Path, store: DocumentStore, name: str) -> None:
    write_settled_file(inbox / name)
    write_settled_file(inbox / "real.pdf")
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    assert scan_state.unreadable_files == []


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


def test_new_content_with_the_old_length_and_time_is_noticed(inbox: Path, store: DocumentStore) -> None:
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


def test_an_empty_file_is_a_document(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "empty.pdf", b"")
    (row,) = scan_folder(inbox, store)
    assert (row["byte_count"], row["document_sha256"]) == (0, hash_content(b""))


def test_the_document_of_an_arrival_is_already_in_the_store(inbox: Path, store: DocumentStore) -> None:
    for number in range(450):
        write_settled_file(inbox / f"{number:04}.pdf", str(number))
    for number, arrival in enumerate(
        build_folder_source(FolderSettings(name="inbox", url=str(inbox)), store, DisabledContainerOpener())
    ):
        assert arrival["sightings"][0]["document_sha256"] in store, number


def test_sightings_on_many_pages_come_in_order(inbox: Path, store: DocumentStore) -> None:
    for number in range(450):
        write_settled_file(inbox / f"{number:04}.pdf", str(number))
    assert list_file_names(scan_folder(inbox, store)) == [f"{number:04}.pdf" for number in range(450)]


def test_it_works_in_a_dlt_pipeline(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
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


def test_only_names_that_match_a_pattern_are_collected_whatever_their_case(inbox: Path, store: DocumentStore) -> None:
    for name in ("a.PDF", "b.pdf", "c.xml", "d.txt", "copy of b.pdf", "Stra\u00dfe.pdf"):
        write_settled_file(inbox / name, name)
    rows = scan_folder(inbox, store, pattern=("*.pdf", "*.XML"), exclude=("COPY*", "STRASSE*"))
    assert list_file_names(rows) == ["a.PDF", "b.pdf", "c.xml"]


@pytest.mark.parametrize(("order", "expected"), [("name", ["a", "b"]), ("oldest", ["c", "a"]), ("newest", ["b", "a"])])
def test_a_run_collects_a_limited_number_of_files_in_the_configured_order(
    inbox: Path, store: DocumentStore, order: str, expected: list[str]
) -> None:
    for name, modified in {"a": SETTLED_TIMESTAMP + 1, "b": SETTLED_TIMESTAMP + 2, "c": SETTLED_TIMESTAMP}.items():
        write_settled_file(inbox / name, name, modified)
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state, order=order, files_per_run=2)) == expected
    assert scan_state.over_limit_count == 1


def test_known_files_do_not_count_towards_the_limit(inbox: Path, store: DocumentStore) -> None:
    for name in ("a", "b", "c"):
        write_settled_file(inbox / name, name)
    first = scan_folder(inbox, store, files_per_run=2)
    assert list_file_names(scan_folder(inbox, store, map_known_fingerprints(first), files_per_run=2)) == ["c"]


def test_sub_folders_give_entity_and_cost_centre(inbox: Path, store: DocumentStore) -> None:
    for name in ("Acme Ltd/2026/4711/a.pdf", "Acme Ltd/b.pdf", "c.pdf"):
        write_settled_file(inbox / name, name)
    rows = scan_folder(inbox, store, sub_folders=("entity", "", "cost_centre"))
    origins = [(row["file_name"], row["entity"], row["cost_centre"]) for row in rows]
    assert origins == [("a.pdf", "Acme Ltd", "4711"), ("b.pdf", "Acme Ltd", None), ("c.pdf", None, None)]


def test_the_directories_around_a_maildir_give_entity_and_cost_centre(tmp_path: Path) -> None:
    for name in ("Acme Ltd/Post/new/1.a", "cur/2.b:2,S"):
        write_settled_file(tmp_path / name)
    for beside in ("Acme Ltd/Post/cur", "Acme Ltd/Post/tmp", "new", "tmp"):
        (tmp_path / beside).mkdir()
    settings = FolderSettings(name="inbox", url=str(tmp_path), sub_folders=("entity", "cost_centre", "entity"))
    folder = LocalFolder(settings)
    origins = [build_file_origin(settings, folder, file) for file in folder.list_files() if not isinstance(file, str)]
    assert sorted((origin.entity or "", origin.cost_centre or "") for origin in origins) == [
        ("", ""),
        ("Acme Ltd", "Post"),
    ]


def test_a_location_does_not_depend_on_where_a_run_is_started(
    inbox: Path, store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_settled_file(inbox / "a.pdf")
    monkeypatch.chdir(inbox.parent)
    assert [row["location"] for row in scan_folder(Path("inbox"), store)] == [str(path)]


@pytest.mark.corpus
@pytest.mark.slow
def test_every_file_of_the_corpus_is_collected_once(corpus: Path, store: DocumentStore) -> None:
    scan_state = FolderScanState()
    rows = scan_folder(corpus, store, scan_state=scan_state)
    files = sum(path.is_file() and not path.is_symlink() for path in corpus.rglob("*"))
    assert len(rows) == files
    assert (scan_state.changing_files, scan_state.unreadable_files) == ([], [])
    assert all(row["document_sha256"] in store for row in rows)
