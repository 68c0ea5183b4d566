"""The command line: one command per stage, one for the whole, and those that only look."""

from flows.cli.commands import main

__all__ = ["main"]
