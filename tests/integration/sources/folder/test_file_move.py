"""What becomes of files once they are safe: moved beside, each of them once, nothing overwritten, nothing outside."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.store import DocumentStore
from invoices.documents.store_batch import StoreBatch
from invoices.errors import ConfigurationError
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source, move_recorded_files
from sources.folder.file_move import move_without_overwrite
from sources.folder.listing import find_regular_file

SETTLED_TIMESTAMP = 1_700_000_000


class DisabledContainerOpener:
    """Opens no container."""

    def open_container(
        self, _container: bytes | Path, _store_batch: StoreBatch, _file_name: str | None = None
    ) -> OpenedContainer:
        return OpenedContainer(reason_code="damaged_archive")


class FolderRun:
    """A run: collects, writes into a ledger of its own, moves."""

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


def build_failing_call(number: int) -> Callable[..., None]:
    """Return what the system's own call does on a filesystem that has not what it takes."""

    def raise_os_error(*_given: Any, **_more: Any) -> None:
        raise OSError(number, os.strerror(number))

    return raise_os_error


@pytest.fixture
def folder_run(tmp_path: Path) -> FolderRun:
    """A run over an empty folder whose files go to ``done``."""
    return FolderRun(tmp_path)


def test_files_go_beside_with_their_folders_and_are_not_looked_at_there(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("a.pdf", "a")
    folder_run.write_settled_file("Acme/2026/b.pdf", "b")
    assert folder_run() == []
    assert folder_run.read_files() == {"done/Acme/2026/b.pdf": "b", "done/a.pdf": "a"}
    assert folder_run.collect_files() == FolderScanState()


def test_a_name_that_is_taken_gets_a_suffix_from_the_content(folder_run: FolderRun) -> None:
    for content in ("one", "two", "two"):
        folder_run.write_settled_file("bill.pdf", content)
        assert folder_run() == []
    assert folder_run.read_files() == {
        "done/bill-3fc4ccfe-2.pdf": "two", "done/bill-3fc4ccfe.pdf": "two", "done/bill.pdf": "one",
    }  # fmt: skip


def test_a_file_written_to_after_it_was_taken_stays(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("bill.pdf")
    assert folder_run(lambda: folder_run.write_settled_file("bill.pdf", "changed")) == []
    assert folder_run.read_files() == {"bill.pdf": "changed"}
    assert folder_run() == []
    assert folder_run.read_files() == {"done/bill.pdf": "changed"}


def test_a_file_that_the_ledger_does_not_know_stays(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("bill.pdf")
    scan_state = folder_run.collect_files()
    folder_run.recorded_fingerprints.clear()  # the run died before the transaction
    assert move_recorded_files(folder_run.settings, folder_run.get_known_fingerprints, scan_state.movable_files) == []
    assert folder_run.read_files() == {"bill.pdf": "one"}


def test_a_run_killed_before_the_move_is_made_good_by_the_next(folder_run: FolderRun) -> None:
    folder_run.write_settled_file("bill.pdf")
    folder_run.collect_files()
    scan_state = folder_run.collect_files()
    assert scan_state.known_count == 1
    assert move_recorded_files(folder_run.settings, folder_run.get_known_fingerprints, scan_state.movable_files) == []
    assert folder_run.read_files() == {"done/bill.pdf": "one"}


def test_a_run_killed_in_the_middle_of_the_move_leaves_one_file_in_the_end(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    (folder_run.inbox / "done").mkdir()
    os.link(path, folder_run.inbox / "done" / "bill.pdf")
    assert folder_run() == []
    assert folder_run.read_files() == {"done/bill.pdf": "one"}


def test_a_file_that_somebody_takes_away_meanwhile_is_no_trouble(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    assert folder_run(path.unlink) == []
    assert folder_run.read_files() == {}


def test_no_link_leads_out_of_the_folder(folder_run: FolderRun, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder_run.write_settled_file("bill.pdf")
    (folder_run.inbox / "done").symlink_to(tmp_path / "outside")
    (problem,) = folder_run()
    assert "cannot be moved" in problem
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("target", ["../done", "/tmp/done", "a/../../b"])
def test_a_target_outside_of_the_folder_is_a_configuration_error(tmp_path: Path, target: str) -> None:
    with pytest.raises(ConfigurationError, match="not a folder beside"):
        FolderRun(tmp_path, target).collect_files()


def test_a_share_that_may_not_be_written_to_is_told_once_and_taken_once(
    folder_run: FolderRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_run.write_settled_file("a.pdf")
    folder_run.write_settled_file("b.pdf", "two")
    (problem,) = folder_run(lambda: monkeypatch.setattr(os, "mkdir", build_failing_call(errno.EROFS)))
    assert "Read-only file system; no other file was tried" in problem
    monkeypatch.undo()
    assert folder_run.collect_files().known_count == 2


def test_a_file_is_copied_where_it_cannot_be_linked(folder_run: FolderRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in ("one", "two"):
        folder_run.write_settled_file("bill.pdf", content).chmod(0o640)
        monkeypatch.setattr(os, "link", build_failing_call(errno.EXDEV))
        assert folder_run() == []
    assert folder_run.read_files() == {"done/bill-3fc4ccfe.pdf": "two", "done/bill.pdf": "one"}
    status = (folder_run.inbox / "done" / "bill.pdf").stat()
    assert (status.st_mtime, status.st_mode & 0o777) == (SETTLED_TIMESTAMP, 0o640)


def test_a_file_of_many_links_is_moved_under_the_name_that_was_taken(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    os.link(path, folder_run.inbox / "again.pdf")
    assert folder_run() == []
    assert set(folder_run.read_files()) >= {"done/again.pdf"}
    folder_run()
    assert folder_run.read_files() == {"done/again.pdf": "one", "done/bill.pdf": "one"}


def test_another_file_that_came_under_the_name_is_never_taken_away(folder_run: FolderRun) -> None:
    path = folder_run.write_settled_file("bill.pdf")
    entry = find_regular_file(path)
    assert entry is not None
    os.replace(folder_run.write_settled_file("other.pdf", "other"), path)
    assert not move_without_overwrite(folder_run.inbox, entry, ["done"])
    assert folder_run.read_files() == {"bill.pdf": "other"}
