"""The commands of ``invoices extraction``: submissions that may have been paid for and are without an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.bootstrap import open_app
from flows.cli.command_runner import EXIT_PROBLEM, exit_on_known_errors, load_command_settings
from flows.cli.options import JsonOption, SettingsOption

if TYPE_CHECKING:  # takes a second to import
    from flows.lost_extractions import Decision
    from invoices.app import App
    from invoices.ledger.lost_extractions import LostExtraction

extraction_cli = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Decide about paid extractions without an answer."
)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An id from the list, or a document's hash; its beginning is enough.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
MAX_REASON_CHARS = 300


@extraction_cli.command("list")
def list_extractions(settings_file: SettingsOption = None, as_json: JsonOption = False) -> None:
    """List the submissions that may have been charged and whose answer no run fetches any more."""
    from flows.lost_extractions import list_all_lost_extractions, to_json

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        lost_extractions = list_all_lost_extractions(app)
        for lost_extraction in lost_extractions:
            typer.echo(_format_lost_extraction(lost_extraction))
        if not lost_extractions:
            typer.echo("No extraction without an answer may have been charged.")
        if as_json:
            typer.echo(json.dumps({"extractions": [to_json(lost_extraction) for lost_extraction in lost_extractions]}))


@extraction_cli.command()
def adopt(
    identity: IdArgument,
    job: Annotated[
        str | None, typer.Option("--job", metavar="JOB", help="The vendor's id of the job, if the ledger has none.")
    ] = None,
    answer: Annotated[
        Path | None, typer.Option("--answer", metavar="FILE", help="A JSON file with the vendor's answer.")
    ] = None,
    yes: YesOption = False,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the answer of a paid extraction from the vendor and validate it with the next run; costs nothing."""
    from flows.lost_extractions import adopt_answer, read_answer_file

    with _decide("adopt", identity, settings_file, yes=yes, as_json=as_json) as (app, lost_extraction):
        app.check_rehearsal_mode()
        if answer is not None:
            fetched_answer = read_answer_file(lost_extraction, answer, job)
        else:
            fetched_answer = app.extractor_chain.fetch_lost_answer(lost_extraction.document, lost_extraction.job, job)
        adopt_answer(app, lost_extraction, fetched_answer)
        typer.echo("Adopted. To validate it: invoices run")


@extraction_cli.command()
def release(
    identity: IdArgument, yes: YesOption = False, settings_file: SettingsOption = None, as_json: JsonOption = False
) -> None:
    """Submit the document once more with the next run; may be charged again, and is flagged."""
    from flows.lost_extractions import release_extraction

    with _decide("release", identity, settings_file, yes=yes, as_json=as_json) as (app, lost_extraction):
        release_extraction(app, lost_extraction)
        typer.echo("Released. To submit it: invoices run")


@extraction_cli.command()
def abandon(
    identity: IdArgument, yes: YesOption = False, settings_file: SettingsOption = None, as_json: JsonOption = False
) -> None:
    """Give up the answer for good; what may have been charged stays counted, and the document stays quarantined."""
    from flows.lost_extractions import abandon_extraction

    with _decide("abandon", identity, settings_file, yes=yes, as_json=as_json) as (app, lost_extraction):
        abandon_extraction(app, lost_extraction)
        typer.echo("Abandoned. Enter the invoice by hand if you need it.")


@extraction_cli.command("accept-change")
def accept_change(
    vendor: Annotated[str, typer.Argument(metavar="VENDOR", help="The extractor, e.g. billflowai.")],
    repaired: Annotated[
        bool, typer.Option("--repaired", help="The vendor has repaired it: expect the fields as before.")
    ] = False,
    settings_file: SettingsOption = None,
) -> None:
    """Ask a vendor again whose answers lack fields that they used to have; costs nothing by itself."""
    from invoices.ledger.vendor_changes import accept_missing_fields

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        with app.ledger.begin_transaction() as tx:
            missing_fields = accept_missing_fields(tx, vendor, is_repaired=repaired)
        if not missing_fields:
            typer.echo(f"No change of {vendor!r} waits for a decision.")
            raise typer.Exit(EXIT_PROBLEM)
        for missing_field in missing_fields:
            typer.echo(f"{missing_field}: {'expected as before' if repaired else 'may be missing from now on'}")
        typer.echo("To extract the waiting documents: invoices run")


@contextmanager
def _decide(
    decision: Decision, identity: str, settings_file: Path | None, *, yes: bool, as_json: bool
) -> Iterator[tuple[App, LostExtraction]]:
    """Show the extraction and what the decision costs, ask, run the block, and print the result as JSON if asked for.

    Without an answer, or with another than yes, nothing is changed and the exit status is 1.
    """
    from flows.lost_extractions import compute_decision_cost, get_lost_extraction, to_json

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        lost_extraction = get_lost_extraction(app, identity)
        cost = compute_decision_cost(app, lost_extraction, decision)
        typer.echo(f"{_format_lost_extraction(lost_extraction)}\n{cost}")
        if not yes and not typer.confirm(f"{decision.capitalize()} it?"):
            typer.echo("Nothing was changed.")
            raise typer.Exit(EXIT_PROBLEM)
        yield app, lost_extraction
        if as_json:
            costs = {"pages_that_may_be_added": cost.pages_added, "price": cost.price}
            typer.echo(json.dumps({"decision": decision, **costs, "extraction": to_json(lost_extraction)}))


def _format_lost_extraction(lost_extraction: LostExtraction) -> str:
    from invoices.documents.outcomes import sanitise_for_display

    job = lost_extraction.job
    flag = ", POSSIBLY CHARGED TWICE" if job.possible_double_charge else ""
    remote_id = f"job {job.remote_id!r}" if job.remote_id else "no job id"
    return (
        f"{job.extraction_id}  {job.extracted_by}, {remote_id}, {job.status} since "
        f"{job.requested_at:%Y-%m-%d %H:%MZ}{flag}\n"
        f"    document {job.document_sha256[:12]}, {lost_extraction.reason_code}: "
        f"{sanitise_for_display(lost_extraction.reason, MAX_REASON_CHARS)}"
    )
