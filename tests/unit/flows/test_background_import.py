"""Modules of a later stage are imported once, beside the work of an earlier one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.background_import import open_background_import


@pytest.fixture
def module_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that nobody has imported and that notes each time it runs in a file beside it."""
    (tmp_path / "slow_module.py").write_text(
        "from pathlib import Path\nwith (Path(__file__).parent / 'runs').open('a') as runs:\n    runs.write('x')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "slow_module", raising=False)
    return "slow_module"


def test_a_module_is_imported_once_and_is_there_after_the_wait(module_name: str, tmp_path: Path) -> None:
    with open_background_import([module_name]) as background_import:
        background_import.start()
        background_import.start()
        background_import.wait()
        assert (tmp_path / "runs").read_text() == "x"
        assert module_name in sys.modules


def test_nothing_is_imported_before_the_start_or_after_the_wait(module_name: str, tmp_path: Path) -> None:
    with open_background_import([module_name]) as background_import:
        background_import.wait()
        background_import.start()
    assert not (tmp_path / "runs").exists()
    assert module_name not in sys.modules


def test_a_module_that_fails_is_left_to_the_stage_that_needs_it() -> None:
    with open_background_import(["no_such_module"]) as background_import:
        background_import.start()
        background_import.wait()
    with pytest.raises(ImportError):
        __import__("no_such_module")
