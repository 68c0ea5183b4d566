"""Measures ``invoices run`` or one of its stages: seconds, peak memory of all its processes, and its report."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from lxml import etree

POLL_SECONDS = 0.05
COMMAND = str(Path(sys.executable).with_name("invoices"))


class RunError(Exception):
    """A measured run did not do its work; the message has its output."""


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One run: wall and CPU seconds and peak resident bytes, all including its children, and its report."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    report: Mapping[str, Any]


def measure_run(environment: Mapping[str, str], output: Path, command: str = "run") -> MeasuredRun:
    """Run ``invoices`` with a command and return its figures; raise RunError if it failed or had problems."""
    started, cpu_before = time.monotonic(), _measure_children_cpu_seconds()
    with output.open("w+", encoding="utf-8") as output_file:
        process = subprocess.Popen(
            [COMMAND, command, "--json"],
            env=environment,
            stdout=output_file,
            stderr=subprocess.STDOUT,
            cwd=output.parent,
        )
        monitor = _MemoryMonitor(process.pid)
        monitor.start()
        status = process.wait()
        seconds = time.monotonic() - started
        cpu_seconds = _measure_children_cpu_seconds() - cpu_before
        monitor.stop()
        output_file.seek(0)
        text = output_file.read()
    report = json.loads(text.strip().splitlines()[-1]) if status == 0 else None
    if report is None or report["problems"]:
        raise RunError(f"invoices {command} ended with {status}:\n{text[-4000:]}")
    return MeasuredRun(seconds, cpu_seconds, monitor.peak_bytes, report)


def _measure_children_cpu_seconds() -> float:
    """Return the CPU seconds of all ended children and their children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure_bare_parsing(inbox: Path) -> float:
    """Return the seconds of a loop that only parses every file with lxml."""
    files = sorted(inbox.rglob("*.xml"))
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    started = time.monotonic()
    for file in files:
        etree.fromstring(file.read_bytes(), parser)
    return time.monotonic() - started


class _MemoryMonitor(threading.Thread):
    """Measures the memory of a process and its children twenty times a second; shared pages count in each."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._process = psutil.Process(pid)
        self._stop_event = threading.Event()

    def run(self) -> None:
        while not self._stop_event.wait(POLL_SECONDS):
            self.peak_bytes = max(self.peak_bytes, self._sum_resident_bytes())

    def stop(self) -> None:
        self._stop_event.set()
        self.join()

    def _sum_resident_bytes(self) -> int:
        resident_bytes = 0
        try:
            for process in [self._process, *self._process.children(recursive=True)]:
                resident_bytes += process.memory_info().rss
        except psutil.NoSuchProcess:
            pass  # it ended meanwhile
        return resident_bytes


def build_clean_environment() -> dict[str, str]:
    """Return the environment without the INVOICES_ settings of the person who runs the benchmark."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")}
