"""Unusual directory entries and names: nothing outside the folder is opened, and one bad file stops no other."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from sources.folder import FolderScanState
from tests.integration.sources.folder.folder_fixtures import (
    SETTLED_TIMESTAMP,
    MonitoredStore,
    hash_content,
    list_file_names,
    scan_folder,
    write_settled_file,
)


def test_links_are_not_followed(inbox: Path, store: DocumentStore, tmp_path: Path) -> None:
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


def test_pipes_and_sockets_are_not_opened(inbox: Path, store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(inbox / "pipe.pdf")
    write_settled_file(inbox / "real.pdf")
    monkeypatch.chdir(inbox)  # a socket's path has to be short
    scan_state = FolderScanState()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.pdf")
        assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    assert len(scan_state.unreadable_files) == 2


@pytest.mark.parametrize("replacement", ["pipe", "link", "folder", "nothing"])
def test_a_file_replaced_by_something_else_before_it_is_opened_is_not_collected(
    inbox: Path, store: DocumentStore, tmp_path: Path, replacement: str
) -> None:
    write_settled_file(tmp_path / "secret.pdf", "secret")
    write_settled_file(inbox / "a.pdf")
    write_settled_file(inbox / "b.pdf", "b")
    write_settled_file(inbox / "c.pdf", "c")

    path = inbox / "b.pdf"
    replace_by_kind: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "secret.pdf"),
        "folder": path.mkdir,
        "nothing": lambda: None,
    }

    def replace_file() -> None:
        if path.is_file() and not path.is_symlink():
            path.unlink()
            replace_by_kind[replacement]()

    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, MonitoredStore(store, replace_file), scan_state=scan_state)) == [
        "a.pdf",
        "c.pdf",
    ]
    assert len(scan_state.changing_files) + len(scan_state.unreadable_files) == 1
    assert hash_content(b"secret") not in store


def test_a_file_replaced_while_it_is_read_is_collected_by_a_later_run(inbox: Path, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "a.pdf", "first")

    def replace_file() -> None:
        write_settled_file(path, "other", modified=SETTLED_TIMESTAMP + 5)

    scan_state = FolderScanState()
    assert scan_folder(inbox, MonitoredStore(store, replace_file), scan_state=scan_state) == []
    assert scan_state.changing_files == [str(path)]
    (row,) = scan_folder(inbox, store)
    assert row["document_sha256"] == hash_content(b"other")


def test_a_name_that_is_not_utf8_is_recorded_as_text_for_any_encoding(inbox: Path, store: DocumentStore) -> None:
    raw_path = os.fsencode(inbox) + b"/r\xe9sum\xe9.pdf"
    Path(os.fsdecode(raw_path)).write_bytes(b"latin")
    os.utime(raw_path, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
    write_settled_file(inbox / "r\u00e9sum\u00e9.pdf", "utf8")
    actual = {row["document_sha256"]: row for row in scan_folder(inbox, store)}
    assert actual[hash_content(b"latin")]["file_name"] == r"r\xe9sum\xe9.pdf"
    assert actual[hash_content(b"utf8")]["file_name"] == "r\u00e9sum\u00e9.pdf"
    for row in actual.values():
        row["location"].encode("utf-8")


def test_names_are_never_interpreted_as_paths_or_patterns(inbox: Path, store: DocumentStore) -> None:
    odd_names = ["-rf.pdf", "a\nb.pdf", "..pdf.pdf"[1:], "x;rm.pdf", "[1].pdf", "%00.pdf", "'\".pdf", "a\\b.pdf"]
    for name in odd_names:
        write_settled_file(inbox / name, name)
    collected_names = set(list_file_names(scan_folder(inbox, store)))
    assert collected_names == {name for name in odd_names if not name.startswith(".")}


def test_directories_deeper_than_any_stack_are_listed(inbox: Path, store: DocumentStore) -> None:
    depth, working_directory = 1_500, os.getcwd()
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
        os.chdir(working_directory)


def test_a_missing_folder_and_a_file_in_its_place_are_configuration_errors(
    tmp_path: Path, store: DocumentStore
) -> None:
    write_settled_file(tmp_path / "file")
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match="cannot be listed"):
            scan_folder(path, store)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_files_without_permission_are_named_and_the_others_are_collected(inbox: Path, store: DocumentStore) -> None:
    write_settled_file(inbox / "closed" / "x.pdf")
    write_settled_file(inbox / "forbidden.pdf").chmod(0)
    write_settled_file(inbox / "real.pdf")
    (inbox / "closed").chmod(0)
    scan_state = FolderScanState()
    assert list_file_names(scan_folder(inbox, store, scan_state=scan_state)) == ["real.pdf"]
    (inbox / "closed").chmod(0o700)
    assert len(scan_state.unreadable_files) == 2
