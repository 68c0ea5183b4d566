"""Run the command line as its users do: as a process with an environment, an exit status and output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit status and the output of a command."""

    exit_status: int
    stdout: str
    stderr: str

    @property
    def json_output(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        return dict(json.loads(self.stdout.splitlines()[-1]))


def build_environment(home: Path, **settings: str) -> dict[str, str]:
    """Return the environment of this process without its INVOICES_ variables, and with a home and these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")}
    return inherited | {"INVOICES_HOME": str(home), "INVOICES_INBOX__SETTLE_SECONDS": "0"} | settings


def run_command(
    home: Path, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> CommandResult:
    """Run ``invoices`` with the arguments and return its result; fail the test if it prints a traceback."""
    completed = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        env=dict(env or build_environment(home)),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert "Traceback" not in completed.stdout + completed.stderr, completed.stdout + completed.stderr
    return CommandResult(completed.returncode, completed.stdout, completed.stderr)
