"""Run the stages batch by batch, and show the progress; the caller decides how a batch is called."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from types import ModuleType

from flows.background_import import BackgroundImport, open_background_import
from flows.progress import ProgressDisplay, open_progress_display
from flows.stages import collect, export, extract_local, extract_remote, load, publish, validate
from flows.unexpected_errors import describe_error
from invoices.app import App
from invoices.errors import ConfigurationError
from invoices.ledger.identity_check import take_restore_remark
from invoices.ledger.stage_lease_keeper import StageLeaseLost, describe_stage_lease_holder
from invoices.run_report import RunReport

EXTRACT_STAGES: Sequence[ModuleType] = (extract_local, extract_remote)
ALL_STAGES: Sequence[ModuleType] = (collect, extract_local, extract_remote, validate, load, publish, export, load)
LEASED_STAGES: Sequence[ModuleType] = (validate, publish, export)  # one worker on a ledger at a time, in any home
MODULES_OF_VALIDATION = ("pandas", "expectations.suites")  # importing Great Expectations takes seconds
STAGES_REQUIRED_BY: Mapping[str, Collection[str]] = {"publish": ("load",), "export": ("load",)}  # they read its result
EARLIEST_TIME = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # a clock that shows less is wrong

BatchRunner = Callable[[str, Callable[[], None]], None]  # takes the batch's name and the function that processes it


def run_stages(
    app: App,
    stages: Sequence[ModuleType],
    report: RunReport,
    run_batch: BatchRunner = lambda _name, process: process(),
) -> RunReport:
    """Run the stages in order, each to its end, and return the report.

    Several processes may extract at the same time, except in a rehearsal, where each process has its own sandbox.

    An error that ends a stage is a problem of the report. Later stages still run, except those that need its result.

    Raises:
        AlreadyRunning: another process holds the run lock of this home directory.
        ConfigurationError: the clock is before the year of this program's first release.
        ConfigurationError: the home directory is for rehearsals and the settings are not, or the other way round.
    """
    _check_clock(app)
    may_run_beside_others = set(stages) <= set(EXTRACT_STAGES) and not app.settings.is_rehearsal
    run_lock = nullcontext() if may_run_beside_others else app.acquire_run_lock()
    with (
        run_lock,
        open_progress_display() as progress,
        open_background_import(MODULES_OF_VALIDATION if validate in stages else ()) as background_import,
    ):
        app.record_rehearsal_mode()
        if (restore_remark := take_restore_remark(app.ledger)) is not None:
            report.remarks.append(restore_remark)
        failed_stages: set[str] = set()
        for stage in stages:
            stage_name = get_stage_name(stage)
            if required_stages := failed_stages & {stage_name, *STAGES_REQUIRED_BY.get(stage_name, ())}:
                report.problems.append(f"stage {stage_name!r} did not run, because {min(required_stages)!r} failed")
                continue
            started_at = time.monotonic()
            try:
                _run_stage(app, stage, report, run_batch, progress, background_import)
            except ConfigurationError:
                raise
            except Exception as error:  # noqa: BLE001 - the last resort: an error in one stage does not end the others
                failed_stages.add(stage_name)
                cause = describe_error(app.settings, f"stage {stage_name!r}", error)
                report.problems.append(f"stage {stage_name!r} ended early: {cause}")
            report.stage_seconds[stage_name] = report.stage_seconds.get(stage_name, 0.0) + time.monotonic() - started_at
    return report


def _check_clock(app: App) -> None:
    """Raise ConfigurationError if the clock is far back, as after a start without a battery.

    Invoices would be dated after the day on which they come, and certificates would not be valid yet.
    """
    now = app.ledger.now()
    if now < EARLIEST_TIME:
        raise ConfigurationError(
            f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC, which is too early: set it. Nothing was done"
        )


def get_stage_name(stage: ModuleType) -> str:
    """Return the name of a stage, which is that of its module."""
    return stage.__name__.rpartition(".")[2]


def _run_stage(
    app: App,
    stage: ModuleType,
    report: RunReport,
    run_batch: BatchRunner,
    progress: ProgressDisplay,
    background_import: BackgroundImport,
) -> None:
    """Process the batches of one stage in turn, and show the progress."""
    stage_name = get_stage_name(stage)
    if stage is validate:
        background_import.wait()
    advance_display = progress.start_stage(stage.PROGRESS_LABEL, stage.count_pending(app), stage.UNIT)
    report.advance_progress = advance_display
    run_lock = app.run_lock

    def record_activity(activity: str) -> None:
        if stage in (collect, extract_local):  # new documents: they will be validated
            background_import.start()
        if run_lock:
            run_lock.record_activity(activity)

    report.record_activity = record_activity
    if run_lock:
        run_lock.start_stage(stage_name)

        def advance_progress(count: int) -> None:
            advance_display(count)
            run_lock.record_progress()

        report.advance_progress = advance_progress
    with (
        _hold_lease_if_needed(app, stage, stage_name, report) as may_work,
        closing(stage.iter_pending_batches(app, report)) as batches,
    ):
        for number, batch in enumerate(batches if may_work else (), start=1):
            report.record_activity(f"batch {number}")
            run_batch(f"{stage_name}-{number}", partial(stage.process_batch, app, batch, report))
    progress.finish_stage()


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
