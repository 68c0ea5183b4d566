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

from flows.stages import collect, export, extract_local, extract_remote, load, publish, validate
from invoices.app import App
from invoices.run_report import RunReport

EXTRACT_STAGES: Sequence[ModuleType] = (extract_local, extract_remote)
ALL_STAGES: Sequence[ModuleType] = (collect, extract_local, extract_remote, validate, load, publish, export, load)

BatchRunner = Callable[[str, Callable[[], None]], None]  # the batch's name, and its work


def _run_batch_directly(_name: str, process: Callable[[], None]) -> None:
    process()


def run_stages(
    app: App, stages: Sequence[ModuleType], report: RunReport, run_batch: BatchRunner = _run_batch_directly
) -> RunReport:
    """Work through the stages in order, each to its end, and return the report.

    Several processes may extract side by side, unless they rehearse: each has a sandbox of its own then.

    Raises:
        AlreadyRunning: another process works in this house.
        ConfigurationError: the house is for rehearsals and the settings are not, or the other way round.
    """
    run_lock = (
        app.acquire_run_lock() if app.settings.is_rehearsal or not set(stages) <= set(EXTRACT_STAGES) else nullcontext()
    )
    with run_lock, _open_progress_bars() as progress:
        app.record_rehearsal_mode()
        for stage in stages:
            stage_name = stage.__name__.rpartition(".")[2]
            task = progress.add_task(stage_name, total=stage.count_pending(app), unit=stage.UNIT)
            report.advance_progress = partial(progress.advance, task)
            started_at = time.monotonic()
            for number, batch in enumerate(stage.iter_batches(app, report), start=1):
                run_batch(f"{stage_name}-{number}", partial(stage.process_batch, app, batch, report))
            report.stage_seconds[stage_name] = report.stage_seconds.get(stage_name, 0.0) + time.monotonic() - started_at
            progress.update(task, total=progress.tasks[task].completed)
    return report


@contextmanager
def show_progress(description: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show progress of a single piece of work whose size is not known; yield what is told how much is done."""
    with _open_progress_bars() as progress:
        yield partial(progress.advance, progress.add_task(description, total=None, unit=unit))


@contextmanager
def _open_progress_bars() -> Iterator[Progress]:
    console = Console(file=sys.stderr)
    columns = (
        SpinnerColumn(), TextColumn("{task.description:14}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
