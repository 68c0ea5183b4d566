"""Runs the sandbox as a child process for the length of a ``with`` block."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import journal


class SandboxError(RuntimeError):
    """The sandbox did not start."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox: the base URL and API key of each API, its port, process and state folder."""

    smartbills_com: Mapping[str, str]
    invoicedataextraction_com: Mapping[str, str]
    billflowai: Mapping[str, str]
    smartbills_io: Mapping[str, str]
    admin_token: str = field(repr=False)
    port: int
    pid: int
    state_directory: Path
    process: subprocess.Popen[str] = field(repr=False)

    def read_journal(self, api_key: str | None = None) -> dict[str, Any]:
        """Return the journal so far, for one API key or for all; see ``sandbox.journal.read_journal``."""
        return journal.read_journal(self.state_directory, api_key)

    def update_settings(self, api_key: str | None = None, **settings: Any) -> None:
        """Change settings while it runs; write the dot of a name as two underscores: ``smartbills_com__plan="pro"``."""
        values = {name.replace("__", ".", 1): value for name, value in settings.items()}
        body = json.dumps({**values, **({"api_key": api_key} if api_key else {})}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_sandbox/settings", body, {"Authorization": f"Bearer {self.admin_token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10):
            pass

    def kill(self) -> None:
        """Kill the process; its state folder stays."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def start_sandbox(
    state_directory: Path,
    *,
    port: int = 0,
    minute_seconds: float = 60.0,
    plan: str = "free",
    settings: Mapping[str, object] | None = None,
    timeout: float = 30.0,
) -> Iterator[Sandbox]:
    """Run the sandbox until the ``with`` block ends; it also stops when this process ends for any reason.

    ``state_directory`` holds its journal, and a later start continues from it. Raises SandboxError if the sandbox
    does not listen within ``timeout`` seconds.
    """
    command = [sys.executable, "-m", "sandbox", "serve", "--state", str(state_directory.resolve()), "--port", str(port)]
    command += ["--minute-seconds", str(minute_seconds), "--plan", plan, "--until-stdin-closes"]
    for name, value in (settings or {}).items():
        command += ["--setting", f"{name}={value}"]
    project_root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project_root)  # noqa: S603 - our own command
    try:
        yield _wait_until_listening(process, state_directory, timeout)
    finally:
        _stop_process(process)


def _wait_until_listening(process: subprocess.Popen[str], state_directory: Path, timeout: float) -> Sandbox:
    if process.stdout is None:
        raise SandboxError("the sandbox was started without a pipe for its standard output")
    ready, _, _ = select.select([process.stdout], [], [], timeout)
    line = process.stdout.readline() if ready else ""
    if not line:
        raise SandboxError(
            f"the sandbox did not start within {timeout} s; exit code: {process.poll()!r}; its error output says why"
        )
    return Sandbox(**json.loads(line), state_directory=state_directory, process=process)


def _stop_process(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
    if process.stdout is not None:
        process.stdout.close()
