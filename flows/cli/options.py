"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
