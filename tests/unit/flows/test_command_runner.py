"""How a command ends when something is raised in it."""

from __future__ import annotations

import pytest
import typer

from flows.cli.command_runner import EXIT_PROBLEM, exit_on_known_errors


def test_a_failure_by_itself_is_one_sentence_and_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_info, exit_on_known_errors():
        raise OSError(28, "No space left on device")
    assert exit_info.value.exit_code == EXIT_PROBLEM
    assert capsys.readouterr().err.startswith("invoices: [Errno 28] No space left on device\n")
