"""What surrounds the tests: where they write, and which of their processes are measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; a run of everything leaves a third of that
COVERAGE = "COVERAGE_PROCESS_"


def has_room_in_memory() -> bool:
    """Tell whether temporary directories can be in memory, where no test waits for a disk to say that it has written.

    What is killed here are processes, never the power: what they had written is there afterwards, on a disk or not.
    """
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available - ROOM) > ROOM


@contextmanager
def unmeasured() -> Iterator[None]:
    """Start processes without coverage, which takes a third of their time and is lost when they are killed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in measuring(os.environ):
            patch.delenv(name)
        yield


def measuring(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables by which a process knows that it is measured."""
    return [name for name in environment if name.startswith(COVERAGE)]
