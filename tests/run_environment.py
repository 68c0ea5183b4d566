"""The environment of the tests: paths of the checkout and its data, memory for files, processes without coverage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SAMPLES = CHECKOUT / "data" / "samples"
CORPUS_DIRECTORY = Path(os.environ.get("INVOICES_CORPUS", CHECKOUT.parent / "shared" / "corpus"))
CONTRACT_DIRECTORY = Path(os.environ.get("INVOICES_API_CONTRACTS", CHECKOUT.parent / "shared" / "apis" / "openapi"))
MEMORY_DIRECTORY = Path("/dev/shm")
REQUIRED_BYTES = 4 << 30  # a run of all tests leaves a third of it
COVERAGE_VARIABLE_PREFIX = "COVERAGE_PROCESS_"


def has_space_in_memory() -> bool:
    """Return whether there is space for temporary directories in memory, where no test waits for a disk.

    The tests kill processes and never cut the power, so what a process wrote stays, on a disk or not.
    """
    if not (MEMORY_DIRECTORY.is_dir() and os.access(MEMORY_DIRECTORY, os.W_OK)):
        return False
    return (
        min(shutil.disk_usage(MEMORY_DIRECTORY).free, psutil.virtual_memory().available - REQUIRED_BYTES)
        > REQUIRED_BYTES
    )


@contextmanager
def suspend_coverage() -> Iterator[None]:
    """Start processes without coverage, which takes a third of their time and is lost if they are killed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list_coverage_variables(os.environ):
            patch.delenv(name)
        yield


def list_coverage_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that turn on coverage in a process."""
    return [name for name in environment if name.startswith(COVERAGE_VARIABLE_PREFIX)]
