"""How every command is run: settings found, the stages driven, mistakes told in one sentence with an exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType

import typer

from flows.opening import open_house, sample_inbox
from invoices.documents.outcomes import shown
from invoices.errors import ConfigurationError, InvoicesError
from invoices.house import AlreadyRunning
from invoices.report import Report
from invoices.settings import Settings

PROBLEM, MISCONFIGURED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
LONGEST_PROBLEM = 1_000  # characters


def drive_stages(stages: Sequence[ModuleType], settings: Settings, as_json: bool) -> None:
    """Drive the stages, say what they did, and exit with 1 where there were problems."""
    from flows.driving import drive
    from flows.telling import outcome, summary

    with plainly(), open_house(settings) as house:
        report = Report()
        try:
            drive(house, stages, report)
        finally:
            _say_problems(report)
        typer.echo(summary(house, report))
        if as_json:
            typer.echo(json.dumps(outcome(house, report)))
        if report.problems:
            raise typer.Exit(PROBLEM)


def _say_problems(report: Report) -> None:
    for problem in report.problems:
        typer.echo(f"problem: {shown(problem, LONGEST_PROBLEM)}", err=True)


@contextmanager
def plainly() -> Iterator[None]:
    """Turn our errors into one sentence and an exit status; no traceback for what we foresaw."""
    try:
        yield
    except AlreadyRunning as busy:
        typer.echo(str(busy), err=True)
        raise typer.Exit(0) from None
    except ConfigurationError as error:
        typer.echo(f"invoices: {error}", err=True)
        raise typer.Exit(MISCONFIGURED) from None
    except InvoicesError as error:
        typer.echo(f"invoices: {error}\nWhat was done so far is kept; see: invoices status", err=True)
        raise typer.Exit(PROBLEM) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        cause = _foreseen(error)
        if cause is None:
            raise
        typer.echo(f"invoices: {cause}\nWhat was done so far is kept; see: invoices status", err=True)
        raise typer.Exit(PROBLEM) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _foreseen(error: BaseException | None) -> str | None:
    """Return what an engine's error hides and a person can act on: one of ours, the system's or the ledger's."""
    from sqlalchemy.exc import OperationalError

    while error is not None and not isinstance(error, (InvoicesError, OSError)):
        if isinstance(error, OperationalError):  # a full disk, too; SQLite does not say it as an OSError
            return f"the ledger: {error.orig}"
        error = error.__cause__ or error.__context__
    return None if error is None else str(error)


def settings_of(
    file: Path | None, inbox: Path | None = None, samples: bool = False, source: str | None = None
) -> Settings:
    """Return the settings of a command: those of the file and the environment, with what its options replace."""
    with plainly():
        if [source is None, inbox is None, not samples].count(False) > 1:
            raise ConfigurationError("choose one of --source, --inbox and --samples")
        settings = Settings.load(file)
        if source is not None:
            settings = settings.only(source)
        folder = sample_inbox() if samples else inbox
        if folder is None:
            return settings
        if not folder.is_dir():
            raise ConfigurationError(f"the inbox {str(folder)!r} is not a folder")
        return settings.model_copy(
            update={"inbox": settings.inbox.model_copy(update={"path": folder}), "mailboxes": (), "folders": ()}
        )


def terminate(_signal: int, _frame: FrameType | None) -> None:
    """End as SIGTERM wants it."""
    sys.exit(TERMINATED)
