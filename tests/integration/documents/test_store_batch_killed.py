"""A store batch killed at its writes: visible documents are whole, and flushed documents stay."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from tests.e2e.kill_injection import KillPoint, SweepScope, compile_kill_shim, select_kill_points

FLUSHED_CONTENTS = [b"flushed %d" % number for number in range(6)]
LATER_CONTENTS = [b"later %d" % number for number in range(20)] + [b"large" * 500_000]
KILL_POINT_COUNT = 45

# Forks once for each kill point, so that Python starts only once; the threads of the batch start in the fork.
KILLED_WRITER_SCRIPT = """
import ctypes, io, json, os, sys
from pathlib import Path
from invoices.documents.store import DocumentStore
from tests.integration.documents.test_store_batch_killed import FLUSHED_CONTENTS, LATER_CONTENTS

def store_documents(folder):
    store = DocumentStore(folder / "documents")
    with store.open_batch() as batch:
        for content in FLUSHED_CONTENTS:
            batch.put(content)
        batch.flush()
        (folder / "flushed").touch()
        for content in LATER_CONTENTS:
            batch.put_file(io.BytesIO(content))

for line in sys.stdin:
    folder, at, when = json.loads(line)
    child = os.fork()
    if child == 0:
        arm = ctypes.CDLL(None).killpoint_arm
        arm.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
        arm(f"{folder}/documents".encode(), at, when.encode(), f"{folder}/calls".encode(), 0)
        store_documents(Path(folder))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run_killed_batches(shim: Path, folders: Sequence[Path], points: Sequence[KillPoint]) -> list[int]:
    """Return the exit status of a batch in each folder that was killed at its point."""
    for folder in folders:
        folder.mkdir()
    requests = [
        json.dumps([str(folder), point.call_number, point.moment])
        for folder, point in zip(folders, points, strict=True)
    ]
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    completed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER_SCRIPT],
        input="\n".join(requests),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line) for line in completed.stdout.split()]


def read_visible_documents(folder: Path) -> dict[str, bytes]:
    """Return every document that a reader of the store could see."""
    paths = (folder / "documents").glob("[0-9a-f][0-9a-f]/*")
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def killed_store_directories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Directories in which a batch was killed, each at another moment."""
    directory = tmp_path_factory.mktemp("batches")
    shim, scope = compile_kill_shim(directory), SweepScope("store")
    assert run_killed_batches(shim, [directory / "whole"], [KillPoint(scope)]) == [0]
    calls = int.from_bytes((directory / "whole" / "calls").read_bytes(), sys.byteorder)
    points = select_kill_points(scope, calls, KILL_POINT_COUNT)
    folders = [directory / str(point) for point in points]
    exit_statuses = run_killed_batches(shim, folders, points)
    assert exit_statuses.count(-9) >= KILL_POINT_COUNT - 5  # threads do not always make quite as many calls
    return folders


def test_visible_documents_are_whole(killed_store_directories: list[Path]) -> None:
    for folder in killed_store_directories:
        assert all(
            hashlib.sha256(content).hexdigest() == name for name, content in read_visible_documents(folder).items()
        ), folder


def test_flushed_documents_are_stored(killed_store_directories: list[Path]) -> None:
    flushed_stores = [folder for folder in killed_store_directories if (folder / "flushed").exists()]
    assert 5 < len(flushed_stores) < len(killed_store_directories)
    for folder in flushed_stores:
        assert set(FLUSHED_CONTENTS) <= set(read_visible_documents(folder).values()), folder


def test_storing_again_completes_a_killed_batch(killed_store_directories: list[Path]) -> None:
    for folder in killed_store_directories:
        with DocumentStore(folder / "documents").open_batch() as batch:
            for content in [*FLUSHED_CONTENTS, *LATER_CONTENTS]:
                batch.put(content)
        assert sorted(read_visible_documents(folder).values()) == sorted([*FLUSHED_CONTENTS, *LATER_CONTENTS]), folder
