"""The command line: one command per stage, one for the whole run, and commands that only report."""

from flows.cli.commands import main

__all__ = ["main"]
