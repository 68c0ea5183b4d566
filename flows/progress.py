"""The progress of a command on stderr: bars on a terminal, else lines of text for a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flows.plurals import format_unit_count

LINE_INTERVAL_SECONDS = 10.0

ProgressCallback = Callable[[int], None]  # gets the number of units that were just completed


class ProgressDisplay(Protocol):
    """Shows the progress of one stage after another."""

    def start_stage(self, label: str, total: int | None, unit: str) -> ProgressCallback:
        """Begin a stage of ``total`` units (None if unknown); return the function that advances it."""
        ...

    def finish_stage(self) -> None:
        """End the stage that was started last."""
        ...


@contextmanager
def open_progress_display() -> Iterator[ProgressDisplay]:
    """Yield the display for this process's stderr."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        with TextProgressDisplay(sys.stderr) as display:
            yield display
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield _ProgressBars(progress)


@contextmanager
def show_progress(label: str, unit: str) -> Iterator[ProgressCallback]:
    """Show the progress of work of unknown size; yield the function that advances it by a number of units."""
    with open_progress_display() as display:
        yield display.start_stage(label, None, unit)
        display.finish_stage()


class _ProgressBars:
    """A bar for each stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start_stage(self, label: str, total: int | None, unit: str) -> ProgressCallback:
        self._task = self._progress.add_task(label, total=total, unit=unit)
        return partial(self._progress.advance, self._task)

    def finish_stage(self) -> None:
        self._progress.update(self._task, total=self._progress.tasks[self._task].completed)


class TextProgressDisplay:
    """A line with the time (UTC) when a stage begins, every ``interval_seconds`` while it works, and when it ends.

    A stage that has nothing to do writes no line. Lines are written by a thread, so a stage that hangs is seen as well.
    """

    def __init__(self, stream: TextIO, interval_seconds: float = LINE_INTERVAL_SECONDS) -> None:
        self._stream, self._interval_seconds = stream, interval_seconds
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._write_until_closed, name="progress", daemon=True)
        self._label: str | None = None  # None between stages
        self._total: int | None = None
        self._unit, self._completed, self._started_at = "", 0, 0.0

    def __enter__(self) -> TextProgressDisplay:
        """Start the thread that writes the lines in between."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop the thread."""
        self._closed.set()
        self._thread.join()

    def start_stage(self, label: str, total: int | None, unit: str) -> ProgressCallback:
        """Begin a stage; write its first line if it is known that there is something to do."""
        with self._lock:
            self._label, self._total, self._unit = label, total, unit
            self._completed, self._started_at = 0, time.monotonic()
            if total:
                self._write_line("begins")
        return self._advance

    def finish_stage(self) -> None:
        """End the stage; write its last line if something was done."""
        with self._lock:
            if self._completed:
                self._write_line(f"done in {time.monotonic() - self._started_at:.1f} s")
            self._label = None

    def _advance(self, count: int) -> None:
        with self._lock:
            self._completed += count

    def _write_until_closed(self) -> None:
        while not self._closed.wait(self._interval_seconds):
            with self._lock:
                if self._label is not None:
                    self._write_line(f"{time.monotonic() - self._started_at:.0f} s so far")

    def _write_line(self, note: str) -> None:
        if self._total is None:
            count_text = format_unit_count(self._completed, self._unit)
        else:
            total_text = format_unit_count(max(self._total, self._completed), self._unit)
            count_text = f"{self._completed:,} of {total_text}"
        timestamp = time.strftime("%H:%M:%SZ", time.gmtime())
        with suppress(OSError, ValueError):  # nobody reads stderr any more: the work goes on
            self._stream.write(f"{timestamp} {self._label}: {count_text}, {note}\n")
            self._stream.flush()
