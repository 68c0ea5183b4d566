"""Where the tests find the checkout and what lies beside it, where they write, and which of their processes are measured."""

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
REQUIRED_BYTES = 4 << 30  # bytes; a run of everything leaves a third of that
COVERAGE_VARIABLE_PREFIX = "COVERAGE_PROCESS_"


def has_space_in_memory() -> bool:
    """Tell whether temporary directories can be in memory, where no test waits for a disk to say that it has written.

    What is killed here are processes, never the power: what they had written is there afterwards, on a disk or not.
    """
    if not (MEMORY_DIRECTORY.is_dir() and os.access(MEMORY_DIRECTORY, os.W_OK)):
        return False
    return (
        min(shutil.disk_usage(MEMORY_DIRECTORY).free, psutil.virtual_memory().available - REQUIRED_BYTES)
        > REQUIRED_BYTES
    )


@contextmanager
def suspend_coverage() -> Iterator[None]:
    """Start processes without coverage, which takes a third of their time and is lost when they are killed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list_coverage_variables(os.environ):
            patch.delenv(name)
        yield


def list_coverage_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables by which a process knows that it is measured."""
    return [name for name in environment if name.startswith(COVERAGE_VARIABLE_PREFIX)]
