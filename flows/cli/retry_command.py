"""The command that reads, extracts and validates documents again, after asking before it pays."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.bootstrap import open_app
from flows.cli.command_runner import EXIT_PROBLEM, MAX_PROBLEM_CHARS, exit_on_known_errors, load_command_settings
from flows.cli.options import JsonOption, SettingsOption


def retry(
    identities: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="A document's hash (or its beginning), invoice id or number, file name, or a Message-ID.",
        ),
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Only documents in this state, e.g. quarantined.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="CODE", help="Only documents with this reason code, e.g. BR-CO-15."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Pay for the pages without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done, and what it costs.")
    ] = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read, extract and validate documents again.

    Use it after an upgrade, with a better setting, or with another extraction API. It asks before it pays.
    """
    run_retry(identities or [], state, reason, settings_file, is_confirmed=yes, is_dry_run=dry_run, as_json=as_json)


def run_retry(
    identities: list[str],
    state: str | None,
    reason_code: str | None,
    settings_file: Path | None,
    *,
    is_confirmed: bool,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    """Plan the retry, ask if it costs something, do it, and print the result."""
    from flows.progress import show_progress
    from flows.reports.retry_report import build_retry_result, format_retry_outcome, format_retry_plan
    from flows.retry import execute_retry, plan_retry, select_documents
    from invoices.documents.outcomes import sanitise_for_display
    from invoices.run_lock import AlreadyRunning
    from invoices.run_report import RunReport

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        app.check_rehearsal_mode()
        rows, report = select_documents(app, identities, state, reason_code), RunReport()
        with show_progress("Reading again", "documents") as advance_progress:
            plan = plan_retry(app, rows, advance_progress)
        typer.echo(format_retry_plan(app, plan))
        is_executed = bool(plan.retried_hashes) and not is_dry_run and (is_confirmed or _ask_before_paying(plan.pages))
        if is_executed:
            try:
                execute_retry(app, plan, report)
            except AlreadyRunning as already_running:
                report.problems.append(f"{already_running}; it continues with these documents, or the next run does")
            typer.echo(format_retry_outcome(app, plan, report))
        for problem in report.problems:
            typer.echo(f"problem: {sanitise_for_display(problem, MAX_PROBLEM_CHARS)}", err=True)
        if as_json:
            typer.echo(json.dumps(build_retry_result(app, plan, report, is_executed=is_executed)))
        if report.problems:
            raise typer.Exit(EXIT_PROBLEM)


def _ask_before_paying(pages: int) -> bool:
    """Return whether to go on: at once if nothing is charged, else as the person answers.

    Raises:
        ConfigurationError: there is nobody to ask.
    """
    from flows.plurals import format_count
    from invoices.errors import ConfigurationError

    if pages == 0:
        return True
    question = f"Submit {format_count(pages, 'page')}?"
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Nobody can answer here, and nothing was changed: add --yes")
    return typer.confirm(question, err=True)
