"""The command line: one command per stage, one for the whole run, and commands that only report."""

from __future__ import annotations

import os
from collections.abc import Sequence

from flows.cli.signal_exit import exit_on_signals

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit status: 0 done, 1 with problems, 2 wrong settings, 130 or 143 interrupted."""
    os.umask(0o077)  # invoices are for their owner only
    with exit_on_signals():
        from flows.cli.commands import cli  # takes a second, in which Ctrl-C must end without a traceback

        cli(args=list(arguments) if arguments is not None else None, prog_name="invoices")
