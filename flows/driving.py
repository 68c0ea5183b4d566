"""Driving the stages: batch after batch, with progress on the terminal; how a batch is called is up to the caller."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from types import ModuleType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flows.stages import ask, collect, export, judge, load, publish, read
from invoices.house import House
from invoices.report import Report

EXTRACT: Sequence[ModuleType] = (read, ask)
WHOLE: Sequence[ModuleType] = (collect, read, ask, judge, load, publish, export, load)

Call = Callable[[str, Callable[[], None]], None]  # the batch's name, and its work


def _directly(_name: str, work: Callable[[], None]) -> None:
    work()


def drive(house: House, stages: Sequence[ModuleType], report: Report, call: Call = _directly) -> Report:
    """Work through the stages in order, each to its end, and return the report.

    Several processes may extract side by side, unless they rehearse: each has a sandbox of its own then.

    Raises:
        AlreadyRunning: another process works in this house.
        ConfigurationError: the house is for rehearsals and the settings are not, or the other way round.
    """
    alone = house.exclusively() if house.settings.rehearses or not set(stages) <= set(EXTRACT) else nullcontext()
    with alone, _progress() as progress:
        house.claim()
        for stage in stages:
            name = stage.__name__.rpartition(".")[2]
            task = progress.add_task(name, total=stage.total(house), unit=stage.UNIT)
            report.tick = partial(progress.advance, task)
            started = time.monotonic()
            for number, batch in enumerate(stage.pending(house, report), start=1):
                call(f"{name}-{number}", partial(stage.work, house, batch, report))
            report.seconds[name] = report.seconds.get(name, 0.0) + time.monotonic() - started
            progress.update(task, total=progress.tasks[task].completed)
    return report


@contextmanager
def showing_progress(name: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show progress of a single piece of work whose size is not known; yield what is told how much is done."""
    with _progress() as progress:
        yield partial(progress.advance, progress.add_task(name, total=None, unit=unit))


@contextmanager
def _progress() -> Iterator[Progress]:
    console = Console(file=sys.stderr)
    columns = (
        SpinnerColumn(), TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
