"""Runs commands in forks of a process that has everything imported, which spares each of them seconds of imports."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.run_environment import CHECKOUT

TIMEOUT_SECONDS = 300


class ForkServer:
    """A process from which commands are forked, one at a time; with ``shim`` they can be killed at a chosen call."""

    def __init__(self, environment: Mapping[str, str], shim: Path | None = None) -> None:
        """Start the process."""
        preload = {"LD_PRELOAD": str(shim)} if shim else {}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            env={**environment, **preload, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._is_ready = False

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        output_path: Path,
        error_path: Path,
        kill: Mapping[str, Any] | None = None,
    ) -> int:
        """Return the exit status of ``invoices`` with these arguments, negative for a signal."""
        if not self._is_ready:
            self._read_response()
            self._is_ready = True
        request = {
            "arguments": list(arguments), "environment": dict(environment), "directory": str(directory),
            "output": str(output_path), "errors": str(error_path), "kill": kill,
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._read_response()["status"])

    def _read_response(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], TIMEOUT_SECONDS)[0]:
            self._process.kill()
            raise TimeoutError(f"no response from the fork server within {TIMEOUT_SECONDS} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fork server has ended, status {self._process.wait()}")
        response: dict[str, Any] = json.loads(line)
        return response

    def close(self) -> None:
        """End the process."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(TIMEOUT_SECONDS)
