"""Only the owner can read what a run writes, whatever the umask of its process is and however the home was made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.bootstrap import open_app
from flows.runner import ALL_STAGES, run_stages
from flows.unexpected_errors import describe_error
from invoices.private_files import make_private_directory, make_private_file, open_privately
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, Settings
from invoices.settings.settings import ReadingSettings
from tests.run_environment import SAMPLES


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that denies nothing."""
    previous_umask = os.umask(0)
    yield
    os.umask(previous_umask)


def list_open_paths(directory: Path) -> list[str]:
    """Return the paths below a directory that others than the owner can read, with their modes."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in directory.rglob("*") if not path.is_symlink()}
    return [f"{path.relative_to(directory)} {mode:o}" for path, mode in modes.items() if mode & 0o077]


@pytest.mark.usefixtures("open_umask")
def test_every_file_of_a_run_is_private_in_a_home_that_is_not(tmp_path: Path) -> None:
    home, inbox = tmp_path / "home", tmp_path / "inbox"
    home.mkdir(mode=0o755)
    inbox.mkdir()
    sample = next(iter(sorted((SAMPLES / "inbox").rglob("*.xml"))))
    (inbox / sample.name).write_bytes(sample.read_bytes())
    settings = Settings(
        home=home,
        folders=(FolderSettings(name="scans", url=str(inbox), settle_seconds=0),),
        reading=ReadingSettings(workers=1),
    )
    with open_app(settings) as app:
        report = run_stages(app, ALL_STAGES, RunReport())
        describe_error(settings, "stage 'load'", ValueError("unexpected"))
        paths_during_run = list_open_paths(home)
    assert report.problems == []
    assert (home / "exports").is_dir()
    assert (home / "budgets.sqlite").exists()
    assert paths_during_run == []
    assert list_open_paths(home) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    previous_umask = os.umask(umask)
    try:
        make_private_directory(tmp_path / "private")
        make_private_file(tmp_path / "private" / "made")
        with open(tmp_path / "private" / "opened", "w", encoding="utf-8", opener=open_privately) as file:
            file.write("x")
    finally:
        os.umask(previous_umask)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "private").iterdir()] == [0o600, 0o600]


def test_a_file_that_others_can_read_is_made_private_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").touch()
    (tmp_path / "ledger.sqlite").chmod(0o644)
    make_private_file(tmp_path / "ledger.sqlite")
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600
