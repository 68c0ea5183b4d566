"""What becomes of files once they are safe: moved beside, each of them once, nothing overwritten, nothing outside."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.landing import Landing
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.parts import Unwrapped
from invoices.errors import ConfigurationError
from invoices.settings.intake import Folder
from sources.folder import Seen, folder, move_taken
from sources.folder.listing import look_at
from sources.folder.moving import move_file

OLD = 1_700_000_000


class Closed:
    """Opens no container."""

    def unwrap(self, _container: bytes | Path, _landing: Landing, _file_name: str | None = None) -> Unwrapped:
        return Unwrapped(reason_code="damaged_archive")


class Run:
    """A run: collects, writes into a ledger of its own, moves."""

    def __init__(self, tmp_path: Path, target: str = "done") -> None:
        self.inbox, self.store = tmp_path / "inbox", DocumentStore(tmp_path / "documents")
        self.inbox.mkdir()
        self.settings = Folder(name="inbox", url=str(self.inbox), after=f"move:{target}")
        self.taken: dict[str, set[str]] = {}

    def known(self, _locations: Sequence[str]) -> Mapping[str, set[str]]:
        return self.taken

    def collect(self) -> Seen:
        seen = Seen()
        for row in folder(self.settings, self.store, Closed(), self.known, seen, lambda _seconds: None):
            for one in row["sightings"]:
                self.taken.setdefault(one["location"], set()).add(one["fingerprint"])
        return seen

    def __call__(self, between: Callable[[], object] = int) -> list[str]:
        seen = self.collect()
        between()
        return move_taken(self.settings, self.known, seen.movable)

    def lay(self, name: str, content: str = "one") -> Path:
        place = self.inbox / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
        os.utime(place, (OLD, OLD))
        return place

    def files(self) -> dict[str, str]:
        found = (path for path in sorted(self.inbox.rglob("*")) if path.is_file())
        return {path.relative_to(self.inbox).as_posix(): path.read_text() for path in found}


def refusing(number: int) -> Callable[..., None]:
    """Return what the system's own call does on a filesystem that has not what it takes."""

    def refuse(*_given: Any, **_more: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run over an empty folder whose files go to ``done``."""
    return Run(tmp_path)


def test_files_go_beside_with_their_folders_and_are_not_looked_at_there(run: Run) -> None:
    run.lay("a.pdf", "a")
    run.lay("Acme/2026/b.pdf", "b")
    assert run() == []
    assert run.files() == {"done/Acme/2026/b.pdf": "b", "done/a.pdf": "a"}
    assert run.collect() == Seen()


def test_a_name_that_is_taken_gets_a_suffix_from_the_content(run: Run) -> None:
    for content in ("one", "two", "two"):
        run.lay("bill.pdf", content)
        assert run() == []
    assert run.files() == {
        "done/bill-3fc4ccfe-2.pdf": "two", "done/bill-3fc4ccfe.pdf": "two", "done/bill.pdf": "one",
    }  # fmt: skip


def test_a_file_written_to_after_it_was_taken_stays(run: Run) -> None:
    run.lay("bill.pdf")
    assert run(lambda: run.lay("bill.pdf", "changed")) == []
    assert run.files() == {"bill.pdf": "changed"}
    assert run() == []
    assert run.files() == {"done/bill.pdf": "changed"}


def test_a_file_that_the_ledger_does_not_know_stays(run: Run) -> None:
    run.lay("bill.pdf")
    seen = run.collect()
    run.taken.clear()  # the run died before the transaction
    assert move_taken(run.settings, run.known, seen.movable) == []
    assert run.files() == {"bill.pdf": "one"}


def test_a_run_killed_before_the_move_is_made_good_by_the_next(run: Run) -> None:
    run.lay("bill.pdf")
    run.collect()
    seen = run.collect()
    assert seen.known == 1
    assert move_taken(run.settings, run.known, seen.movable) == []
    assert run.files() == {"done/bill.pdf": "one"}


def test_a_run_killed_in_the_middle_of_the_move_leaves_one_file_in_the_end(run: Run) -> None:
    place = run.lay("bill.pdf")
    (run.inbox / "done").mkdir()
    os.link(place, run.inbox / "done" / "bill.pdf")
    assert run() == []
    assert run.files() == {"done/bill.pdf": "one"}


def test_a_file_that_somebody_takes_away_meanwhile_is_no_trouble(run: Run) -> None:
    place = run.lay("bill.pdf")
    assert run(place.unlink) == []
    assert run.files() == {}


def test_no_link_leads_out_of_the_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    run.lay("bill.pdf")
    (run.inbox / "done").symlink_to(tmp_path / "outside")
    (told,) = run()
    assert "cannot be moved" in told
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("target", ["../done", "/tmp/done", "a/../../b"])
def test_a_target_outside_of_the_folder_is_a_configuration_error(tmp_path: Path, target: str) -> None:
    with pytest.raises(ConfigurationError, match="not a folder beside"):
        Run(tmp_path, target).collect()


def test_a_share_that_may_not_be_written_to_is_told_once_and_taken_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.lay("a.pdf")
    run.lay("b.pdf", "two")
    (told,) = run(lambda: monkeypatch.setattr(os, "mkdir", refusing(errno.EROFS)))
    assert "Read-only file system; no other file was tried" in told
    monkeypatch.undo()
    assert run.collect().known == 2


def test_a_file_is_copied_where_it_cannot_be_linked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in ("one", "two"):
        run.lay("bill.pdf", content).chmod(0o640)
        monkeypatch.setattr(os, "link", refusing(errno.EXDEV))
        assert run() == []
    assert run.files() == {"done/bill-3fc4ccfe.pdf": "two", "done/bill.pdf": "one"}
    status = (run.inbox / "done" / "bill.pdf").stat()
    assert (status.st_mtime, status.st_mode & 0o777) == (OLD, 0o640)


def test_a_file_of_many_links_is_moved_under_the_name_that_was_taken(run: Run) -> None:
    place = run.lay("bill.pdf")
    os.link(place, run.inbox / "again.pdf")
    assert run() == []
    assert set(run.files()) >= {"done/again.pdf"}
    run()
    assert run.files() == {"done/again.pdf": "one", "done/bill.pdf": "one"}


def test_another_file_that_came_under_the_name_is_never_taken_away(run: Run) -> None:
    place = run.lay("bill.pdf")
    entry = look_at(place)
    assert entry is not None
    os.replace(run.lay("other.pdf", "other"), place)
    assert not move_file(run.inbox, entry, ["done"])
    assert run.files() == {"bill.pdf": "other"}
