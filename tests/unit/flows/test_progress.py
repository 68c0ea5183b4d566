"""Progress where stderr is no terminal: lines for a log."""

from __future__ import annotations

import io
import queue
import re

import pytest

from flows.progress import TextProgressDisplay, open_progress_display, show_progress


class LineQueue(io.StringIO):
    """A stream whose lines can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.Queue[str] = queue.Queue()

    def write(self, text: str) -> int:
        self.lines.put(text)
        return len(text)

    def wait_for(self, pattern: str) -> None:
        """Wait for a line of this pattern."""
        while not re.fullmatch(rf"\d\d:\d\d:\d\dZ {pattern}\n", self.lines.get(timeout=60)):
            pass


class ClosedPipe(io.StringIO):
    """A stream that nobody reads."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_stage_is_named_when_it_begins_while_it_works_and_when_it_ends() -> None:
    stream = LineQueue()
    with TextProgressDisplay(stream, interval_seconds=0.005) as display:
        advance = display.start_stage("Validating", 4_000, "documents")
        stream.wait_for("Validating: 0 of 4,000 documents, begins")
        advance(1_200)
        stream.wait_for(r"Validating: 1,200 of 4,000 documents, \d+ s so far")
        display.finish_stage()
        stream.wait_for(r"Validating: 1,200 of 4,000 documents, done in \d+\.\d s")


@pytest.mark.parametrize(
    ("count", "total", "units", "text"),
    [
        (1, None, "batches", "1 batch,"),
        (1, 1, "documents", "1 of 1 document,"),
        (0, 1_000, "loads", "0 of 1,000 loads,"),
    ],
)
def test_one_unit_is_singular(count: int, total: int | None, units: str, text: str) -> None:
    stream = io.StringIO()
    with TextProgressDisplay(stream, interval_seconds=600) as display:
        display.start_stage("Working", total, units)(count)
        display.finish_stage()
    assert text in stream.getvalue()


def test_a_stage_that_makes_no_progress_is_named_as_well() -> None:
    stream = LineQueue()
    with TextProgressDisplay(stream, interval_seconds=0.005) as display:
        display.start_stage("Collecting", None, "files")
        stream.wait_for(r"Collecting: 0 files, \d+ s so far")


def test_a_stage_without_work_and_the_time_between_stages_are_silent() -> None:
    stream = io.StringIO()
    with TextProgressDisplay(stream, interval_seconds=600) as display:
        for total in (0, None):
            display.start_stage("Publishing", total, "receipts")
            display.finish_stage()
    assert stream.getvalue() == ""


def test_a_stream_that_nobody_reads_ends_no_work() -> None:
    with TextProgressDisplay(ClosedPipe()) as display:
        advance = display.start_stage("Loading", 1, "loads")
        advance(1)
        display.finish_stage()


def test_without_a_terminal_the_lines_go_to_stderr_and_none_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("Planning", "documents") as advance:
        advance(3)
    with open_progress_display() as display:
        display.start_stage("Validating", 2, "documents")
    output = capsys.readouterr()
    assert output.out == ""
    assert "Planning: 3 documents, done in" in output.err
    assert "Validating: 0 of 2 documents, begins" in output.err
