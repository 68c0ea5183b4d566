"""Killed anywhere in an extraction, with each vendor, a second run ends like an undisturbed one, and pays no more.

``invoices extract`` is killed (SIGKILL) before, after or in the middle of its Nth call that changes a file below its
home or the ledger or the rate budget alone, or that sends to or receives from the vendor: the moments between a
request and its answer. Then ``invoices run`` goes on to the end after every third point; after the others it is
``invoices extract``, and the ledger alone tells. KILL_POINTS=60 sweeps that many points per vendor.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

from sandbox.process import Sandbox, start_sandbox
from tests.e2e import extraction_app
from tests.e2e.fork_client import ForkServer
from tests.e2e.kill_injection import (
    AppCommand,
    KillPoint,
    SweepScope,
    compile_kill_shim,
    read_warehouse_tables,
    run_forked_command,
)
from tests.e2e.kill_sweep import FAILURE_MARK, run_kill_sweep
from tests.sweep_size import IS_SOAK, choose_point_count

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux"),
]

EXTRACT, WHOLE_RUN = "extract", "run"
WEIGHT_BY_SCOPE = {
    SweepScope(EXTRACT, counts_sockets=True): 4,
    SweepScope(EXTRACT, "ledger.sqlite"): 2,
    SweepScope(EXTRACT, "budgets.sqlite"): 1,
    SweepScope(EXTRACT): 1,
}
PARALLEL_FORKS = 2 if IS_SOAK else 1
VENDOR_MINUTE_SECONDS = 0.5
SANDBOX_SETTINGS = {
    "smartbills_com.processing_polls": 1,
    "invoicedataextraction_com.processing_polls": 1,
    "billflowai.rate_limit_per_minute": 0,
    "billflowai.source": "extracted",  # it remembers nothing, so that a repeat costs
}
EXTRA_SETTINGS = {
    "VENDOR_MINUTE_SECONDS": str(VENDOR_MINUTE_SECONDS), "SMARTBILLS_COM__PLAN": "enterprise",
    "INVOICEDATAEXTRACTION_COM__BATCH_DOCUMENTS": "2", "BILLFLOWAI__REQUESTS_PER_MINUTE": "1000",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an undisturbed life comes to; ``tables`` are empty where nothing was loaded."""

    tables: Mapping[str, list[str]]
    ledger: extraction_app.LedgerSnapshot
    charged: Counter[str]
    mismatches: tuple[str, ...]  # of ledger and journal


class SweepEnvironment:
    """One vendor of the sandbox, the processes to fork from, and a home as it is before an extraction."""

    def __init__(self, directory: Path, sandbox: Sandbox, vendor: str, fork_servers: SimpleQueue[ForkServer]) -> None:
        self.directory, self.sandbox, self.vendor, self.fork_servers = directory, sandbox, vendor, fork_servers
        self.home_before = directory / "before"
        extraction_app.add_waiting_documents(
            self.home_before, [*extraction_app.build_unknown_documents(1), *extraction_app.load_sample_documents()]
        )
        (directory / "inbox").mkdir()

    def build_command(self, name: str, *arguments: str) -> AppCommand:
        """Return a command in the home ``name``, which has an account of its own at the vendor."""
        home = self.directory / "homes" / name / "home"
        if not home.exists():
            shutil.copytree(self.home_before, home)
        extra_settings = EXTRA_SETTINGS | {"INBOX__PATH": str(self.directory / "inbox")}
        return AppCommand(
            arguments,
            build_clean_environment()
            | extraction_app.build_environment(self.sandbox, self.vendor, build_api_key(name), home, **extra_settings),
        )

    def run_command(self, command: AppCommand, point: KillPoint | None = None) -> int:
        """Return the exit status of a command, forked from the next free process."""
        fork_server = self.fork_servers.get()
        try:
            return run_forked_command(fork_server, command, point)
        finally:
            self.fork_servers.put(fork_server)

    def read_outcome(self, name: str) -> Outcome:
        """Return the contents of a home."""
        home, journal = self.build_command(name).home, self.sandbox.read_journal(build_api_key(name))
        snapshot = extraction_app.read_ledger_snapshot(home)
        mismatches = (*snapshot.find_spending_mismatches(), *snapshot.find_journal_mismatches(journal, self.vendor))
        warehouse_tables = read_warehouse_tables(home) if (home / "warehouse" / "invoices.duckdb").exists() else {}
        return Outcome(warehouse_tables, snapshot, extraction_app.count_charges(journal, self.vendor), mismatches)


@pytest.fixture(scope="module")
def fork_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleQueue[ForkServer]]:
    """The processes to fork from."""
    shim = compile_kill_shim(tmp_path_factory.mktemp("shim"))
    started = [ForkServer(build_clean_environment(), shim) for _ in range(PARALLEL_FORKS)]
    idle: SimpleQueue[ForkServer] = SimpleQueue()
    for fork_server in started:
        idle.put(fork_server)
    yield idle
    for fork_server in started:
        fork_server.close()


@pytest.mark.parametrize("vendor", extraction_app.VENDORS)
def test_killed_anywhere_in_an_extraction_a_second_run_ends_like_an_undisturbed_one(
    tmp_path: Path, vendor: str, fork_servers: SimpleQueue[ForkServer], record_property: Callable[[str, object], None]
) -> None:
    with start_sandbox(
        tmp_path / "sandbox", minute_seconds=VENDOR_MINUTE_SECONDS, plan="enterprise", settings=SANDBOX_SETTINGS
    ) as sandbox:
        environment = SweepEnvironment(tmp_path, sandbox, vendor, fork_servers)
        expected_by_stage = run_undisturbed(environment)

        def run_numbered_kill_point(number: int, point: KillPoint) -> str:
            next_stage = (WHOLE_RUN, EXTRACT, EXTRACT)[number % 3]
            return run_kill_point(environment, expected_by_stage[next_stage], point, next_stage)

        result = run_kill_sweep(
            WEIGHT_BY_SCOPE, 2, choose_point_count(2, 60), lambda scope: count_calls(environment, scope),
            run_numbered_kill_point, parallel=PARALLEL_FORKS,
        )  # fmt: skip
    record_property(vendor, result.format_figures())
    result.assert_repaired(min_killed_share=0.75)


def run_undisturbed(environment: SweepEnvironment) -> dict[str, Outcome]:
    """Return what an undisturbed life comes to, by the command it has come to."""
    outcomes_by_stage = {}
    for stage in (EXTRACT, WHOLE_RUN):
        command = environment.build_command("undisturbed", stage, "--json")
        assert environment.run_command(command) == 0, command.output_path.read_text()
        outcomes_by_stage[stage] = environment.read_outcome("undisturbed")
    outcome = outcomes_by_stage[WHOLE_RUN]
    readable, unreadable = (
        {document.sha256 for document in documents}
        for documents in (extraction_app.load_sample_documents(), extraction_app.build_unknown_documents(1))
    )
    charged_documents = (
        readable | unreadable if environment.vendor == "smartbills_com" else readable
    )  # which charges for trying
    assert (set(outcome.ledger.payloads), outcome.charged) == (readable, Counter(charged_documents))
    assert outcome.mismatches == ()
    assert len(outcome.tables["core.candidates"]) == len(readable)
    return outcomes_by_stage


def count_calls(environment: SweepEnvironment, scope: SweepScope) -> int:
    """Return how many calls there are in reach, by running the stage undisturbed."""
    command = environment.build_command(str(scope), EXTRACT, "--json")
    assert environment.run_command(command, KillPoint(scope)) == 0, command.output_path.read_text()
    return command.read_call_count()


def run_kill_point(environment: SweepEnvironment, expected: Outcome, point: KillPoint, next_stage: str) -> str:
    """Return what the kill led to if the home ended like an undisturbed one; otherwise, after a mark, what is wrong."""
    name = str(point)
    status = environment.run_command(environment.build_command(name, EXTRACT, "--json"), point)
    next_run = environment.build_command(name, next_stage, "--json")
    if (next_status := environment.run_command(next_run)) != 0:
        output = next_run.output_path.read_text()[-1500:]
        return f"{FAILURE_MARK}{point}: the run after it ended with {next_status}: {output}"
    actual = environment.read_outcome(name)
    differences = list(list_differences(environment.vendor, expected, actual))
    if status not in (0, -9):
        differences.append(f"it ended with {status}, not by the kill")
    if differences:
        return f"{FAILURE_MARK}{point}: " + "; ".join(differences)
    shutil.rmtree(next_run.working_directory)
    repeated_charges = sum(count - 1 for count in actual.charged.values())
    return (
        "not reached" if status == 0 else f"killed, {repeated_charges} charged twice" if repeated_charges else "killed"
    )


def list_differences(vendor: str, expected: Outcome, actual: Outcome) -> Iterator[str]:
    """Yield how a home differs from the undisturbed one."""
    uncertain = actual.ledger.uncertain_documents
    # The answers are compared from the ledger, without what the vendor draws; their costs tell the flags.
    skipped_tables = {"raw.extractions", *(["marts.extraction_cost"] if uncertain else [])}
    for table in sorted((expected.tables.keys() | actual.tables.keys()) - skipped_tables):
        missing = Counter(expected.tables.get(table, ())) - Counter(actual.tables.get(table, ()))
        surplus = Counter(actual.tables.get(table, ())) - Counter(expected.tables.get(table, ()))
        if missing or surplus:
            yield f"{table} lacks {list(missing)[:3]!r} and has {list(surplus)[:3]!r}"
    if expected.ledger.document_states != actual.ledger.document_states:
        yield f"documents stand at {actual.ledger.document_states!r}"
    if expected.ledger.list_extraction_rows(uncertain) != actual.ledger.list_extraction_rows(uncertain):
        yield f"extractions {actual.ledger.list_extraction_rows(uncertain)!r}"
    if expected.ledger.payloads != actual.ledger.payloads:
        yield f"answers {actual.ledger.payloads!r}"
    yield from actual.mismatches
    if uncharged := expected.charged.keys() - actual.charged.keys():
        yield f"never charged: {sorted(uncharged)!r}"
    yield from extraction_app.find_excess_charges(actual.charged, vendor, actual.ledger.possible_double_charges)


def build_api_key(name: str) -> str:
    """Return the API key of a home; each has an account of its own."""
    return f"sk_test_{name}"


def build_clean_environment() -> dict[str, str]:
    """Return the environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("INVOICES_", "COV_", "LD_"))}
