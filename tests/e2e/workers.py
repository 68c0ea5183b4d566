"""Several command lines of ours that start at the same moment, each a process with everything imported."""

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
WAITING = (
    "import sys; import flows.stages.ask, invoices.extraction.asking; from flows.cli import main\n"
    "print('ready', flush=True); sys.stdin.readline(); main()"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a process left behind."""

    status: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """The object on the last line of stdout."""
        return dict(json.loads(self.out.splitlines()[-1]))


class Worker:
    """One ``invoices`` that has imported what it needs and waits at the line."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        """Start the process, and return when it is ready."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WAITING, *arguments],
            env={**clean, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._said = self._process.stdout.readline() if self._process.stdout else ""

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def go(self) -> None:
        """Let it begin."""
        if self._said != "ready\n" or self._process.stdin is None:
            raise RuntimeError(f"a worker is not ready: {self._process.communicate()[1]}")
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> Ended:
        """Wait for its end; a traceback is never right."""
        out, err = self._process.communicate(timeout=TIMEOUT_SECONDS)
        assert "Traceback" not in out + err, out + err
        return Ended(self._process.returncode, out, err)

    def close(self) -> None:
        """Make sure that it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def lined_up(environment: Mapping[str, str], count: int, *arguments: str) -> Iterator[list[Worker]]:
    """Give workers that are ready to begin; none outlives the block."""
    workers = [Worker(environment, *arguments) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def together(environment: Mapping[str, str], count: int, *arguments: str) -> list[Ended]:
    """Return what so many workers left behind that began at the same moment."""
    with lined_up(environment, count, *arguments) as workers:
        for worker in workers:
            worker.go()
        return [worker.end() for worker in workers]


def until(holds: Callable[[], bool], what: str) -> None:
    """Return as soon as ``holds`` does."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)


def lock_files(home: Path) -> list[str]:
    """Return which workers left a file behind."""
    return sorted(path.name for path in (home / "workers").glob("*"))
