"""Moving recorded files: each once, below the folder, without overwriting or leaving it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source, move_recorded_files
from sources.folder.file_move import move_without_overwrite
from sources.folder.listing import find_regular_file
from tests.integration.sources.folder.folder_fixtures import SETTLED_TIMESTAMP, DisabledContainerOpener


class FolderRun:
    """A run that collects files, records them in a dictionary and moves them."""

    def __init__(self, tmp_path: Path, target: str = "done") -> None:
        self.inbox, self.store = tmp_path / "inbox", DocumentStore(tmp_path / "documents")
        self.inbox.mkdir()
        self.settings = FolderSettings(name="inbox", url=str(self.inbox), after=f"move:{target}")
        self.recorded_fingerprints: dict[str, set[str]] = {}

    def get_known_fingerprints(self, _locations: Sequence[str]) -> Mapping[str, set[str]]:
        return self.recorded_fingerprints

    def collect_files(self) -> FolderScanState:
        scan_state = FolderScanState()
        for row in build_folder_source(
            self.settings,
            self.store,
            DisabledContainerOpener(),
            self.get_known_fingerprints,
            scan_state,
            lambda _seconds: None,
        ):
            for sighting in row["sightings"]:
                self.recorded_fingerprints.setdefault(sighting["location"], set()).add(sighting["fingerprint"])
        return scan_state

    def __call__(self, before_move: Callable[[], object] = int) -> list[str]:
        scan_state = self.collect_files()
        before_move()
        return move_recorded_files(self.settings, self.get_known_fingerprints, scan_state.movable_files)

    def write_settled_file(self, name: str, content: str = "one") -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
        return path

    def read_files(self) -> dict[str, str]:
        paths = (path for path in sorted(self.inbox.rglob("*")) if path.is_file())
        return {path.relative_to(self.inbox).as_posix(): path.read_text() for path in paths}


def build_failing_call(error_number: int) -> Callable[..., None]:
    """Return a system call that fails with this error number."""

    def raise_os_error(*_arguments: Any, **_options: Any) -> None:
        raise OSError(error_number, os.strerror(error_number))

    return raise_os_error


def test_all_links_to_one_file_are_moved_in_the_same_run(folder_run: FolderRun, tmp_path: Path) -> None:
    file = folder_run.write_settled_file("a.pdf")
    for link in (folder_run.inbox / "b.pdf", folder_run.inbox / "sub" / "a.pdf", tmp_path / "elsewhere.pdf"):
        link.parent.mkdir(exist_ok=True)
        os.link(file, link)
    assert folder_run() == []
    assert folder_run.read_files() == {"done/a.pdf": "one", "done/b.pdf": "one", "done/sub/a.pdf": "one"}
    assert (tmp_path / "elsewhere.pdf").read_text() == "one"
    assert folder_run.collect_files().movable_files == []


def test_a_file_that_changed_after_another_link_to_it_was_moved_stays(folder_run: FolderRun) -> None:
    file = folder_run.write_settled_file("a.pdf")
    os.link(file, folder_run.inbox / "b.pdf")

    def write_to_it() -> None:
        file.write_text("two, and longer")

    assert folder_run(before_move=write_to_it) == []
    assert folder_run.read_files() == {"a.pdf": "two, and longer", "b.pdf": "two, and longer"}


@pytest.fixture
def folder_run(tmp_path: Path) -> FolderRun:
    """A run over an empty folder whose files are moved to ``done``."""
    return FolderRun(tmp_path)


def test_files_are_moved_with_their_directories_and_not_collected_there(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("a.pdf", "a")
    folder_run.write_settled_file("Acme/2026/b.pdf", "b")
    assert folder_run() == []
    assert folder_run.read_files() == {"done/Acme/2026/b.pdf": "b", "done/a.pdf": "a"}
    assert folder_run.collect_files() == FolderScanState()


def test_a_file_whose_name_exists_gets_a_suffix_from_its_content(folder_run: FolderRun) -> None:
    for content in ("one", "two", "two"):
        folder_run.write_settled_file("bill.pdf", content)
        assert folder_run() == []
    assert folder_run.read_files() == {
        "done/bill-3fc4ccfe-2.pdf": "two", "done/bill-3fc4ccfe.pdf": "two", "done/bill.pdf": "one",
    }  # fmt: skip


def test_a_file_changed_after_it_was_collected_stays(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("bill.pdf")
    assert folder_run(lambda: folder_run.write_settled_file("bill.pdf", "changed")) == []
    assert folder_run.read_files() == {"bill.pdf": "changed"}
    assert folder_run() == []
    assert folder_run.read_files() == {"done/bill.pdf": "changed"}


def test_a_file_that_is_not_recorded_stays(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("bill.pdf")
    scan_state = folder_run.collect_files()
    folder_run.recorded_fingerprints.clear()  # the run died before the transaction
    assert move_recorded_files(folder_run.settings, folder_run.get_known_fingerprints, scan_state.movable_files) == []
    assert folder_run.read_files() == {"bill.pdf": "one"}


def test_the_next_run_moves_what_a_killed_run_did_not(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("bill.pdf")
    folder_run.collect_files()
    scan_state = folder_run.collect_files()
    assert scan_state.known_count == 1
    assert move_recorded_files(folder_run.settings, folder_run.get_known_fingerprints, scan_state.movable_files) == []
    assert folder_run.read_files() == {"done/bill.pdf": "one"}


def test_after_a_run_killed_during_the_move_one_file_remains(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    (folder_run.inbox / "done").mkdir()
    os.link(path, folder_run.inbox / "done" / "bill.pdf")
    assert folder_run() == []
    assert folder_run.read_files() == {"done/bill.pdf": "one"}


def test_a_file_removed_meanwhile_is_not_a_problem(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    assert folder_run(path.unlink) == []
    assert folder_run.read_files() == {}


def test_a_link_as_target_is_not_followed(folder_run: FolderRun, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder_run.write_settled_file("bill.pdf")
    (folder_run.inbox / "done").symlink_to(tmp_path / "outside")
    (problem,) = folder_run()
    assert "cannot be moved" in problem
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("target", ["../done", "/tmp/done", "a/../../b"])
def test_a_target_outside_of_the_folder_is_a_configuration_error(tmp_path: Path, target: str) -> None:
    with pytest.raises(ConfigurationError, match="name a directory below"):
        FolderRun(tmp_path, target).collect_files()


def test_a_read_only_share_is_one_problem_and_its_files_are_collected_once(
    folder_run: FolderRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_run.write_settled_file("a.pdf")
    folder_run.write_settled_file("b.pdf", "two")
    (problem,) = folder_run(lambda: monkeypatch.setattr(os, "mkdir", build_failing_call(errno.EROFS)))
    assert "Read-only file system; no other file was tried" in problem
    monkeypatch.undo()
    assert folder_run.collect_files().known_count == 2


def test_a_file_that_cannot_be_linked_is_copied(folder_run: FolderRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in ("one", "two"):
        folder_run.write_settled_file("bill.pdf", content).chmod(0o640)
        monkeypatch.setattr(os, "link", build_failing_call(errno.EXDEV))
        assert folder_run() == []
    assert folder_run.read_files() == {"done/bill-3fc4ccfe.pdf": "two", "done/bill.pdf": "one"}
    status = (folder_run.inbox / "done" / "bill.pdf").stat()
    assert (status.st_mtime, status.st_mode & 0o777) == (SETTLED_TIMESTAMP, 0o640)


def test_a_file_with_several_links_is_moved_under_each_name(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    os.link(path, folder_run.inbox / "again.pdf")
    assert folder_run() == []
    assert set(folder_run.read_files()) >= {"done/again.pdf"}
    folder_run()
    assert folder_run.read_files() == {"done/again.pdf": "one", "done/bill.pdf": "one"}


def test_another_file_under_the_same_name_is_not_moved(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    entry = find_regular_file(path)
    assert entry is not None
    os.replace(folder_run.write_settled_file("other.pdf", "other"), path)
    assert not move_without_overwrite(folder_run.inbox, entry, ["done"])
    assert folder_run.read_files() == {"bill.pdf": "other"}
