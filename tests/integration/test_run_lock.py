"""The run lock: who holds it, what that run is doing, and when it last gave a sign of life."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.command_runner import exit_on_known_errors
from flows.runner import run_stages
from flows.stages import collect
from invoices.app import App
from invoices.run_lock import AlreadyRunning, RunRecord, RunStuck, describe_stuck_run, hold_run_lock
from invoices.run_report import RunReport

ForeignRun = Callable[..., None]


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


@pytest.fixture
def hold_foreign_lock(lock_path: Path) -> Iterator[ForeignRun]:
    """A function that holds the lock as another run, with a record of the given ages."""
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def hold(alive_minutes_ago: int, progress_minutes_ago: int, **fields: str) -> None:
        now = dt.datetime.now(dt.UTC)
        times = [
            (now - dt.timedelta(minutes=minutes)).isoformat() for minutes in (alive_minutes_ago, progress_minutes_ago)
        ]
        os.pwrite(
            descriptor, json.dumps(asdict(RunRecord(77, "2026-11-01T10:00:00+00:00", *times, **fields))).encode(), 0
        )

    yield hold
    os.close(descriptor)


def read_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def test_an_active_run_is_no_failure_and_says_what_it_is_doing(lock_path: Path, hold_foreign_lock: ForeignRun) -> None:
    hold_foreign_lock(0, 2, stage="collect", activity="the file '/inbox/a.pdf'")
    with pytest.raises(
        AlreadyRunning, match=r"process 77 since 2026-11-01 10:00:00Z, at: stage collect the file '/inbox/a"
    ):
        hold_run_lock(lock_path).__enter__()


def test_a_run_without_a_heartbeat_is_a_problem_that_names_what_it_is_stuck_on(
    lock_path: Path, hold_foreign_lock: ForeignRun, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_foreign_lock(35, 36, stage="collect", activity="the file '/inbox/bad.xml'")
    with pytest.raises(typer.Exit) as exit_info, exit_on_known_errors(), hold_run_lock(lock_path):
        pytest.fail("two runs hold the lock")
    assert exit_info.value.exit_code == 1
    message = capsys.readouterr().err
    assert str(describe_stuck_run(lock_path)) in message
    assert "stage collect the file '/inbox/bad.xml'" in message
    assert "kill -9 77" in message


@pytest.mark.parametrize(("stage", "error"), [("load", RunStuck), ("extract_remote", AlreadyRunning)])
def test_a_run_without_progress_for_an_hour_is_a_problem_unless_it_waits_for_vendors(
    lock_path: Path, hold_foreign_lock: ForeignRun, stage: str, error: type[Exception]
) -> None:
    hold_foreign_lock(0, 61, stage=stage)
    with pytest.raises(error), hold_run_lock(lock_path):
        pytest.fail("two runs hold the lock")


@pytest.mark.parametrize(
    "content", [b"", b"process 12 since 2026-01-01 00:00:00Z", b"{}", b"[1]", b'{"pid": 1}', b"\xff"]
)
def test_a_lock_of_an_earlier_release_counts_as_active(
    lock_path: Path, hold_foreign_lock: ForeignRun, content: bytes
) -> None:
    lock_path.write_bytes(content)
    with pytest.raises(AlreadyRunning), hold_run_lock(lock_path):
        pytest.fail("two runs hold the lock")


def test_the_record_is_replaced_as_a_whole_whatever_the_activity_is(lock_path: Path) -> None:
    with hold_run_lock(lock_path) as lock:
        lock.start_stage("collect")
        for activity in ("\U0001f4c4" * 5_000, "\0" * 5_000, "\udcff" * 300, "short"):
            lock.record_activity(activity)
            assert activity.startswith(read_record(lock_path)["activity"])
    assert read_record(lock_path)["stage"] == "collect"


def test_a_thread_gives_a_sign_of_life_while_the_run_works_on_one_thing(lock_path: Path) -> None:
    with hold_run_lock(lock_path, heartbeat_seconds=0.01):
        written_ns = lock_path.stat().st_mtime_ns
        deadline = time.monotonic() + 60
        while lock_path.stat().st_mtime_ns == written_ns:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_run_records_its_stage_and_each_file_before_it_is_opened(app: App) -> None:
    inbox = app.settings.inbox_directory
    inbox.mkdir(parents=True)
    (inbox / "a.txt").write_text("text")
    os.utime(inbox / "a.txt", (1_600_000_000, 1_600_000_000))
    records = []
    open_container = app.container_opener_pool.detect_file_type

    class RecordingOpener:
        def detect_file_type(self, head: bytes) -> str:
            records.append(read_record(app.settings.home / "run.lock"))
            return open_container(head)

    vars(app)["container_opener_pool"] = RecordingOpener()
    run_stages(app, (collect,), RunReport())
    assert [(record["stage"], record["pid"]) for record in records] == [("collect", os.getpid())]
    assert "a.txt" in records[0]["activity"]
