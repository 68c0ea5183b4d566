"""A signal ends a command with its own status and without a traceback, wherever it arrives."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM_START = "import os, signal\nfrom flows.cli.signal_exit import exit_on_signals\n"
SEND_SIGTERM = "os.kill(os.getpid(), signal.SIGTERM)"
INTERRUPTED = "Interrupted. Run the same command again to continue.\n"


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM_START + program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_the_block_with_its_status_after_cleaning_up(name: str, status: int) -> None:
    program = f"""
with exit_on_signals():
    try:
        os.kill(os.getpid(), signal.{name})
    finally:
        print("closed")
"""
    completed = run_program(program)
    assert (completed.returncode, completed.stdout, completed.stderr) == (status, "closed\n", INTERRUPTED)


def test_a_failure_while_cleaning_up_keeps_the_status_of_the_signal() -> None:
    program = f"""
with exit_on_signals():
    try:
        {SEND_SIGTERM}
    finally:
        raise OSError(9, "Bad file descriptor")
"""
    completed = run_program(program)
    assert (completed.returncode, completed.stderr) == (143, INTERRUPTED)


def test_a_signal_during_a_finalizer_is_not_lost() -> None:
    program = f"""
import time
class Closed:
    def __del__(self):
        {SEND_SIGTERM}
with exit_on_signals():
    closed = Closed()
    del closed
    time.sleep(30)
"""
    completed = run_program(program)
    assert (completed.returncode, completed.stderr) == (143, INTERRUPTED)


def test_without_a_signal_an_error_and_an_exit_stay_as_they_are() -> None:
    completed = run_program("with exit_on_signals():\n    raise SystemExit(2)\n")
    assert (completed.returncode, completed.stderr) == (2, "")
    completed = run_program("with exit_on_signals():\n    raise ValueError('unexpected')\n")
    assert "ValueError: unexpected" in completed.stderr


def test_ctrl_c_while_the_command_line_is_still_starting_ends_without_a_traceback() -> None:
    program = "from flows.cli import main; main(['status'])"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    while not _catches_sigterm(process.pid):  # from then on the commands are imported
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, INTERRUPTED)


def _catches_sigterm(process_id: int) -> bool:
    status_lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    caught_signals = next(line.split()[1] for line in status_lines if line.startswith("SigCgt:"))
    return bool(int(caught_signals, 16) & (1 << (signal.SIGTERM - 1)))
