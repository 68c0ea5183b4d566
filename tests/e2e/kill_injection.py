"""Tools of a kill sweep: the shim, commands that are killed at a chosen call, and the contents of a home afterwards."""

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

from tests.e2e.fork_client import ForkServer

HERE = Path(__file__).parent
KILL_MOMENTS = ("before", "after", "torn")
TIMEOUT_SECONDS = 180
IGNORED_COLUMNS = {"possible_double_charge", "possible_double_charge_count"}  # honest about a repeat
IGNORED_COLUMNS |= {"remote_id", "run_id"}  # drawn by the vendor and by the run


def compile_kill_shim(directory: Path) -> Path:
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
class SweepScope:
    """What is swept: the calls of a stage that change a file below a part of the home; "" is all of it.

    With ``sockets`` it is what the stage sends to other hosts and receives from them.
    """

    stage: str
    subdirectory: str = ""
    counts_sockets: bool = False

    def __str__(self) -> str:
        return f"{self.stage}-{'sockets' if self.counts_sockets else self.subdirectory or 'home'}"


@dataclass(frozen=True, slots=True)
class KillPoint:
    """Where to die: at which call, and whether before it, after it, or in the middle of a write; call 0 only counts."""

    scope: SweepScope
    call_number: int = 0
    moment: str = "before"

    def __str__(self) -> str:
        return f"{self.scope}-{self.moment}-{self.call_number}"


def select_kill_points(scope: SweepScope, call_count: int, point_count: int) -> list[KillPoint]:
    """Return points spread evenly over the calls, the moments in turn; over all their moments where calls are few."""
    if point_count > call_count:
        candidates = [KillPoint(scope, call + 1, moment) for call in range(call_count) for moment in KILL_MOMENTS]
        return [
            candidates[position]
            for position in sorted({index * len(candidates) // point_count for index in range(point_count)})
        ]
    call_indexes = sorted({(2 * index + 1) * call_count // (2 * point_count) for index in range(point_count)})
    return [KillPoint(scope, call + 1, KILL_MOMENTS[index % 3]) for index, call in enumerate(call_indexes)]


@dataclass(frozen=True, slots=True)
class AppCommand:
    """One command in one home."""

    arguments: Sequence[str]
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The home directory."""
        return Path(self.environment["INVOICES_HOME"])

    @property
    def working_directory(self) -> Path:
        """An empty place to run in, beside the home."""
        return self.home.parent

    @property
    def output_path(self) -> Path:
        """Where everything that the command prints is appended."""
        return self.working_directory / "output.txt"

    def build_kill_request(self, point: KillPoint) -> dict[str, Any]:
        """Return what the shim is told, with the count at its beginning."""
        counter_path = self.working_directory / "calls"
        counter_path.unlink(missing_ok=True)
        root, sockets = self.home / point.scope.subdirectory, int(point.scope.counts_sockets)
        return {
            "root": str(root),
            "at": point.call_number,
            "when": point.moment,
            "counter": str(counter_path),
            "sockets": sockets,
        }

    def read_call_count(self) -> int:
        """Return how many counted calls the last run of a command here made."""
        return int(struct.unpack("=Q", (self.working_directory / "calls").read_bytes())[0])

    def read_json_output(self) -> dict[str, Any]:
        """Return the JSON object that the last run printed last."""
        output: dict[str, Any] = json.loads(self.output_path.read_text(encoding="utf-8").strip().splitlines()[-1])
        return output


def run_forked_command(fork_server: ForkServer, command: AppCommand, point: KillPoint | None = None) -> int:
    """Return the exit status of a command, -9 if it was killed at the point; without a point it runs undisturbed."""
    return fork_server.run(
        command.arguments, command.environment, command.working_directory, command.output_path, command.output_path,
        command.build_kill_request(point) if point else None,
    )  # fmt: skip


def run_command_with_kill(shim: Path, command: AppCommand, point: KillPoint) -> int:
    """Return the exit status of a command that was started as anybody starts it, with the shim preloaded."""
    kill_variables = {
        f"KILLPOINT_{name.upper()}": str(value) for name, value in command.build_kill_request(point).items()
    }
    environment = {**command.environment, **kill_variables, "LD_PRELOAD": str(shim)}
    with command.output_path.open("a", encoding="utf-8") as output:
        return subprocess.run(
            [str(Path(sys.executable).with_name("invoices")), *command.arguments],
            env=environment,
            cwd=command.working_directory,
            stdout=output,
            stderr=output,
            timeout=TIMEOUT_SECONDS,
            check=False,
        ).returncode


def read_warehouse_tables(home: Path) -> dict[str, list[str]]:
    """Return every table of the published warehouse as sorted rows, without instants and what a vendor draws."""
    tables_by_name: dict[str, list[str]] = {}
    with closing(duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True)) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_schema in ('raw', 'core', 'marts') and not starts_with(table_name, '_dlt')"
        ).fetchall()
        for schema, name in names:
            description = connection.execute(f'select * from "{schema}"."{name}" limit 0').description or []
            columns = [column[0] for column in description if _is_compared(column[0])]
            quoted = ", ".join(f'"{column}"' for column in columns)
            rows = connection.execute(f'select {quoted} from "{schema}"."{name}"').fetchall()
            tables_by_name[f"{schema}.{name}"] = sorted(repr(dict(zip(columns, row, strict=True))) for row in rows)
    return tables_by_name


def _is_compared(column: str) -> bool:
    return not (column.endswith("_at") or column.startswith("_dlt") or column in IGNORED_COLUMNS)


def read_exports(home: Path) -> dict[str, Any]:
    """Return each batch: its manifest without the instant, and its files where they do not tell it either."""
    batches: dict[str, Any] = {}
    for manifest in sorted((home / "exports").glob("*/manifest.json")):
        content = json.loads(manifest.read_text(encoding="utf-8"))
        del content["created_at"]
        content["files"] = {name: file["rows"] for name, file in content["files"].items()}
        content["csv"] = {file.name: file.read_bytes() for file in sorted(manifest.parent.glob("*.csv"))}
        batches[manifest.parent.name] = content
    leftover_names = [path.name for path in (home / "exports").glob(".*")]
    return {**batches, "leftovers": leftover_names}
