"""The commands of ``invoices`` that only report, and the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.bootstrap import open_app
from flows.cli.command_runner import EXIT_PROBLEM, MAX_PROBLEM_CHARS, exit_on_known_errors, load_command_settings
from flows.cli.options import JsonOption, SettingsOption
from invoices.documents.outcomes import sanitise_for_display


def status(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Show the state of documents, receipts and exports.

    It also shows which documents wait, why, and what comes next.
    """
    from flows.reports.run_summary import format_run_summary, get_pipeline_status
    from flows.reports.waiting_documents import list_waiting_documents

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        typer.echo(format_run_summary(app, None))
        if as_json:
            typer.echo(json.dumps({**get_pipeline_status(app), "waiting_documents": list_waiting_documents(app)}))


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


def doctor(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Check settings, home, sources, ledger and versions.

    It also checks the warehouse and the document readers. Nothing is changed, and no vendor is called.
    """
    from flows.reports.doctor import run_health_checks

    with exit_on_known_errors():
        checks = run_health_checks(load_command_settings(settings_file))
        for check in checks:
            detail = sanitise_for_display(check["detail"], MAX_PROBLEM_CHARS)
            typer.echo(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {detail}")
        if as_json:
            typer.echo(json.dumps({"checks": checks}))
        if not all(check["ok"] for check in checks):
            raise typer.Exit(EXIT_PROBLEM)


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
