"""Run the command line as its users do: as a process with an environment, an exit status and output."""

from __future__ import annotations

import atexit
import functools
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.fork_client import ForkServer


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


@functools.cache
def get_fork_server() -> ForkServer:
    """Return the process from which this test process forks its commands."""
    server = ForkServer({name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")})
    atexit.register(server.close)
    return server


def run_command(
    home: Path, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> CommandResult:
    """Run ``invoices`` with the arguments in a process of its own; a traceback in its output is never right."""
    with tempfile.TemporaryDirectory() as directory:
        output_path, error_path = Path(directory) / "stdout", Path(directory) / "stderr"
        environment = env or build_environment(home)
        status = get_fork_server().run(arguments, environment, cwd or Path.cwd(), output_path, error_path)
        stdout, stderr = output_path.read_text(encoding="utf-8"), error_path.read_text(encoding="utf-8")
    assert "Traceback" not in stdout + stderr, stdout + stderr
    return CommandResult(status, stdout, stderr)
