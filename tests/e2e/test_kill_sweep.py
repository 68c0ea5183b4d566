"""Killed at any file change of any stage, a second run ends like an undisturbed one: nothing lost, nothing twice.

A command line is killed (SIGKILL) before, after or in the middle of its Nth call that changes a file below its home;
then ``invoices run`` goes on to the end. KILL_POINTS=500 sweeps more points than the default.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from killing import Command, Fork, Point, Reach, compiled_shim, exports, spread, started_and_killed, tables

from sandbox.serving import Sandbox, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.unmeasured,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux"),
]

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
STAGES = ("collect", "extract", "judge", "load", "publish", "export")
WHOLE = "run"
SHARES = {
    Reach("collect"): 4,
    Reach("extract"): 5,
    Reach("judge"): 3,
    Reach("load"): 6,
    Reach("publish", "ledger.sqlite"): 4,  # it also loads, which is swept above
    Reach("export", "exports"): 3,
    Reach("export", "ledger.sqlite"): 2,
    Reach(WHOLE): 5,
}
PARALLEL = 2
LONG_AGO = 1_700_000_000
# The first of each kind in the sample world's manifest; of some a second one.
KINDS = (
    "cii EN 16931", "ubl Invoice", "ubl CreditNote", "pdf+cii EN 16931", "text pdf", "text pdf", "scan",
    "truncated xml", "ubl Order", "program",
)  # fmt: skip
COPIED = "duplicate"  # and the first duplicate that is no XML, with all of its kind: one of them is the original
STATES = ("accepted", "review", "quarantined", "duplicate", "not_invoice")


@dataclass(frozen=True, slots=True)
class Truth:
    """What an undisturbed life comes to."""

    tables: Mapping[str, list[str]]
    exports: Mapping[str, Any]
    charged: frozenset[str]
    receipts: frozenset[str]


class World:
    """The inbox, the sandbox, the processes to fork from, and the homes as they were before each stage."""

    def __init__(self, place: Path, sandbox: Sandbox, shim: Path) -> None:
        self.place, self.sandbox, self.shim = place, sandbox, shim
        self.inbox = place / "inbox"
        fill(self.inbox)
        self.forks: SimpleQueue[Fork] = SimpleQueue()
        self._all = [Fork(shim, outside()) for _ in range(PARALLEL)]
        for fork in self._all:
            self.forks.put(fork)

    def close(self) -> None:
        """End the processes."""
        for fork in self._all:
            fork.close()

    def command(self, name: str, *arguments: str) -> Command:
        """Return a command in the house ``name``, which has an account of its own at the vendors."""
        home = self.place / "houses" / name / "home"
        home.mkdir(parents=True, exist_ok=True)
        com, io, key = self.sandbox.smartbills_com, self.sandbox.smartbills_io, account(name)
        settings = {
            "HOME": str(home),
            "INBOX__PATH": str(self.inbox),
            "VENDOR_MINUTE_SECONDS": "1",
            "SMARTBILLS_COM__BASE_URL": com["base_url"],
            "SMARTBILLS_COM__API_KEY": key,
            "SMARTBILLS_COM__PLAN": "enterprise",
            "SMARTBILLS_IO__BASE_URL": io["base_url"],
            "SMARTBILLS_IO__API_KEY": key,
            "SMARTBILLS_IO__TENANT_ID": io["tenant_id"],
            "SMARTBILLS_IO__REQUESTS_PER_MINUTE": "1000",
            "SMARTBILLS_IO__CUSTOMER_EMAIL": "sweep@example.org",
        }
        return Command(arguments, outside() | {f"INVOICES_{name}": value for name, value in settings.items()})

    def run(self, command: Command, point: Point | None = None) -> int:
        """Return the exit status of a command, forked from the next free process."""
        fork = self.forks.get()
        try:
            return fork.run(command, point)
        finally:
            self.forks.put(fork)


def test_killed_anywhere_a_second_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    wanted = int(os.environ.get("KILL_POINTS", sum(SHARES.values())))
    shares = {reach: max(1, round(share * wanted / sum(SHARES.values()))) for reach, share in SHARES.items()}
    shim = compiled_shim(tmp_path)
    with start(tmp_path / "sandbox", minute_seconds=1.0, plan="enterprise") as sandbox:
        world = World(tmp_path, sandbox, shim)
        try:
            truth = undisturbed(world)
            with ThreadPoolExecutor(PARALLEL) as threads:
                calls = dict(zip(SHARES, threads.map(lambda reach: counted(world, truth, reach), SHARES), strict=True))
                points = [p for reach in SHARES for p in spread(reach, calls[reach], shares[reach])]
                outcomes = list(threads.map(lambda point: swept(world, truth, point), points))
        finally:
            world.close()
    report = Counter(outcome for outcome in outcomes if outcome in ("killed", "not reached"))
    failures = [outcome for outcome in outcomes if outcome not in report]
    counts = ", ".join(f"{reach} {count}" for reach, count in calls.items())
    print(f"\ncalls: {counts}; points: {dict(report)}, failed {len(failures)}")  # noqa: T201  figures for a person
    assert not failures, f"{len(failures)} of {len(points)} points:\n" + "\n".join(failures[:10])
    assert report["killed"] >= min(60, wanted * 9 // 10), report


def undisturbed(world: World) -> Truth:
    """Return what an undisturbed life comes to; leaves a home as it is before each stage.

    The whole recipe in one run comes to the same as stage after stage.
    """
    for stage in STAGES:
        command = world.command("undisturbed", stage, "--json")
        shutil.copytree(command.home, world.place / "before" / stage, symlinks=True)
        assert world.run(command) == 0, command.output.read_text()
    (world.place / "before" / WHOLE).mkdir()
    truth = truth_of(world, "undisturbed")
    states = Counter(row.rpartition("'state': '")[2].partition("'")[0] for row in truth.tables["core.documents"])
    assert all(states[state] for state in STATES), states
    assert truth.charged
    assert all(any(document in row for row in truth.tables["raw.extractions"]) for document in truth.charged)
    assert truth.receipts
    return truth


def counted(world: World, truth: Truth, reach: Reach) -> int:
    """Return how many calls there are in reach, by running the stage undisturbed."""
    command = prepared(world, str(reach), reach.stage)
    assert world.run(command, Point(reach)) == 0, command.output.read_text()
    if reach.stage == WHOLE:
        assert truth_of(world, str(reach)) == truth
    return command.calls()


def prepared(world: World, name: str, stage: str) -> Command:
    """Return the command of a stage in a house of its own, as houses are before that stage."""
    command = world.command(name, stage, "--json")
    shutil.copytree(world.place / "before" / stage, command.home, symlinks=True, dirs_exist_ok=True)
    return command


def truth_of(world: World, name: str) -> Truth:
    """Return what the house came to, after holding its accounts to the journal of the vendors."""
    home = world.command(name).home
    journal = world.sandbox.journal(account(name))
    charged = Counter(charge["document_sha256"] for charge in journal["charges"])
    receipts = Counter(receipt["receiptId"] for receipt in journal["receipts"])
    twice = [name for name, count in (charged + receipts).items() if count > 1]
    assert not twice, f"charged or created twice: {twice!r}"
    return Truth(tables(home), exports(home), frozenset(charged), frozenset(receipts))


def swept(world: World, truth: Truth, point: Point) -> str:
    """Return ``killed`` or ``not reached`` when the house ended like an undisturbed one, else what is wrong."""
    name, stage = str(point), point.reach.stage
    killed = prepared(world, name, stage)
    started = stage == WHOLE and point.when == "torn"
    status = started_and_killed(world.shim, killed, point) if started else world.run(killed, point)
    again = world.command(name, WHOLE, "--json")
    if world.run(again) != 0:
        return f"{point}: the run after it failed: {again.output.read_text()[-1500:]}"
    try:
        differences = list(differing(truth, truth_of(world, name), stage))
    except AssertionError as error:
        differences = [str(error)]
    if status not in (0, -9):
        differences.append(f"it ended with {status}, not by the kill")
    if differences:
        return f"{point}: " + "; ".join(differences)
    shutil.rmtree(killed.directory)
    return "killed" if status == -9 else "not reached"


def differing(truth: Truth, found: Truth, stage: str) -> Iterator[str]:
    """Yield how a house differs from the undisturbed one."""
    for table in sorted(truth.tables.keys() | found.tables.keys()):
        missing = Counter(truth.tables.get(table, ())) - Counter(found.tables.get(table, ()))
        surplus = Counter(found.tables.get(table, ())) - Counter(truth.tables.get(table, ()))
        if missing or surplus:
            yield f"{table} lacks {list(missing)[:3]!r} and has {list(surplus)[:3]!r}"
    if truth.exports != found.exports:
        yield f"exports {json.dumps(found.exports, default=repr)[:500]}"
    # A house that begins after a stage has an account in which that stage never happened.
    charged = truth.charged if stage in ("collect", "extract", WHOLE) else frozenset()
    receipts = truth.receipts if stage != "export" else frozenset()
    if found.charged != charged:
        yield f"charged for {sorted(found.charged ^ charged)!r}, lacking or beyond the ledger"
    if found.receipts != receipts:
        yield f"receipts {sorted(found.receipts ^ receipts)!r}, lacking or too many"


def account(name: str) -> str:
    """Return the API key of a house: each is a world of its own."""
    return f"sk_test_{name}"


def outside() -> dict[str, str]:
    """Return the environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("INVOICES_", "COV_", "LD_"))}


def fill(inbox: Path) -> None:
    """Put a handful of sample documents into the inbox, at rest for long."""
    inbox.mkdir()
    known = [json.loads(line) for line in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen: list[dict[str, Any]] = []
    for kind in KINDS:
        chosen.append(next(sample for sample in known if sample["kind"] == kind and sample not in chosen))
    copied = next(k for k in known if k["expected_state"] == COPIED and k["kind"].startswith("pdf"))
    chosen += [sample for sample in known if sample["kind"] == copied["kind"]]
    for number, sample in enumerate(chosen):
        target = inbox / f"{number:02d}{Path(sample['path']).suffix}"
        shutil.copyfile(SAMPLES / sample["path"], target)
        os.utime(target, (LONG_AGO, LONG_AGO))
