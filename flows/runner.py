"""Run the stages batch by batch, with progress bars on the terminal; the caller decides how a batch is called."""

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
from invoices.ledger.stage_lease_keeper import StageLeaseLost, describe_stage_lease_holder
from invoices.run_report import RunReport

EXTRACT_STAGES: Sequence[ModuleType] = (extract_local, extract_remote)
ALL_STAGES: Sequence[ModuleType] = (collect, extract_local, extract_remote, validate, load, publish, export, load)
LEASED_STAGES: Sequence[ModuleType] = (validate, publish, export)  # one worker on a ledger at a time, in any home

BatchRunner = Callable[[str, Callable[[], None]], None]  # takes the batch's name and the function that processes it


def run_stages(
    app: App,
    stages: Sequence[ModuleType],
    report: RunReport,
    run_batch: BatchRunner = lambda _name, process: process(),
) -> RunReport:
    """Run the stages in order, each to its end, and return the report.

    Several processes may extract at the same time, except in a rehearsal, where each process has its own sandbox.

    Raises:
        AlreadyRunning: another process holds the run lock of this home directory.
        ConfigurationError: the home directory is for rehearsals and the settings are not, or the other way round.
    """
    may_run_beside_others = set(stages) <= set(EXTRACT_STAGES) and not app.settings.is_rehearsal
    run_lock = nullcontext() if may_run_beside_others else app.acquire_run_lock()
    with run_lock, _open_progress_bars() as progress:
        app.record_rehearsal_mode()
        for stage in stages:
            stage_name = stage.__name__.rpartition(".")[2]
            task = progress.add_task(stage.PROGRESS_LABEL, total=stage.count_pending(app), unit=stage.UNIT)
            report.advance_progress = partial(progress.advance, task)
            started_at = time.monotonic()
            with _hold_lease_if_needed(app, stage, stage_name, report) as may_work:
                for number, batch in enumerate(stage.iter_pending_batches(app, report) if may_work else (), start=1):
                    run_batch(f"{stage_name}-{number}", partial(stage.process_batch, app, batch, report))
            report.stage_seconds[stage_name] = report.stage_seconds.get(stage_name, 0.0) + time.monotonic() - started_at
            progress.update(task, total=progress.tasks[task].completed)
    return report


@contextmanager
def _hold_lease_if_needed(app: App, stage: ModuleType, stage_name: str, report: RunReport) -> Iterator[bool]:
    """Hold the lease of a stage that only one worker on a ledger may work on; yield whether this process may."""
    if stage not in LEASED_STAGES:
        yield True
        return
    try:
        with app.hold_stage_lease(stage_name) as lease:
            if lease is None:
                holder = describe_stage_lease_holder(app.ledger, stage_name)
                report.remarks.append(f"{stage_name} is left to {holder}, which works on it on the same ledger.")
            yield lease is not None
    except StageLeaseLost as loss:
        report.remarks.append(str(loss))


@contextmanager
def show_progress(description: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show the progress of work of unknown size; yield the function that advances it by a number of units."""
    with _open_progress_bars() as progress:
        yield partial(progress.advance, progress.add_task(description, total=None, unit=unit))


@contextmanager
def _open_progress_bars() -> Iterator[Progress]:
    console = Console(file=sys.stderr)
    columns = (
        SpinnerColumn(), TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
