"""What the kill sweep works with: the shim, command lines that die at a chosen call, and what a house came to."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MOMENTS = ("before", "after", "torn")
TIMEOUT_SECONDS = 180
IGNORED = {"possible_double_charge", "possible_double_charge_count"}  # honest about a repeat
IGNORED |= {"remote_id", "run_id"}  # drawn by the vendor and by the run


def compiled_shim(directory: Path) -> Path:
    """Return killpoint.so; without a compiler the test is skipped, in CI it fails."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        message = "no C compiler (gcc or cc), so no process can be killed at a chosen call"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    shim = directory / "killpoint.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(shim), str(HERE / "killpoint.c"), "-ldl"], check=True)
    return shim


@dataclass(frozen=True, slots=True)
class Reach:
    """What is swept: the calls of a stage that change a file below a part of the home; "" is all of it.

    With ``sockets`` it is what the stage sends to other hosts and receives from them.
    """

    stage: str
    below: str = ""
    sockets: bool = False

    def __str__(self) -> str:
        return f"{self.stage}-{'sockets' if self.sockets else self.below or 'home'}"


@dataclass(frozen=True, slots=True)
class Point:
    """Where to die: at which call, and whether before it, after it, or in the middle of a write; call 0 only counts."""

    reach: Reach
    call: int = 0
    when: str = "before"

    def __str__(self) -> str:
        return f"{self.reach}-{self.when}-{self.call}"


def spread(reach: Reach, calls: int, points: int) -> list[Point]:
    """Return points spread evenly over the calls, the moments in turn; over all their moments where calls are few."""
    if points > calls:
        every = [Point(reach, call + 1, when) for call in range(calls) for when in MOMENTS]
        return [every[place] for place in sorted({index * len(every) // points for index in range(points)})]
    chosen = sorted({(2 * index + 1) * calls // (2 * points) for index in range(points)})
    return [Point(reach, call + 1, MOMENTS[index % 3]) for index, call in enumerate(chosen)]


@dataclass(frozen=True, slots=True)
class Command:
    """One command line of ours in one house."""

    arguments: Sequence[str]
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The house's home."""
        return Path(self.environment["INVOICES_HOME"])

    @property
    def directory(self) -> Path:
        """An empty place to run in, beside the home."""
        return self.home.parent

    @property
    def output(self) -> Path:
        """Where everything that the command prints is appended."""
        return self.directory / "output.txt"

    def kill(self, point: Point) -> dict[str, Any]:
        """Return what the shim is told, with the count at its beginning."""
        counter = self.directory / "calls"
        counter.unlink(missing_ok=True)
        root, sockets = self.home / point.reach.below, int(point.reach.sockets)
        return {"root": str(root), "at": point.call, "when": point.when, "counter": str(counter), "sockets": sockets}

    def calls(self) -> int:
        """Return how many counted calls the last run of a command here made."""
        return int(struct.unpack("=Q", (self.directory / "calls").read_bytes())[0])

    def told(self) -> dict[str, Any]:
        """Return the JSON object that the last run printed last."""
        found: dict[str, Any] = json.loads(self.output.read_text(encoding="utf-8").strip().splitlines()[-1])
        return found


class Fork:
    """A process with everything imported, from which command lines are forked; one at a time."""

    def __init__(self, shim: Path, environment: Mapping[str, str]) -> None:
        """Start it; that takes the seconds which each command line is spared."""
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "forking.py")],
            env={**environment, "LD_PRELOAD": str(shim), "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, command: Command, point: Point | None = None) -> int:
        """Return the exit status of a command, -9 if it was killed at the point; without a point it is left alone."""
        request = {
            "arguments": list(command.arguments),
            "environment": dict(command.environment),
            "directory": str(command.directory),
            "output": str(command.output),
            "kill": command.kill(point) if point else None,
        }
        while "status" not in (answer := self._ask(request)):
            request = {}
        return int(answer["status"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the forking process has no pipes")
        if request:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the forking process is gone, status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(TIMEOUT_SECONDS)


def started_and_killed(shim: Path, command: Command, point: Point) -> int:
    """Return the exit status of a command that was started as anybody starts it, with the shim preloaded."""
    told = {f"KILLPOINT_{name.upper()}": str(value) for name, value in command.kill(point).items()}
    environment = {**command.environment, **told, "LD_PRELOAD": str(shim)}
    with command.output.open("a", encoding="utf-8") as output:
        return subprocess.run(
            [str(Path(sys.executable).with_name("invoices")), *command.arguments],
            env=environment,
            cwd=command.directory,
            stdout=output,
            stderr=output,
            timeout=TIMEOUT_SECONDS,
            check=False,
        ).returncode


def tables(home: Path) -> dict[str, list[str]]:
    """Return every table of the published warehouse as sorted rows, without instants and what a vendor draws."""
    found: dict[str, list[str]] = {}
    with closing(duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True)) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_schema in ('raw', 'core', 'marts') and not starts_with(table_name, '_dlt')"
        ).fetchall()
        for schema, name in names:
            described = connection.execute(f'select * from "{schema}"."{name}" limit 0').description or []
            columns = [column[0] for column in described if _is_compared(column[0])]
            quoted = ", ".join(f'"{column}"' for column in columns)
            rows = connection.execute(f'select {quoted} from "{schema}"."{name}"').fetchall()
            found[f"{schema}.{name}"] = sorted(repr(dict(zip(columns, row, strict=True))) for row in rows)
    return found


def _is_compared(column: str) -> bool:
    return not (column.endswith("_at") or column.startswith("_dlt") or column in IGNORED)


def exports(home: Path) -> dict[str, Any]:
    """Return each batch: its manifest without the instant, and its files where they do not tell it either."""
    found: dict[str, Any] = {}
    for manifest in sorted((home / "exports").glob("*/manifest.json")):
        told = json.loads(manifest.read_text(encoding="utf-8"))
        del told["created_at"]
        told["files"] = {name: file["rows"] for name, file in told["files"].items()}
        told["csv"] = {file.name: file.read_bytes() for file in sorted(manifest.parent.glob("*.csv"))}
        found[manifest.parent.name] = told
    left = [path.name for path in (home / "exports").glob(".*")]
    return {**found, "leftovers": left}
