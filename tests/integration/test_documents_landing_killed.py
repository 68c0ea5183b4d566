"""A landing killed at its writes: whatever the store shows is whole, and what was settled stays."""

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
from tests.e2e.killing import Point, Reach, compiled_shim, spread

SETTLED = [b"settled %d" % number for number in range(6)]
LATER = [b"later %d" % number for number in range(20)] + [b"large" * 500_000]
POINTS = 45

# Forks once for each point, so that Python starts only once; threads of the landing are the fork's own.
PROGRAM = """
import ctypes, io, json, os, sys
from pathlib import Path
from invoices.documents.store import DocumentStore
from tests.integration.test_documents_landing_killed import LATER, SETTLED

def land(folder):
    store = DocumentStore(folder / "documents")
    with store.landing() as landing:
        for content in SETTLED:
            landing.put(content)
        landing.settle()
        (folder / "told").touch()
        for content in LATER:
            landing.put_file(io.BytesIO(content))

for line in sys.stdin:
    folder, at, when = json.loads(line)
    child = os.fork()
    if child == 0:
        arm = ctypes.CDLL(None).killpoint_arm
        arm.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
        arm(f"{folder}/documents".encode(), at, when.encode(), f"{folder}/calls".encode(), 0)
        land(Path(folder))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def statuses(shim: Path, folders: Sequence[Path], points: Sequence[Point]) -> list[int]:
    """Return how a landing in each folder ended that was killed at a point."""
    for folder in folders:
        folder.mkdir()
    told = [json.dumps([str(folder), point.call, point.when]) for folder, point in zip(folders, points, strict=True)]
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(told),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line) for line in ran.stdout.split()]


def shown(folder: Path) -> dict[str, bytes]:
    """Return every document that a reader of the store could see."""
    found = (folder / "documents").glob("[0-9a-f][0-9a-f]/*")
    return {path.name: path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders in which a landing was killed, each at another moment."""
    place = tmp_path_factory.mktemp("landings")
    shim, reach = compiled_shim(place), Reach("land")
    assert statuses(shim, [place / "whole"], [Point(reach)]) == [0]
    calls = int.from_bytes((place / "whole" / "calls").read_bytes(), sys.byteorder)
    points = spread(reach, calls, POINTS)
    folders = [place / str(point) for point in points]
    ended = statuses(shim, folders, points)
    assert ended.count(-9) >= POINTS - 5  # threads do not always make quite as many calls
    return folders


def test_whatever_is_shown_is_whole(killed: list[Path]) -> None:
    for folder in killed:
        assert all(hashlib.sha256(content).hexdigest() == name for name, content in shown(folder).items()), folder


def test_what_was_settled_is_there(killed: list[Path]) -> None:
    told = [folder for folder in killed if (folder / "told").exists()]
    assert 5 < len(told) < len(killed)
    for folder in told:
        assert set(SETTLED) <= set(shown(folder).values()), folder


def test_landing_again_completes_what_a_killed_one_began(killed: list[Path]) -> None:
    for folder in killed:
        with DocumentStore(folder / "documents").landing() as landing:
            for content in [*SETTLED, *LATER]:
                landing.put(content)
        assert sorted(shown(folder).values()) == sorted([*SETTLED, *LATER]), folder
