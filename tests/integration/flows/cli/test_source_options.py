"""The sources of a command: one by name, a folder instead of all, or the samples; never two of these."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from flows.cli.command_runner import EXIT_MISCONFIGURED, load_command_settings


def test_a_folder_given_as_an_option_replaces_all_sources(tmp_path: Path) -> None:
    file = tmp_path / "invoices.toml"
    file.write_text(f'home = "{tmp_path}/home"\n[[folders]]\nname = "scans"\nurl = "/in"\n')
    (source,) = load_command_settings(file, inbox=tmp_path).sources
    assert (source.name, load_command_settings(file).sources[0].name) == ("inbox", "scans")


@pytest.mark.parametrize("samples", [True, False])
def test_a_source_and_a_folder_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], samples: bool
) -> None:
    file = tmp_path / "invoices.toml"
    file.write_text(f'home = "{tmp_path}/home"\n')
    with pytest.raises(typer.Exit) as exit_info:
        load_command_settings(file, inbox=None if samples else tmp_path, samples=samples, source_name="inbox")
    assert exit_info.value.exit_code == EXIT_MISCONFIGURED
    assert "choose one of --source, --inbox and --samples" in capsys.readouterr().err
