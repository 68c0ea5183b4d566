"""Killed at any file change of any stage, a second run ends like an undisturbed one: nothing lost, nothing twice.

A command line is killed (SIGKILL) before, after or in the middle of its Nth call that changes a file below its home;
then ``invoices run`` goes on to the end. KILL_POINTS=500 sweeps that many points.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from sandbox.process import Sandbox, start_sandbox
from tests.e2e.fork_client import ForkServer
from tests.e2e.kill_injection import (
    AppCommand,
    KillPoint,
    SweepScope,
    compile_kill_shim,
    read_exports,
    read_warehouse_tables,
    run_command_with_kill,
    run_forked_command,
)
from tests.e2e.kill_sweep import FAILURE_MARK, run_kill_sweep
from tests.run_environment import SAMPLES
from tests.sweep_size import IS_SOAK, choose_point_count

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux"),
]

STAGES = ("collect", "extract", "validate", "load", "publish", "export")
WHOLE_RUN = "run"
WEIGHT_BY_SCOPE = {
    SweepScope("collect"): 4,
    SweepScope("extract"): 5,
    SweepScope("validate"): 3,
    SweepScope("load"): 6,
    SweepScope("publish", "ledger.sqlite"): 4,  # it also loads, which is swept above
    SweepScope("export", "exports"): 3,
    SweepScope("export", "ledger.sqlite"): 2,
    SweepScope(WHOLE_RUN): 5,
}
PARALLEL_FORKS = 2 if IS_SOAK else 1
SETTLED_TIMESTAMP = 1_700_000_000
# The first of each kind in the sample world's manifest; of some a second one.
KINDS = (
    "cii EN 16931", "ubl Invoice", "ubl CreditNote", "pdf+cii EN 16931", "text pdf", "text pdf", "scan",
    "truncated xml", "ubl Order", "program",
)  # fmt: skip
DUPLICATE_STATE = (
    "duplicate"  # and the first duplicate that is no XML, with all of its kind: one of them is the original
)
STATES = ("accepted", "review", "quarantined", "duplicate", "not_invoice")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an undisturbed life comes to."""

    tables: Mapping[str, list[str]]
    exports: Mapping[str, Any]
    charged: frozenset[str]
    receipts: frozenset[str]


class SweepEnvironment:
    """The inbox, the sandbox, the processes to fork from, and the homes as they were before each stage."""

    def __init__(self, directory: Path, sandbox: Sandbox, shim: Path) -> None:
        self.directory, self.sandbox, self.shim = directory, sandbox, shim
        self.inbox = directory / "inbox"
        copy_samples(self.inbox)
        self.idle_fork_servers: SimpleQueue[ForkServer] = SimpleQueue()
        self._fork_servers = [ForkServer(build_clean_environment(), shim) for _ in range(PARALLEL_FORKS)]
        for fork_server in self._fork_servers:
            self.idle_fork_servers.put(fork_server)

    def close(self) -> None:
        """End the processes."""
        for fork_server in self._fork_servers:
            fork_server.close()

    def build_command(self, name: str, *arguments: str) -> AppCommand:
        """Return a command in the home ``name``, which has an account of its own at the vendors."""
        home = self.directory / "homes" / name / "home"
        home.mkdir(parents=True, exist_ok=True)
        extraction_api, receipts_api, api_key = (
            self.sandbox.smartbills_com,
            self.sandbox.smartbills_io,
            build_api_key(name),
        )
        settings = {
            "HOME": str(home),
            "INBOX__PATH": str(self.inbox),
            "VENDOR_MINUTE_SECONDS": "1",
            "SMARTBILLS_COM__BASE_URL": extraction_api["base_url"],
            "SMARTBILLS_COM__API_KEY": api_key,
            "SMARTBILLS_COM__PLAN": "enterprise",
            "SMARTBILLS_IO__BASE_URL": receipts_api["base_url"],
            "SMARTBILLS_IO__API_KEY": api_key,
            "SMARTBILLS_IO__TENANT_ID": receipts_api["tenant_id"],
            "SMARTBILLS_IO__REQUESTS_PER_MINUTE": "1000",
            "SMARTBILLS_IO__REPEAT_AFTER_MINUTES": "0",  # its list never lags here, and the next run is to end the work
            "SMARTBILLS_IO__CUSTOMER_EMAIL": "sweep@example.org",
        }
        return AppCommand(
            arguments, build_clean_environment() | {f"INVOICES_{name}": value for name, value in settings.items()}
        )

    def run_command(self, command: AppCommand, point: KillPoint | None = None) -> int:
        """Return the exit status of a command, forked from the next free process."""
        fork_server = self.idle_fork_servers.get()
        try:
            return run_forked_command(fork_server, command, point)
        finally:
            self.idle_fork_servers.put(fork_server)


def test_killed_anywhere_a_second_run_ends_like_an_undisturbed_one(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    shim = compile_kill_shim(tmp_path)
    with start_sandbox(tmp_path / "sandbox", minute_seconds=1.0, plan="enterprise") as sandbox:
        environment = SweepEnvironment(tmp_path, sandbox, shim)
        try:
            expected = run_undisturbed(environment)
            result = run_kill_sweep(
                WEIGHT_BY_SCOPE, 3, choose_point_count(2, 60), lambda scope: count_calls(environment, expected, scope),
                lambda _number, point: run_kill_point(environment, expected, point), parallel=PARALLEL_FORKS,
            )  # fmt: skip
        finally:
            environment.close()
    record_property("figures", result.format_figures())
    result.assert_repaired(min_killed_share=0.9)


def run_undisturbed(environment: SweepEnvironment) -> Outcome:
    """Return what an undisturbed life comes to; leaves a home as it is before each stage.

    The whole recipe in one run comes to the same as stage after stage.
    """
    for stage in STAGES:
        command = environment.build_command("undisturbed", stage, "--json")
        shutil.copytree(command.home, environment.directory / "before" / stage, symlinks=True)
        assert environment.run_command(command) == 0, command.output_path.read_text()
    (environment.directory / "before" / WHOLE_RUN).mkdir()
    outcome = read_outcome(environment, "undisturbed")
    states = Counter(row.rpartition("'state': '")[2].partition("'")[0] for row in outcome.tables["core.documents"])
    assert all(states[state] for state in STATES), states
    assert outcome.charged
    assert all(any(document in row for row in outcome.tables["raw.extractions"]) for document in outcome.charged)
    assert outcome.receipts
    return outcome


def count_calls(environment: SweepEnvironment, expected: Outcome, scope: SweepScope) -> int:
    """Return how many calls there are in reach, by running the stage undisturbed."""
    command = prepare_command(environment, str(scope), scope.stage)
    assert environment.run_command(command, KillPoint(scope)) == 0, command.output_path.read_text()
    if scope.stage == WHOLE_RUN:
        assert read_outcome(environment, str(scope)) == expected
    return command.read_call_count()


def prepare_command(environment: SweepEnvironment, name: str, stage: str) -> AppCommand:
    """Return the command of a stage in a home of its own, as it is before that stage."""
    command = environment.build_command(name, stage, "--json")
    shutil.copytree(environment.directory / "before" / stage, command.home, symlinks=True, dirs_exist_ok=True)
    return command


def read_outcome(environment: SweepEnvironment, name: str) -> Outcome:
    """Return the contents of the home, after comparing them with the journal of the sandbox."""
    home = environment.build_command(name).home
    journal = environment.sandbox.read_journal(build_api_key(name))
    charged = Counter(charge["document_sha256"] for charge in journal["charges"])
    receipts = Counter(receipt["receiptId"] for receipt in journal["receipts"])
    repeated = [name for name, count in (charged + receipts).items() if count > 1]
    assert not repeated, f"charged or created twice: {repeated!r}"
    return Outcome(read_warehouse_tables(home), read_exports(home), frozenset(charged), frozenset(receipts))


def run_kill_point(environment: SweepEnvironment, expected: Outcome, point: KillPoint) -> str:
    """Return ``killed`` or ``not reached`` when the home ended like an undisturbed one, else what is wrong."""
    name, stage = str(point), point.scope.stage
    killed_command = prepare_command(environment, name, stage)
    started = stage == WHOLE_RUN and point.moment == "torn"
    status = (
        run_command_with_kill(environment.shim, killed_command, point)
        if started
        else environment.run_command(killed_command, point)
    )
    next_run = environment.build_command(name, WHOLE_RUN, "--json")
    if environment.run_command(next_run) != 0:
        return f"{FAILURE_MARK}{point}: the run after it failed: {next_run.output_path.read_text()[-1500:]}"
    try:
        differences = list(list_differences(expected, read_outcome(environment, name), stage))
    except AssertionError as error:
        differences = [str(error)]
    if status not in (0, -9):
        differences.append(f"it ended with {status}, not by the kill")
    if differences:
        return f"{FAILURE_MARK}{point}: " + "; ".join(differences)
    shutil.rmtree(killed_command.working_directory)
    return "killed" if status == -9 else "not reached"


def list_differences(expected: Outcome, actual: Outcome, stage: str) -> Iterator[str]:
    """Yield how a home differs from the undisturbed one."""
    for table in sorted(expected.tables.keys() | actual.tables.keys()):
        missing = Counter(expected.tables.get(table, ())) - Counter(actual.tables.get(table, ()))
        surplus = Counter(actual.tables.get(table, ())) - Counter(expected.tables.get(table, ()))
        if missing or surplus:
            yield f"{table} lacks {list(missing)[:3]!r} and has {list(surplus)[:3]!r}"
    if expected.exports != actual.exports:
        yield f"exports {json.dumps(actual.exports, default=repr)[:500]}"
    # A home that starts after a stage has an account in which that stage never happened.
    charged = expected.charged if stage in ("collect", "extract", WHOLE_RUN) else frozenset()
    receipts = expected.receipts if stage != "export" else frozenset()
    if actual.charged != charged:
        yield f"charged for {sorted(actual.charged ^ charged)!r}, lacking or beyond the ledger"
    if actual.receipts != receipts:
        yield f"receipts {sorted(actual.receipts ^ receipts)!r}, lacking or too many"


def build_api_key(name: str) -> str:
    """Return the API key of a home; each has an account of its own."""
    return f"sk_test_{name}"


def build_clean_environment() -> dict[str, str]:
    """Return the environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("INVOICES_", "COV_", "LD_"))}


def copy_samples(inbox: Path) -> None:
    """Put a handful of sample documents into the inbox, at rest for long."""
    inbox.mkdir()
    manifest_rows = [json.loads(line) for line in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    samples: list[dict[str, Any]] = []
    for kind in KINDS:
        samples.append(next(sample for sample in manifest_rows if sample["kind"] == kind and sample not in samples))
    duplicate = next(k for k in manifest_rows if k["expected_state"] == DUPLICATE_STATE and k["kind"].startswith("pdf"))
    samples += [sample for sample in manifest_rows if sample["kind"] == duplicate["kind"]]
    for number, sample in enumerate(samples):
        target = inbox / f"{number:02d}{Path(sample['path']).suffix}"
        shutil.copyfile(SAMPLES / sample["path"], target)
        os.utime(target, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
