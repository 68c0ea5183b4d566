"""The commands of ``invoices`` with their options; the work is done in other modules."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated

import typer

from flows.bootstrap import open_app
from flows.cli.command_runner import (
    EXIT_PROBLEM,
    exit_on_known_errors,
    load_command_settings,
    print_file_check,
    run_stages_and_print_summary,
)
from flows.cli.extraction_commands import extraction_cli
from flows.cli.options import InboxOption, JsonOption, SamplesOption, SettingsOption, SourceOption
from flows.cli.receipt_commands import receipts_cli
from flows.cli.report_commands import doctor, explain, sandbox, status
from flows.cli.retry_command import retry

cli = typer.Typer(
    name="invoices",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(extraction_cli, name="extraction")
cli.add_typer(receipts_cli, name="receipts")


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"invoices {importlib.metadata.version('invoices')}")
        raise typer.Exit


@cli.callback()
def show_version(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Take invoices from mailboxes and folders to the books: collect, extract, validate, load, publish, export."""


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
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Also collect documents of the store that a restored ledger lacks.")
    ] = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Collect new documents from mailboxes and folders.

    They go into the store and the ledger.
    """
    from flows.stages import collect as stage

    settings = load_command_settings(settings_file, inbox, samples, source)
    if adopt:
        with exit_on_known_errors(), open_app(settings) as app:
            app.begin_recovery()
    run_stages_and_print_summary((stage,), settings, as_json)


@cli.command()
def reconcile(
    source: SourceOption = None,
    inbox: InboxOption = None,
    samples: SamplesOption = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what each source lists with the ledger.

    Show what is missing, and what was collected twice.
    """
    from flows.progress import show_progress
    from flows.reports.reconcile import format_reconciliation, reconcile_sources

    with exit_on_known_errors(), open_app(load_command_settings(settings_file, inbox, samples, source)) as app:
        with show_progress("Comparing", "places") as advance_progress:
            reconciliation = reconcile_sources(app, advance_progress)
        typer.echo(format_reconciliation(reconciliation))
        if as_json:
            typer.echo(json.dumps(reconciliation))
        if not reconciliation["sound"]:
            raise typer.Exit(EXIT_PROBLEM)


@cli.command()
def extract(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Extract new documents: locally, or with an extraction API.

    E-invoices are read locally and cost nothing.
    """
    from flows.runner import EXTRACT_STAGES

    run_stages_and_print_summary(EXTRACT_STAGES, load_command_settings(settings_file), as_json)


@cli.command()
def validate(
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Only check this e-invoice against the official rules."),
    ] = None,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Validate what was extracted, and give each a verdict."""
    if file is not None:
        print_file_check(load_command_settings(settings_file), file, as_json)
        return
    from flows.stages import validate as stage

    run_stages_and_print_summary((stage,), load_command_settings(settings_file), as_json)


@cli.command(hidden=True)
def judge(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Validate: the old name of the command, which goes with the next release."""
    typer.echo("'invoices judge' is now 'invoices validate'; the old name goes with the next release", err=True)
    validate(None, settings_file, as_json)


@cli.command()
def load(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Load what changed into the warehouse.

    Then publish its copy for analysts.
    """
    from flows.stages import load as stage

    run_stages_and_print_summary((stage,), load_command_settings(settings_file), as_json)


@cli.command()
def publish(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Publish accepted invoices as receipts.

    Then load their status.
    """
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
    """Write the accounting files of accepted invoices.

    An invoice that is already in a batch is not written again.
    """
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
    """Show what a run would do; nothing is written or paid.

    It also shows which extractors it would use, for how many pages, and how long it would take.
    """
    from flows.progress import show_progress
    from flows.reports.plan import format_plan, plan_run

    with exit_on_known_errors(), open_app(load_command_settings(settings_file, inbox, samples)) as app:
        app.check_rehearsal_mode()
        with show_progress("Planning", "documents") as advance_progress:
            run_plan = plan_run(app, advance_progress)
        typer.echo(format_plan(run_plan))
        if as_json:
            typer.echo(json.dumps(run_plan))


@cli.command()
def rebuild(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Rebuild the warehouse from the ledger."""
    from flows.stages import load as stage
    from transforms.loading.working_warehouse import delete_working_warehouse

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app, app.acquire_run_lock():
        app.check_rehearsal_mode()
        delete_working_warehouse(app.settings.warehouse_directory)
    run_stages_and_print_summary((stage,), load_command_settings(settings_file), as_json)


for command in (status, explain, retry, doctor, sandbox):
    cli.command()(command)
