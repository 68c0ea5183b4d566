"""The commands of ``invoices`` with their options; the work is done in other modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.bootstrap import open_app
from flows.cli.command_runner import (
    EXIT_PROBLEM,
    exit_on_known_errors,
    load_command_settings,
    run_stages_and_print_summary,
)

cli = typer.Typer(
    name="invoices",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Take invoices from mailboxes and folders to the books: collect, extract, validate, load, publish, export.",
)

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="Settings file [default: invoices.toml in this directory, if any]."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Also print one JSON object as the last line of stdout.")]
InboxOption = Annotated[
    Path | None,
    typer.Option("--inbox", metavar="DIR", help="Collect from this folder instead of the configured sources."),
]
SourceOption = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Use this source only.")]
SamplesOption = Annotated[
    bool, typer.Option("--samples", help="Collect the sample documents that come with the program.")
]


@cli.command()
def run(
    inbox: InboxOption = None,
    samples: SamplesOption = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run all stages once, from the sources to the accounting files."""
    from flows.runner import ALL_STAGES

    run_stages_and_print_summary(ALL_STAGES, load_command_settings(settings_file, inbox, samples), as_json)


@cli.command()
def collect(
    source: SourceOption = None,
    inbox: InboxOption = None,
    samples: SamplesOption = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Collect new documents from mailboxes and folders into the store and the ledger."""
    from flows.stages import collect as stage

    run_stages_and_print_summary((stage,), load_command_settings(settings_file, inbox, samples, source), as_json)


@cli.command()
def reconcile(source: SourceOption = None, settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Compare the listing of each source with the ledger: what is missing, and what was collected twice."""
    from flows.reports.reconcile import format_reconciliation, reconcile_sources
    from flows.runner import show_progress

    with exit_on_known_errors(), open_app(load_command_settings(settings_file, source_name=source)) as app:
        with show_progress("Comparing", "mails and files") as advance_progress:
            reconciliation = reconcile_sources(app, advance_progress)
        typer.echo(format_reconciliation(reconciliation))
        if as_json:
            typer.echo(json.dumps(reconciliation))
        if not reconciliation["sound"]:
            raise typer.Exit(EXIT_PROBLEM)


@cli.command()
def extract(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Extract new documents: e-invoices locally, the others with an extraction API."""
    from flows.runner import EXTRACT_STAGES

    run_stages_and_print_summary(EXTRACT_STAGES, load_command_settings(settings_file), as_json)


@cli.command()
def validate(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Validate what was extracted against the rules, and give each candidate a verdict."""
    from flows.stages import validate as stage

    run_stages_and_print_summary((stage,), load_command_settings(settings_file), as_json)


@cli.command(hidden=True)
def judge(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Validate: the old name of the command, which goes with the next release."""
    typer.echo("'invoices judge' is now 'invoices validate'; the old name goes with the next release", err=True)
    validate(settings_file, as_json)


@cli.command()
def load(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Load what changed into the warehouse, and publish its copy for analysts."""
    from flows.stages import load as stage

    run_stages_and_print_summary((stage,), load_command_settings(settings_file), as_json)


@cli.command()
def publish(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Publish accepted invoices as receipts, then load their status."""
    from flows.stages import load as load_stage
    from flows.stages import publish as stage

    run_stages_and_print_summary((stage, load_stage), load_command_settings(settings_file), as_json)


@cli.command()
def export(
    reissue: Annotated[
        str | None,
        typer.Option("--reissue", metavar="BATCH", help="Write the files of this batch again, byte for byte."),
    ] = None,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the accounting files of accepted invoices that are in no batch yet."""
    from flows.stages import export as stage
    from flows.stages import load as load_stage

    if reissue is None:
        run_stages_and_print_summary((stage, load_stage), load_command_settings(settings_file), as_json)
        return
    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app, app.acquire_run_lock():
        from flows.reissue_batch import reissue_batch

        directory = reissue_batch(app, reissue)
        typer.echo(f"{directory}: written again, every file identical to the issued one")
        if as_json:
            typer.echo(json.dumps({"batch": reissue, "directory": str(directory), "identical": True}))


@cli.command()
def plan(
    inbox: InboxOption = None,
    samples: SamplesOption = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do, which extractors it would use and the effort; no paid call, nothing written."""
    from flows.reports.plan import format_plan, plan_run
    from flows.runner import show_progress

    with exit_on_known_errors(), open_app(load_command_settings(settings_file, inbox, samples)) as app:
        app.check_rehearsal_mode()
        with show_progress("Planning", "documents") as advance_progress:
            run_plan = plan_run(app, advance_progress)
        typer.echo(format_plan(run_plan))
        if as_json:
            typer.echo(json.dumps(run_plan))


@cli.command()
def status(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Show the state of all documents, receipts and exports."""
    from flows.reports.run_summary import format_run_summary, get_pipeline_status

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        typer.echo(format_run_summary(app, None))
        if as_json:
            typer.echo(json.dumps(get_pipeline_status(app)))


@cli.command()
def explain(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A document's hash (or its beginning), invoice id or number, file name, or a Message-ID."
        ),
    ],
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the whole history of a document or mail."""
    from flows.reports.history import format_history, list_document_histories

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        histories = list_document_histories(app, identity)
        typer.echo("\n\n".join(format_history(history) for history in histories))
        if as_json:
            typer.echo(json.dumps({"documents": histories}, default=str))


@cli.command()
def rebuild(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Rebuild the warehouse from the ledger."""
    from flows.stages import load as stage
    from invoices.ledger.changes import WATERMARK_COUNTER
    from invoices.ledger.ledger import set_counter_value
    from transforms.loading.working_warehouse import delete_working_warehouse

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app, app.acquire_run_lock():
        app.check_rehearsal_mode()
        delete_working_warehouse(app.settings.warehouse_directory)
        with app.ledger.begin_transaction() as tx:
            set_counter_value(tx, WATERMARK_COUNTER, 0)
    run_stages_and_print_summary((stage,), load_command_settings(settings_file), as_json)


@cli.command()
def doctor(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Check settings, home directory, sources, ledger, warehouse and versions."""
    from flows.reports.doctor import run_health_checks

    with exit_on_known_errors():
        checks = run_health_checks(load_command_settings(settings_file))
        for check in checks:
            typer.echo(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['detail']}")
        if as_json:
            typer.echo(json.dumps({"checks": checks}))
        if not all(check["ok"] for check in checks):
            raise typer.Exit(EXIT_PROBLEM)


@cli.command()
def sandbox(
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of its journal [default: sandbox in the home directory]."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")] = 0,
    settings_file: SettingsOption = None,
) -> None:
    """Serve stand-ins of the remote APIs for rehearsals."""
    from sandbox.__main__ import main as serve

    with exit_on_known_errors():
        loaded_settings = load_command_settings(settings_file)
        minute_seconds = str(loaded_settings.vendor_minute_seconds or 60.0)
        state_directory = str(state or loaded_settings.home / "sandbox")
        raise typer.Exit(
            serve(["serve", "--state", state_directory, "--port", str(port), "--minute-seconds", minute_seconds])
        )
