"""Peak memory of stages: each measured in a process of its own, ``python -m tests.stage_memory HOME STAGE…``."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from flows.bootstrap import open_app
from flows.runner import run_stages
from invoices.run_report import RunReport
from invoices.settings import InboxSettings, Settings
from tests.run_environment import CHECKOUT

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StageMemory:
    """What a process that ran stages needed; memory is its peak resident memory, without its children's."""

    peak_megabytes: int
    seconds: float
    report: dict[str, object]


def measure_stages(home: Path, *stage_names: str) -> StageMemory:
    """Run the stages in a new process, as the command line does, and return what it needed."""
    command = [sys.executable, "-m", "tests.stage_memory", str(home), *stage_names]
    completed = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return StageMemory(**json.loads(completed.stdout.splitlines()[-1]))


def read_peak_megabytes() -> int:
    """Return the peak resident memory of this process since it started (VmHWM of Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("this system has no VmHWM")


def main() -> None:
    """Run the stages that the arguments name, and print the result as JSON."""
    settings = Settings(home=Path(sys.argv[1]), inbox=InboxSettings(settle_seconds=0))
    started_at = time.monotonic()
    with open_app(settings) as app:
        stages = [importlib.import_module(f"flows.stages.{name}") for name in sys.argv[2:]]
        report = run_stages(app, stages, RunReport())
    figures = {
        "verdicts": dict(report.verdicts), "problems": report.problems, "rows_loaded": report.rows_loaded,
        "receipt_statuses": dict(report.receipt_statuses), "export_batches": report.export_batches,
        "exported_invoices": report.exported_invoices,
    }  # fmt: skip
    seconds = round(time.monotonic() - started_at, 1)
    print(json.dumps({"peak_megabytes": read_peak_megabytes(), "seconds": seconds, "report": figures}))  # noqa: T201  the parent reads it


if __name__ == "__main__":
    main()
