"""The commands of ``invoices receipts``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flows.bootstrap import open_app
from flows.cli.command_runner import exit_on_known_errors, load_command_settings
from flows.cli.options import JsonOption, SettingsOption

receipts_cli = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Decide about receipts that wait.")


@receipts_cli.command()
def retry(
    identities: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID", help="Invoice id or number, receipt id, or a document's hash [default: all that failed]."
        ),
    ] = None,
    reason: Annotated[
        list[str] | None, typer.Option("--reason", metavar="CODE", help="Only receipts with this reason code.")
    ] = None,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let receipts that failed be sent again by publish.

    One that may exist is looked up first.
    """
    from flows.retry_receipts import retry_receipts

    with exit_on_known_errors(), open_app(load_command_settings(settings_file)) as app:
        receipt_ids = retry_receipts(app, identities or [], reason or [])
        typer.echo("\n".join([*receipt_ids, _format_result(len(receipt_ids))]))
        if as_json:
            typer.echo(json.dumps({"receipts": receipt_ids}))


def _format_result(receipt_count: int) -> str:
    if receipt_count == 0:
        return "No receipt is sent again: none of them has failed, or none has this reason. See: invoices status"
    noun = "1 receipt is" if receipt_count == 1 else f"{receipt_count:,} receipts are"
    return f"{noun} pending again. To send them now: invoices publish"
