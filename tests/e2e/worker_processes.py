"""Several ``invoices`` processes that import everything first and then start at the same moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 240
WAIT_THEN_RUN_SCRIPT = (
    "import sys; import flows.stages.extract_remote, invoices.extraction.extractor_chain; from flows.cli import main\n"
    "print('ready', flush=True); sys.stdin.readline(); main()"
)


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """The exit status and output of a process."""

    exit_status: int
    stdout: str
    stderr: str

    @property
    def json_output(self) -> dict[str, Any]:
        """The object on the last line of stdout."""
        return dict(json.loads(self.stdout.splitlines()[-1]))


class WorkerProcess:
    """One ``invoices`` process that has imported its modules and waits for a line on stdin."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        """Start the process and return when it is ready."""
        clean_environment = {name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WAIT_THEN_RUN_SCRIPT, *arguments],
            env={**clean_environment, **environment}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._ready_line = self._process.stdout.readline() if self._process.stdout else ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def start(self) -> None:
        """Let the process run its command."""
        if self._ready_line != "ready\n" or self._process.stdin is None:
            raise RuntimeError(f"the worker is not ready: {self._process.communicate()[1]}")
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def send_signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def wait(self) -> WorkerResult:
        """Wait for the end of the process; fail if its output has a traceback."""
        stdout, stderr = self._process.communicate(timeout=TIMEOUT_SECONDS)
        assert "Traceback" not in stdout + stderr, stdout + stderr
        return WorkerResult(self._process.returncode, stdout, stderr)

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def prepare_workers(environment: Mapping[str, str], count: int, *arguments: str) -> Iterator[list[WorkerProcess]]:
    """Start workers that are ready to run; none outlives the block."""
    workers = [WorkerProcess(environment, *arguments) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def run_workers_concurrently(environment: Mapping[str, str], count: int, *arguments: str) -> list[WorkerResult]:
    """Run ``count`` workers that start at the same moment; return their results."""
    with prepare_workers(environment, count, *arguments) as workers:
        for worker in workers:
            worker.start()
        return [worker.wait() for worker in workers]


def wait_until(condition: Callable[[], bool], description: str) -> None:
    """Return as soon as ``condition`` is true."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(description)
        time.sleep(0.01)


def list_worker_files(home: Path) -> list[str]:
    """Return the names of the worker files in a home directory."""
    return sorted(path.name for path in (home / "workers").glob("*"))
