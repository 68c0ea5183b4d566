"""Running the command line as its users do: a process, an environment, an exit status, what it printed."""

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
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """The object on the last line of stdout."""
        return dict(json.loads(self.out.splitlines()[-1]))


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with a home and nothing of ours from outside."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")}
    return clean | {"INVOICES_HOME": str(home), "INVOICES_INBOX__SETTLE_SECONDS": "0"} | more


def run(home: Path, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ran:
    """Run ``invoices`` with the arguments and return what it left; a traceback is never right."""
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        env=dict(env or environment(home)),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)
