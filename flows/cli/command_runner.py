"""What all commands share: load the settings, run the stages, turn errors into a sentence and an exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import typer

from flows.bootstrap import get_sample_inbox, open_app
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import ConfigurationError
from invoices.run_lock import AlreadyRunning
from invoices.run_report import RunReport
from invoices.settings import Settings

EXIT_PROBLEM, EXIT_MISCONFIGURED = 1, 2
MAX_PROBLEM_CHARS = 1_000  # characters
WORK_KEPT_HINT = "The work done so far is kept; see: invoices status"


def run_stages_and_print_summary(stages: Sequence[ModuleType], settings: Settings, as_json: bool) -> None:
    """Run the stages, print the problems and the summary, and exit with 1 if there were problems."""
    from flows.reports.run_summary import format_run_summary, get_run_result
    from flows.runner import run_stages

    with exit_on_known_errors(), open_app(settings) as app:
        report = RunReport()
        try:
            run_stages(app, stages, report)
        finally:
            for problem in report.problems:
                typer.echo(f"problem: {sanitise_for_display(problem, MAX_PROBLEM_CHARS)}", err=True)
        typer.echo(format_run_summary(app, report))
        if as_json:
            typer.echo(json.dumps(get_run_result(app, report)))
        if report.problems:
            raise typer.Exit(EXIT_PROBLEM)


def print_file_check(settings: Settings, file: Path, as_json: bool) -> None:
    """Print the official result about one file, and exit with 1 unless the file is valid."""
    from flows.reports.rule_check import check_file, format_file_check

    with exit_on_known_errors():
        result = check_file(settings, file)
        typer.echo(_sanitise_lines(format_file_check(result)))
        if as_json:
            typer.echo(json.dumps(result))
        if not result["valid"]:
            raise typer.Exit(EXIT_PROBLEM)


@contextmanager
def exit_on_known_errors() -> Iterator[None]:
    """Turn expected errors into one sentence and an exit status, without a traceback."""
    try:
        yield
    except AlreadyRunning as already_running:
        typer.echo(str(already_running), err=True)
        raise typer.Exit(0) from None
    except ConfigurationError as error:
        typer.echo(f"invoices: {_sanitise_lines(str(error))}", err=True)
        raise typer.Exit(EXIT_MISCONFIGURED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        from flows.unexpected_errors import find_known_cause

        cause = find_known_cause(error)
        if cause is None:
            raise
        typer.echo(f"invoices: {_sanitise_lines(cause)}\n{WORK_KEPT_HINT}", err=True)
        raise typer.Exit(EXIT_PROBLEM) from None


def _sanitise_lines(message: str) -> str:
    """Return a message, which may quote foreign text, for a terminal; it keeps its lines."""
    return "\n".join(sanitise_for_display(line, MAX_PROBLEM_CHARS) for line in message.splitlines())


def load_command_settings(
    settings_file: Path | None, inbox: Path | None = None, samples: bool = False, source_name: str | None = None
) -> Settings:
    """Return the settings of the file and the environment, with what the options of the command replace."""
    with exit_on_known_errors():
        if [source_name is None, inbox is None, not samples].count(False) > 1:
            raise ConfigurationError("choose one of --source, --inbox and --samples")
        settings = Settings.load(settings_file)
        if source_name is not None:
            settings = settings.with_only_source(source_name)
        folder = get_sample_inbox() if samples else inbox
        if folder is None:
            return settings
        if not folder.is_dir():
            raise ConfigurationError(f"the inbox {str(folder)!r} is not a folder")
        return settings.model_copy(
            update={"inbox": settings.inbox.model_copy(update={"path": folder}), "mailboxes": (), "folders": ()}
        )
