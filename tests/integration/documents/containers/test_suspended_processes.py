"""Parents and children that are stopped, continued or killed in the middle of a request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.documents.containers import misbehaving_container_opener

MODULE = misbehaving_container_opener.__name__
PARENT_SCRIPT = f"""
import pathlib, sys
from invoices.documents.child_process import ProcessLimits
from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
limits = ProcessLimits(memory_bytes=400 * 1024 * 1024, seconds=2.0)
folder = pathlib.Path(sys.argv[1])
with ContainerOpenerPool(1, limits, module={MODULE!r}) as pool, DocumentStore(folder / "store").open_batch() as batch:
    pool.open_container(b"echo", batch)
    print("ready", flush=True)
    opened = pool.open_container(sys.argv[2].encode(), batch)
    print(opened.reason_code, opened.byte_counts, flush=True)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def start_parent(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """A function that starts a process whose child obeys a command; it has begun to when the function returns."""
    parents: list[subprocess.Popen[str]] = []

    def start(command: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-c", PARENT_SCRIPT, str(tmp_path), command]
        parents.append(subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]))
        assert parents[-1].stdout is not None
        assert parents[-1].stdout.readline() == "ready\n"
        return parents[-1]

    yield start
    for parent in parents:
        with parent:
            parent.kill()


def get_child(parent: subprocess.Popen[str]) -> psutil.Process:
    (child,) = psutil.Process(parent.pid).children()
    return child


def test_a_suspension_beyond_the_limit_costs_no_document(start_parent: Callable[[str], subprocess.Popen[str]]) -> None:
    parent = start_parent("stop the parent, then echo")
    child = get_child(parent)
    wait_until(lambda: psutil.Process(parent.pid).status() == psutil.STATUS_STOPPED)
    child.suspend()
    time.sleep(2.5)  # beyond the limit: the time that passes here is what is tested
    child.resume()
    os.kill(parent.pid, signal.SIGCONT)
    assert parent.communicate()[0] == "None (4,)\n"


def test_a_child_whose_parent_is_stopped_finishes_and_waits(
    start_parent: Callable[[str], subprocess.Popen[str]],
) -> None:
    parent = start_parent("stop the parent, then echo")
    child = get_child(parent)
    wait_until(lambda: psutil.Process(parent.pid).status() == psutil.STATUS_STOPPED)
    wait_until(lambda: child.status() == psutil.STATUS_SLEEPING)
    os.kill(parent.pid, signal.SIGCONT)
    assert parent.communicate()[0] == "None (4,)\n"
    wait_until(lambda: not is_running(child))


@pytest.mark.parametrize("command", ["hang", "compute forever"])
def test_a_busy_child_ends_with_its_parent(start_parent: Callable[[str], subprocess.Popen[str]], command: str) -> None:
    parent = start_parent(command)
    child = get_child(parent)
    parent.kill()
    wait_until(lambda: not is_running(child))
