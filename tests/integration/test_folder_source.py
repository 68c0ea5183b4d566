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

from invoices.documents.landing import Landing, Source
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.parts import Unwrapped
from invoices.errors import ConfigurationError
from invoices.settings.intake import Folder
from sources.folder import Seen, folder
from sources.folder.places import LocalFolder, described

Row = dict[str, Any]
OLD = 1_700_000_000  # a time of change long past


class WatchedLanding(Landing):
    """A landing that notes each file it is given, and may do something to the folder while it reads."""

    def __init__(self, root: Path, watch: Watched) -> None:
        super().__init__(root)
        self.watch = watch

    def put_file(self, source: Source) -> tuple[str, int]:
        self.watch.read += 1
        kept = super().put_file(source)
        self.watch.meanwhile()
        return kept


class Watched:
    """A store with such landings."""

    def __init__(self, store: DocumentStore, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.root, self.meanwhile, self.read = store.path("0" * 64).parents[1], meanwhile, 0

    def landing(self) -> Landing:
        return WatchedLanding(self.root, self)


class Unopened:
    """Opens no container; the tests of containers have the real thing."""

    def unwrap(self, _container: bytes | Path, _landing: Landing, _file_name: str | None = None) -> Unwrapped:
        return Unwrapped(reason_code="damaged_archive", reason="nothing is opened here")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    """An empty store."""
    return DocumentStore(tmp_path / "documents")


def lay(place: Path, content: bytes | str = b"%PDF-1.7 one", modified: float = OLD) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(place, (modified, modified))
    return place


def look(
    inbox: Path,
    store: DocumentStore | Watched,
    known: Mapping[str, Collection[str]] | None = None,
    seen: Seen | None = None,
    sleep: Callable[[float], None] = lambda _seconds: None,
    **chosen: Any,
) -> list[Row]:
    settings = Folder(name="inbox", url=str(inbox), **chosen)
    source = folder(settings, store, Unopened(), lambda _locations: known or {}, seen, sleep)
    return [sighting for arrival in source for sighting in arrival["sightings"]]


def names(rows: list[Row]) -> list[str]:
    return [row["file_name"] for row in rows]


def known_of(rows: list[Row]) -> dict[str, set[str]]:
    return {row["location"]: {row["fingerprint"]} for row in rows}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_file_below_the_folder_is_taken_in_sorted_order(inbox: Path, store: DocumentStore) -> None:
    for name in ("b/2.pdf", "b/1.pdf", "a.pdf", "b/deep/er/3.xml", "c.png", "B.pdf"):
        lay(inbox / name, f"content of {name}")
    found = [Path(row["location"]).relative_to(inbox).as_posix() for row in look(inbox, store)]
    assert found == ["B.pdf", "a.pdf", "b/1.pdf", "b/2.pdf", "b/deep/er/3.xml", "c.png"]


def test_a_sighting_tells_what_and_where_and_the_bytes_are_kept_before(inbox: Path, store: DocumentStore) -> None:
    content = b"%PDF-1.7 hello"
    place = lay(inbox / "bill.pdf", content)
    (row,) = look(inbox, store)
    assert store.read(sha(content)) == content
    assert row | {"sighting_id": "", "fingerprint": ""} == {
        "sighting_id": "", "document_sha256": sha(content), "media_type": "application/pdf", "byte_count": len(content),
        "source_name": "inbox", "source_kind": "folder", "location": str(place), "file_name": "bill.pdf",
        "fingerprint": "", "sender": None, "subject": None, "message_id": None, "received_at": None,
        "message_key": None, "section": None, "declared_type": None, "original_sender": None, "entity": None,
        "cost_centre": None, "settled": None, "flags": [],
    }  # fmt: skip
    assert look(inbox, store) == [row]
    assert place.read_bytes() == content


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store", ".hidden.pdf", "Thumbs.db", "THUMBS.DB", "desktop.ini", "~$bill.docx", "bill.pdf~", "#bill.pdf#",
        "bill.pdf.part", "bill.PDF.crdownload", "upload.tmp", "x.swp", "bill.lnk", ".git/config", "__MACOSX/bill.pdf",
        "@eaDir/bill.pdf", "$RECYCLE.BIN/bill.pdf", "#recycle/bill.pdf", "System Volume Information/x.pdf",
    ],
)  # fmt: skip
def test_what_systems_and_editors_leave_behind_is_not_a_document(inbox: Path, store: DocumentStore, name: str) -> None:
    lay(inbox / name)
    lay(inbox / "real.pdf")
    seen = Seen()
    assert names(look(inbox, store, seen=seen)) == ["real.pdf"]
    assert seen.unreadable == []


def test_a_young_file_that_stays_as_it_is_is_taken_after_the_wait(inbox: Path, store: DocumentStore) -> None:
    place = lay(inbox / "new.pdf")
    os.utime(place)
    waits: list[float] = []
    assert names(look(inbox, store, sleep=waits.append)) == ["new.pdf"]
    assert waits == [2.0]


def test_old_files_are_taken_without_a_wait(inbox: Path, store: DocumentStore) -> None:
    lay(inbox / "old.pdf")
    assert len(look(inbox, store, sleep=lambda _seconds: pytest.fail("waited"))) == 1


def test_a_file_that_is_still_growing_is_left_for_the_next_run(inbox: Path, store: DocumentStore) -> None:
    place = lay(inbox / "half.pdf")
    os.utime(place)
    lay(inbox / "other.pdf")

    def grow(_seconds: float) -> None:
        with place.open("ab") as more:
            more.write(b" and the rest")

    seen = Seen()
    watched = Watched(store)
    assert names(look(inbox, watched, seen=seen, sleep=grow)) == ["other.pdf"]
    assert seen.growing == [str(place)]
    assert watched.read == 1  # half a file is not even read
    assert names(look(inbox, store)) == ["half.pdf", "other.pdf"]


def test_a_file_from_the_future_is_taken_all_the_same(inbox: Path, store: DocumentStore) -> None:
    lay(inbox / "future.pdf", modified=4_000_000_000)
    assert names(look(inbox, store)) == ["future.pdf"]


def test_a_file_that_goes_while_we_wait_harms_nobody(inbox: Path, store: DocumentStore) -> None:
    place = lay(inbox / "gone.pdf")
    os.utime(place)
    lay(inbox / "stays.pdf")
    assert names(look(inbox, store, sleep=lambda _seconds: place.unlink())) == ["stays.pdf"]


def test_nothing_outside_of_the_folder_is_followed(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
    lay(tmp_path / "outside" / "secret.pdf")
    (inbox / "link.pdf").symlink_to(tmp_path / "outside" / "secret.pdf")
    (inbox / "folder").symlink_to(tmp_path / "outside")
    (inbox / "dangling.pdf").symlink_to(tmp_path / "nowhere")
    (inbox / "circle").symlink_to(inbox)
    lay(inbox / "real.pdf", "real")
    seen = Seen()
    assert names(look(inbox, store, seen=seen)) == ["real.pdf"]
    assert len(seen.unreadable) == 4
    assert all("is not a regular file" in reason for reason in seen.unreadable)
    assert sha(b"%PDF-1.7 one") not in store


def test_a_pipe_and_a_socket_block_nobody(inbox: Path, store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(inbox / "pipe.pdf")
    lay(inbox / "real.pdf")
    monkeypatch.chdir(inbox)  # a socket's path has to be short
    seen = Seen()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.pdf")
        assert names(look(inbox, store, seen=seen)) == ["real.pdf"]
    assert len(seen.unreadable) == 2


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "nothing"])
def test_a_file_that_becomes_something_else_before_it_is_opened_is_not_taken(
    inbox: Path, store: DocumentStore, tmp_path: Path, what: str
) -> None:
    lay(tmp_path / "secret.pdf", "secret")
    lay(inbox / "a.pdf")
    lay(inbox / "b.pdf", "b")
    lay(inbox / "c.pdf", "c")

    place = inbox / "b.pdf"
    becoming: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(place),
        "link": lambda: place.symlink_to(tmp_path / "secret.pdf"),
        "folder": place.mkdir,
        "nothing": lambda: None,
    }

    def replace() -> None:
        if place.is_file() and not place.is_symlink():
            place.unlink()
            becoming[what]()

    seen = Seen()
    assert names(look(inbox, Watched(store, replace), seen=seen)) == ["a.pdf", "c.pdf"]
    assert len(seen.growing) + len(seen.unreadable) == 1
    assert sha(b"secret") not in store


def test_a_file_replaced_while_it_is_read_is_left_for_the_next_run(inbox: Path, store: DocumentStore) -> None:
    place = lay(inbox / "a.pdf", "first")

    def replace() -> None:
        lay(place, "other", modified=OLD + 5)

    seen = Seen()
    assert look(inbox, Watched(store, replace), seen=seen) == []
    assert seen.growing == [str(place)]
    (row,) = look(inbox, store)
    assert row["document_sha256"] == sha(b"other")


def test_the_same_name_with_new_content_is_a_new_document(inbox: Path, store: DocumentStore) -> None:
    place = lay(inbox / "bill.pdf", "first")
    first = look(inbox, store)
    lay(place, "second", modified=OLD + 5)
    (second,) = look(inbox, store, known_of(first))
    assert second["document_sha256"] == sha(b"second")
    assert second["sighting_id"] != first[0]["sighting_id"]
    assert store.read(sha(b"first")) == b"first"


def test_new_content_of_the_same_length_is_noticed(inbox: Path, store: DocumentStore) -> None:
    place = lay(inbox / "bill.pdf", "total 100")
    first = look(inbox, store)
    place.write_text("total 900")
    assert [row["document_sha256"] for row in look(inbox, store, known_of(first))] == [sha(b"total 900")]


def test_new_content_under_the_old_length_and_time_is_noticed(inbox: Path, store: DocumentStore) -> None:
    path = lay(inbox / "same.pdf", b"%PDF-1.7 one")
    first = look(inbox, store)
    time.sleep(0.02)  # the system's clock of changes ticks every few milliseconds
    with path.open("r+b") as file:
        file.write(b"%PDF-1.7 two")
    os.utime(path, (OLD, OLD))
    (second,) = look(inbox, store, known=known_of(first))
    assert second["document_sha256"] == sha(b"%PDF-1.7 two")


def test_known_files_are_not_opened_again(inbox: Path, store: DocumentStore) -> None:
    for number in range(5):
        lay(inbox / f"{number}.pdf", str(number))
    rows = look(inbox, store)
    lay(inbox / "new.pdf", "new")
    watched, seen = Watched(store), Seen()
    assert names(look(inbox, watched, known_of(rows), seen)) == ["new.pdf"]
    assert (watched.read, seen.known) == (1, 5)


def test_the_same_bytes_twice_are_two_sightings_of_one_document(inbox: Path, store: DocumentStore) -> None:
    lay(inbox / "a.pdf")
    lay(inbox / "copy.pdf")
    rows = look(inbox, store)
    assert len({row["document_sha256"] for row in rows}) == 1
    assert len({row["sighting_id"] for row in rows}) == 2


def test_a_name_that_is_no_utf8_is_told_in_text_that_any_encoding_can_carry(inbox: Path, store: DocumentStore) -> None:
    place = os.fsencode(inbox) + b"/r\xe9sum\xe9.pdf"
    Path(os.fsdecode(place)).write_bytes(b"latin")
    os.utime(place, (OLD, OLD))
    lay(inbox / "r\u00e9sum\u00e9.pdf", "utf8")
    found = {row["document_sha256"]: row for row in look(inbox, store)}
    assert found[sha(b"latin")]["file_name"] == r"r\xe9sum\xe9.pdf"
    assert found[sha(b"utf8")]["file_name"] == "r\u00e9sum\u00e9.pdf"
    for row in found.values():
        row["location"].encode("utf-8")


def test_names_are_never_taken_for_paths_or_patterns(inbox: Path, store: DocumentStore) -> None:
    odd = ["-rf.pdf", "a\nb.pdf", "..pdf.pdf"[1:], "x;rm.pdf", "[1].pdf", "%00.pdf", "'\".pdf", "a\\b.pdf"]
    for name in odd:
        lay(inbox / name, name)
    taken = set(names(look(inbox, store)))
    assert taken == {name for name in odd if not name.startswith(".")}


def test_an_empty_file_is_a_document_too(inbox: Path, store: DocumentStore) -> None:
    lay(inbox / "empty.pdf", b"")
    (row,) = look(inbox, store)
    assert (row["byte_count"], row["document_sha256"]) == (0, sha(b""))


def test_folders_nested_deeper_than_any_stack_are_walked(inbox: Path, store: DocumentStore) -> None:
    depth, here = 1_500, os.getcwd()
    lay(inbox / "z.pdf", "shallow")
    try:
        os.chdir(inbox)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.pdf").write_text("deep")
        os.utime("deep.pdf", (OLD, OLD))
        assert names(look(inbox, store)) == ["deep.pdf", "z.pdf"]
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
    lay(tmp_path / "file")
    for place in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match="cannot be listed"):
            look(place, store)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named_and_the_rest_is_taken(inbox: Path, store: DocumentStore) -> None:
    lay(inbox / "closed" / "x.pdf")
    lay(inbox / "forbidden.pdf").chmod(0)
    lay(inbox / "real.pdf")
    (inbox / "closed").chmod(0)
    seen = Seen()
    assert names(look(inbox, store, seen=seen)) == ["real.pdf"]
    (inbox / "closed").chmod(0o700)
    assert len(seen.unreadable) == 2


def test_what_is_told_is_in_the_store_already(inbox: Path, store: DocumentStore) -> None:
    for number in range(450):
        lay(inbox / f"{number:04}.pdf", str(number))
    for number, arrival in enumerate(folder(Folder(name="inbox", url=str(inbox)), store, Unopened())):
        assert arrival["sightings"][0]["document_sha256"] in store, number


def test_many_sightings_come_one_by_one_in_order(inbox: Path, store: DocumentStore) -> None:
    for number in range(450):
        lay(inbox / f"{number:04}.pdf", str(number))
    assert names(look(inbox, store)) == [f"{number:04}.pdf" for number in range(450)]


def test_it_is_a_dlt_source_like_any_other(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
    lay(inbox / "a.pdf", "a")
    lay(inbox / "b.pdf", "b")
    database = tmp_path / "warehouse.duckdb"
    pipeline = dlt.pipeline(
        "documents", pipelines_dir=str(tmp_path / "dlt"), dataset_name="raw",
        destination=dlt.destinations.duckdb(str(database)),
    )  # fmt: skip
    for _ in range(2):  # merged by its key, so that a second run adds nothing
        settings = Folder(name="inbox", url=str(inbox), settle_seconds=0)
        pipeline.run(folder(settings, store, Unopened())).raise_on_failed_jobs()
    pipeline.deactivate()
    with duckdb.connect(database) as connection:
        rows = connection.execute("select sightings ->> '$[0].file_name' from raw.arrivals order by all").fetchall()
    assert rows == [("a.pdf",), ("b.pdf",)]


def test_only_names_that_fit_a_pattern_are_taken_whatever_their_case(inbox: Path, store: DocumentStore) -> None:
    for name in ("a.PDF", "b.pdf", "c.xml", "d.txt", "copy of b.pdf", "Stra\u00dfe.pdf"):
        lay(inbox / name, name)
    rows = look(inbox, store, pattern=("*.pdf", "*.XML"), exclude=("COPY*", "STRASSE*"))
    assert names(rows) == ["a.PDF", "b.pdf", "c.xml"]


@pytest.mark.parametrize(("order", "expected"), [("name", ["a", "b"]), ("oldest", ["c", "a"]), ("newest", ["b", "a"])])
def test_a_run_takes_so_many_files_in_the_order_that_is_set(
    inbox: Path, store: DocumentStore, order: str, expected: list[str]
) -> None:
    for name, modified in {"a": OLD + 1, "b": OLD + 2, "c": OLD}.items():
        lay(inbox / name, name, modified)
    seen = Seen()
    assert names(look(inbox, store, seen=seen, order=order, files_per_run=2)) == expected
    assert seen.beyond_cap == 1


def test_known_files_do_not_count_for_the_cap(inbox: Path, store: DocumentStore) -> None:
    for name in ("a", "b", "c"):
        lay(inbox / name, name)
    first = look(inbox, store, files_per_run=2)
    assert names(look(inbox, store, known_of(first), files_per_run=2)) == ["c"]


def test_sub_folders_tell_whose_a_file_is(inbox: Path, store: DocumentStore) -> None:
    for name in ("Acme Ltd/2026/4711/a.pdf", "Acme Ltd/b.pdf", "c.pdf"):
        lay(inbox / name, name)
    rows = look(inbox, store, sub_folders=("entity", "", "cost_centre"))
    told = [(row["file_name"], row["entity"], row["cost_centre"]) for row in rows]
    assert told == [("a.pdf", "Acme Ltd", "4711"), ("b.pdf", "Acme Ltd", None), ("c.pdf", None, None)]


def test_of_a_maildir_the_folders_around_it_tell_whose_a_mail_is(tmp_path: Path) -> None:
    for name in ("Acme Ltd/Post/new/1.a", "cur/2.b:2,S"):
        lay(tmp_path / name)
    for beside in ("Acme Ltd/Post/cur", "Acme Ltd/Post/tmp", "new", "tmp"):
        (tmp_path / beside).mkdir()
    settings = Folder(name="inbox", url=str(tmp_path), sub_folders=("entity", "cost_centre", "entity"))
    at = LocalFolder(settings)
    places = [described(settings, at, found) for found in at.files() if not isinstance(found, str)]
    assert sorted((one.entity or "", one.cost_centre or "") for one in places) == [("", ""), ("Acme Ltd", "Post")]


def test_a_location_is_the_same_from_wherever_a_run_is_started(
    inbox: Path, store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lay(inbox / "a.pdf")
    monkeypatch.chdir(inbox.parent)
    assert [row["location"] for row in look(Path("inbox"), store)] == [str(place)]


@pytest.mark.corpus
@pytest.mark.slow
def test_every_file_of_the_corpus_is_seen_once(corpus: Path, store: DocumentStore) -> None:
    seen = Seen()
    rows = look(corpus, store, seen=seen)
    files = sum(path.is_file() and not path.is_symlink() for path in corpus.rglob("*"))
    assert len(rows) == files
    assert (seen.growing, seen.unreadable) == ([], [])
    assert all(row["document_sha256"] in store for row in rows)
