"""The lock that allows one run at a time in a home directory, with a heartbeat and what the run is working on."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from invoices.errors import ConfigurationError, InvoicesError
from invoices.private_files import open_privately

HEARTBEAT_SECONDS = 5.0
MAX_HEARTBEAT_AGE = dt.timedelta(seconds=90)  # of a run that is alive, also on a busy machine
_MAX_PROGRESS_AGE = dt.timedelta(hours=1)  # of a stage that does not wait for others
_STAGES_THAT_WAIT = ("extract_remote",)  # vendors may take hours
_MAX_ACTIVITY_CHARS = 250  # each takes at most 12 bytes
_RECORD_BYTES = 4_096  # constant, so that one write replaces the whole record


class AlreadyRunning(ConfigurationError):
    """Another run is active in this home; to discover that is no failure."""


class RunStuck(InvoicesError):
    """Another run holds the lock of this home and gives no sign of life, so somebody has to end it."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run writes into its lock file; times are in ISO 8601, UTC."""

    pid: int
    started_at: str
    alive_at: str  # written by a thread: it stops when the process is stopped, or when its code blocks the interpreter
    progress_at: str  # when the last unit of work began or ended
    stage: str = ""
    activity: str = ""  # what the run is working on; it may quote a file name


class RunLock:
    """The lock of this run while it is held; ``start_stage`` and ``record_activity`` say what the run is doing."""

    def __init__(self, descriptor: int, heartbeat_seconds: float) -> None:
        self._descriptor, self._heartbeat_seconds = descriptor, heartbeat_seconds
        self._write_lock = threading.Lock()
        self._started_at = self._progress_at = _format_now()
        self._stage = self._activity = ""
        self._stopped = threading.Event()
        self._heartbeat = threading.Thread(target=self._write_heartbeats, name="heartbeat", daemon=True)
        self._write_record()
        self._heartbeat.start()

    def start_stage(self, stage: str) -> None:
        """Record that a stage begins."""
        self._stage = stage
        self.record_activity("")

    def record_activity(self, activity: str) -> None:
        """Record that the work on something begins, such as a file; the next run names it if this one is stuck."""
        self._activity, self._progress_at = activity[:_MAX_ACTIVITY_CHARS], _format_now()
        self._write_record()

    def record_progress(self) -> None:
        """Record that some unit of work has ended."""
        self._progress_at = _format_now()

    def stop_heartbeat(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._heartbeat.join()

    def _write_heartbeats(self) -> None:
        while not self._stopped.wait(self._heartbeat_seconds):
            self._write_record()

    def _write_record(self) -> None:
        with self._write_lock:
            record = RunRecord(
                os.getpid(), self._started_at, _format_now(), self._progress_at, self._stage, self._activity
            )
            os.pwrite(self._descriptor, json.dumps(asdict(record)).encode().ljust(_RECORD_BYTES), 0)


@contextmanager
def hold_run_lock(path: Path, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> Iterator[RunLock]:
    """Allow no other run during the block; the lock ends with the process, however that ends.

    Raises:
        AlreadyRunning: another run is active; the message has its process id and start time.
        RunStuck: another run has the lock and gives no sign of life; the message says what it is stuck on.
    """
    descriptor = open_privately(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _build_refusal(os.pread(descriptor, _RECORD_BYTES, 0), dt.datetime.now(dt.UTC)) from None
        os.ftruncate(descriptor, 0)
        lock = RunLock(descriptor, heartbeat_seconds)
        try:
            yield lock
        finally:
            lock.stop_heartbeat()
    finally:
        os.close(descriptor)


def describe_stuck_run(path: Path) -> str | None:
    """Return what the run that holds the lock is stuck on, None if it gives signs of life."""
    refusal = _build_refusal(path.read_bytes()[:_RECORD_BYTES], dt.datetime.now(dt.UTC))
    return str(refusal) if isinstance(refusal, RunStuck) else None


def _build_refusal(content: bytes, now: dt.datetime) -> InvoicesError:
    """Return the error for a lock that another run holds, by the record of that run."""
    text = content.decode("utf-8", "replace").strip()
    try:
        record = RunRecord(**json.loads(text))
        alive_at, progress_at = (dt.datetime.fromisoformat(value) for value in (record.alive_at, record.progress_at))
    except (ValueError, TypeError):  # written by an earlier release, or not yet written
        return AlreadyRunning(f"a run is already active: {text or 'just started'}")
    work = " ".join(filter(None, (f"stage {record.stage}" if record.stage else "starting", record.activity)))
    name = f"process {record.pid} since {_format_time(record.started_at)}"
    way_out = f"end it (kill -9 {record.pid}) and run again: the work that it recorded is kept"
    if now - alive_at > MAX_HEARTBEAT_AGE:
        return RunStuck(
            f"the run of {name} has given no sign of life since {_format_time(record.alive_at)}; it was at: {work}. "
            f"If it is suspended, continue it (kill -CONT {record.pid}); else {way_out}"
        )
    if now - progress_at > _MAX_PROGRESS_AGE and record.stage not in _STAGES_THAT_WAIT:
        return RunStuck(
            f"the run of {name} has made no progress since {_format_time(record.progress_at)}; it is at: {work}. "
            f"Wait, or {way_out}"
        )
    return AlreadyRunning(f"a run is already active: {name}, at: {work}")


def _format_now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _format_time(timestamp: str) -> str:
    return timestamp.replace("T", " ").replace("+00:00", "Z")
