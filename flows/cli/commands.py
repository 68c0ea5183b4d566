"""``invoices``: every command, with what it takes; what it does is elsewhere."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated

import typer

from flows.opening import open_house, sample_inbox
from invoices.documents.outcomes import shown
from invoices.errors import ConfigurationError, InvoicesError
from invoices.house import AlreadyRunning
from invoices.report import Report
from invoices.settings import Settings

PROBLEM, MISCONFIGURED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
LONGEST_PROBLEM = 1_000  # characters

app = typer.Typer(
    name="invoices",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Bring invoices from folders to the books: collect, extract, judge, load, publish, export.",
)

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings file [default: invoices.toml here, if any].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Also print one JSON object as the last line of stdout.")]
Inbox = Annotated[Path | None, typer.Option("--inbox", metavar="DIR", help="Look through this folder instead.")]
Samples = Annotated[bool, typer.Option("--samples", help="Look through the sample documents that are shipped.")]


@app.command()
def run(inbox: Inbox = None, samples: Samples = False, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Do everything once, from the inbox to the accounting files."""
    from flows.driving import WHOLE

    _drive(WHOLE, _settings(settings, inbox, samples), as_json)


@app.command()
def collect(
    inbox: Inbox = None, samples: Samples = False, settings: SettingsFile = None, as_json: AsJson = False
) -> None:
    """Take what the inbox shows into the store and the ledger."""
    from flows.stages import collect as stage

    _drive((stage,), _settings(settings, inbox, samples), as_json)


@app.command()
def extract(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Read new documents: as e-invoices, or by an extraction API."""
    from flows.driving import EXTRACT

    _drive(EXTRACT, _settings(settings), as_json)


@app.command()
def judge(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Hold what was extracted to the rules, and give verdicts."""
    from flows.stages import judge as stage

    _drive((stage,), _settings(settings), as_json)


@app.command()
def load(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Bring what changed into the warehouse, and publish its copy."""
    from flows.stages import load as stage

    _drive((stage,), _settings(settings), as_json)


@app.command()
def publish(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Publish accepted invoices as receipts."""
    from flows.stages import load as load_stage
    from flows.stages import publish as stage

    _drive((stage, load_stage), _settings(settings), as_json)


@app.command()
def export(
    reissue: Annotated[
        str | None,
        typer.Option("--reissue", metavar="BATCH", help="Write the files of this batch again, byte for byte."),
    ] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Write accounting files of what is in no batch yet."""
    from flows.stages import export as stage
    from flows.stages import load as load_stage

    if reissue is None:
        _drive((stage, load_stage), _settings(settings), as_json)
        return
    with _plainly(), open_house(_settings(settings)) as house, house.exclusively():
        from flows.reissuing import reissue as write_again

        directory = write_again(house, reissue)
        typer.echo(f"{directory}: every file is as it was issued")
        if as_json:
            typer.echo(json.dumps({"batch": reissue, "directory": str(directory), "identical": True}))


@app.command()
def plan(inbox: Inbox = None, samples: Samples = False, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Tell what a run would do, whom it would ask and what that takes; nothing is written, no paid call is made."""
    from flows.driving import showing_progress
    from flows.planning import as_text
    from flows.planning import plan as look_ahead

    with _plainly(), open_house(_settings(settings, inbox, samples)) as house:
        house.check_kind()
        with showing_progress("look", "documents") as tick:
            planned = look_ahead(house, tick)
        typer.echo(as_text(planned))
        if as_json:
            typer.echo(json.dumps(planned))


@app.command()
def status(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Show where every document, receipt and export stands."""
    from flows.telling import standing, summary

    with _plainly(), open_house(_settings(settings)) as house:
        typer.echo(summary(house, None))
        if as_json:
            typer.echo(json.dumps(standing(house)))


@app.command()
def explain(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A document's hash (or its beginning), invoice id, invoice number or file name."
        ),
    ],
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one document."""
    from flows.explaining import as_text, stories

    with _plainly(), open_house(_settings(settings)) as house:
        told = stories(house, identity)
        typer.echo("\n\n".join(as_text(story) for story in told))
        if as_json:
            typer.echo(json.dumps({"documents": told}, default=str))


@app.command()
def rebuild(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Make the warehouse anew from the ledger."""
    from flows.stages import load as stage
    from invoices.ledger.changes import WATERMARK
    from invoices.ledger.ledger import set_counter
    from transforms.loading.working import discard

    with _plainly(), open_house(_settings(settings)) as house, house.exclusively():
        discard(house.settings.warehouse_directory)
        with house.ledger.transaction() as tx:
            set_counter(tx, WATERMARK, 0)
    _drive((stage,), _settings(settings), as_json)


@app.command()
def doctor(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Check settings, home, ledger, warehouse and versions."""
    from flows.checking import examine

    with _plainly():
        checks = examine(_settings(settings))
        for check in checks:
            typer.echo(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['detail']}")
        if as_json:
            typer.echo(json.dumps({"checks": checks}))
        if not all(check["ok"] for check in checks):
            raise typer.Exit(PROBLEM)


@app.command()
def sandbox(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it keeps its journal [default: sandbox below the home].")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    settings: SettingsFile = None,
) -> None:
    """Serve stand-ins of the remote APIs, to rehearse against."""
    from sandbox.__main__ import main as serve

    with _plainly():
        chosen = _settings(settings)
        minute = str(chosen.vendor_minute_seconds or 60.0)
        where = str(state or chosen.home / "sandbox")
        raise typer.Exit(serve(["serve", "--state", where, "--port", str(port), "--minute-seconds", minute]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit status 0 done, 1 with problems, 2 wrong settings, 130 or 143 interrupted."""
    os.umask(0o077)  # invoices are for their owner only
    signal.signal(signal.SIGTERM, _terminate)
    app(args=list(arguments) if arguments is not None else None)


def _drive(stages: Sequence[ModuleType], settings: Settings, as_json: bool) -> None:
    from flows.driving import drive
    from flows.telling import outcome, summary

    with _plainly(), open_house(settings) as house:
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
def _plainly() -> Iterator[None]:
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


def _settings(file: Path | None, inbox: Path | None = None, samples: bool = False) -> Settings:
    with _plainly():
        settings = Settings.load(file)
        folder = sample_inbox() if samples else inbox
        if folder is None:
            return settings
        if not folder.is_dir():
            raise ConfigurationError(f"the inbox {str(folder)!r} is not a folder")
        return settings.model_copy(
            update={"inbox": settings.inbox.model_copy(update={"path": folder}), "mailboxes": (), "folders": ()}
        )


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(TERMINATED)
