"""``invoices``: every command, with what it takes; what it does is elsewhere."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.running import PROBLEM, drive_stages, plainly, settings_of, terminate
from flows.opening import open_house

app = typer.Typer(
    name="invoices",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Bring invoices from mailboxes and folders to the books: collect, extract, judge, load, publish, export.",
)

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings file [default: invoices.toml here, if any].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Also print one JSON object as the last line of stdout.")]
Inbox = Annotated[Path | None, typer.Option("--inbox", metavar="DIR", help="Look through this folder instead.")]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Look at this source alone.")]
Samples = Annotated[bool, typer.Option("--samples", help="Look through the sample documents that are shipped.")]


@app.command()
def run(inbox: Inbox = None, samples: Samples = False, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Do everything once, from the inbox to the accounting files."""
    from flows.driving import WHOLE

    drive_stages(WHOLE, settings_of(settings, inbox, samples), as_json)


@app.command()
def collect(
    source: Source = None,
    inbox: Inbox = None,
    samples: Samples = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Take what mailboxes and folders show into the store and the ledger."""
    from flows.stages import collect as stage

    drive_stages((stage,), settings_of(settings, inbox, samples, source), as_json)


@app.command()
def reconcile(source: Source = None, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Compare each source's own listing with the ledger: what is missing, and what was taken twice."""
    from flows.driving import showing_progress
    from flows.reconciling import as_text
    from flows.reconciling import reconcile as compare

    with plainly(), open_house(settings_of(settings, source=source)) as house:
        with showing_progress("reconcile", "places") as tick:
            compared = compare(house, tick)
        typer.echo(as_text(compared))
        if as_json:
            typer.echo(json.dumps(compared))
        if not compared["sound"]:
            raise typer.Exit(PROBLEM)


@app.command()
def extract(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Read new documents: as e-invoices, or by an extraction API."""
    from flows.driving import EXTRACT

    drive_stages(EXTRACT, settings_of(settings), as_json)


@app.command()
def judge(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Hold what was extracted to the rules, and give verdicts."""
    from flows.stages import judge as stage

    drive_stages((stage,), settings_of(settings), as_json)


@app.command()
def load(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Bring what changed into the warehouse, and publish its copy."""
    from flows.stages import load as stage

    drive_stages((stage,), settings_of(settings), as_json)


@app.command()
def publish(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Publish accepted invoices as receipts."""
    from flows.stages import load as load_stage
    from flows.stages import publish as stage

    drive_stages((stage, load_stage), settings_of(settings), as_json)


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
        drive_stages((stage, load_stage), settings_of(settings), as_json)
        return
    with plainly(), open_house(settings_of(settings)) as house, house.exclusively():
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

    with plainly(), open_house(settings_of(settings, inbox, samples)) as house:
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

    with plainly(), open_house(settings_of(settings)) as house:
        typer.echo(summary(house, None))
        if as_json:
            typer.echo(json.dumps(standing(house)))


@app.command()
def explain(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A document's hash (or its beginning), invoice id or number, file name, or a Message-ID."
        ),
    ],
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one document."""
    from flows.explaining import as_text, stories

    with plainly(), open_house(settings_of(settings)) as house:
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

    with plainly(), open_house(settings_of(settings)) as house, house.exclusively():
        discard(house.settings.warehouse_directory)
        with house.ledger.transaction() as tx:
            set_counter(tx, WATERMARK, 0)
    drive_stages((stage,), settings_of(settings), as_json)


@app.command()
def doctor(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Check settings, home, ledger, warehouse and versions."""
    from flows.checking import examine

    with plainly():
        checks = examine(settings_of(settings))
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

    with plainly():
        chosen = settings_of(settings)
        minute = str(chosen.vendor_minute_seconds or 60.0)
        where = str(state or chosen.home / "sandbox")
        raise typer.Exit(serve(["serve", "--state", where, "--port", str(port), "--minute-seconds", minute]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit status 0 done, 1 with problems, 2 wrong settings, 130 or 143 interrupted."""
    os.umask(0o077)  # invoices are for their owner only
    signal.signal(signal.SIGTERM, terminate)
    app(args=list(arguments) if arguments is not None else None)
