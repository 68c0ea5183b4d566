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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import paid_house
import pytest
from killing import Command, Fork, Point, Reach, compiled_shim, spread, tables

from sandbox.serving import Sandbox, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.unmeasured,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux"),
]

EXTRACT, WHOLE = "extract", "run"
SHARES = {
    Reach(EXTRACT, sockets=True): 4,
    Reach(EXTRACT, "ledger.sqlite"): 2,
    Reach(EXTRACT, "budgets.sqlite"): 1,
    Reach(EXTRACT): 1,
}
PARALLEL = 2
MINUTE = 0.5
KNOBS = {
    "smartbills_com.processing_polls": 1,
    "invoicedataextraction_com.processing_polls": 1,
    "billflowai.rate_limit_per_minute": 0,
    "billflowai.source": "extracted",  # it remembers nothing, so that a repeat costs
}
MORE = {
    "VENDOR_MINUTE_SECONDS": str(MINUTE), "SMARTBILLS_COM__PLAN": "enterprise",
    "INVOICEDATAEXTRACTION_COM__BATCH_DOCUMENTS": "2", "BILLFLOWAI__REQUESTS_PER_MINUTE": "1000",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Truth:
    """What an undisturbed life comes to; ``tables`` are empty where nothing was loaded."""

    tables: Mapping[str, list[str]]
    accounts: paid_house.Accounts
    charged: Counter[str]
    disagreements: tuple[str, ...]  # of ledger and journal


class World:
    """One vendor of the sandbox, the processes to fork from, and a home as it is before an extraction."""

    def __init__(self, place: Path, sandbox: Sandbox, vendor: str, forks: SimpleQueue[Fork]) -> None:
        self.place, self.sandbox, self.vendor, self.forks = place, sandbox, vendor, forks
        self.before = place / "before"
        paid_house.put(self.before, [*paid_house.strangers(1), *paid_house.samples()])
        (place / "inbox").mkdir()

    def command(self, name: str, *arguments: str) -> Command:
        """Return a command in the house ``name``, which has an account of its own at the vendor."""
        home = self.place / "houses" / name / "home"
        if not home.exists():
            shutil.copytree(self.before, home)
        more = MORE | {"INBOX__PATH": str(self.place / "inbox")}
        return Command(
            arguments, outside() | paid_house.settings(self.sandbox, self.vendor, account(name), home, **more)
        )

    def run(self, command: Command, point: Point | None = None) -> int:
        """Return the exit status of a command, forked from the next free process."""
        fork = self.forks.get()
        try:
            return fork.run(command, point)
        finally:
            self.forks.put(fork)

    def truth(self, name: str) -> Truth:
        """Return what a house came to."""
        home, journal = self.command(name).home, self.sandbox.journal(account(name))
        kept = paid_house.accounts(home)
        wrong = (*kept.disagreements(), *kept.against(journal, self.vendor))
        loaded = tables(home) if (home / "warehouse" / "invoices.duckdb").exists() else {}
        return Truth(loaded, kept, paid_house.charged(journal, self.vendor), wrong)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleQueue[Fork]]:
    """The processes to fork from."""
    shim = compiled_shim(tmp_path_factory.mktemp("shim"))
    made = [Fork(shim, outside()) for _ in range(PARALLEL)]
    waiting: SimpleQueue[Fork] = SimpleQueue()
    for fork in made:
        waiting.put(fork)
    yield waiting
    for fork in made:
        fork.close()


@pytest.mark.parametrize("vendor", paid_house.VENDORS)
def test_killed_anywhere_in_an_extraction_a_second_run_ends_like_an_undisturbed_one(
    tmp_path: Path, vendor: str, forks: SimpleQueue[Fork]
) -> None:
    wanted = int(os.environ.get("KILL_POINTS", sum(SHARES.values())))
    shares = {reach: max(1, round(share * wanted / sum(SHARES.values()))) for reach, share in SHARES.items()}
    with start(tmp_path / "sandbox", minute_seconds=MINUTE, plan="enterprise", knobs=KNOBS) as sandbox:
        world = World(tmp_path, sandbox, vendor, forks)
        with ThreadPoolExecutor(PARALLEL) as threads:
            truths = undisturbed(world)
            calls = dict(zip(SHARES, threads.map(lambda reach: counted(world, reach), SHARES), strict=True))
            points = [p for reach in SHARES for p in spread(reach, calls[reach], shares[reach])]
            after = [(WHOLE, EXTRACT, EXTRACT)[number % 3] for number in range(len(points))]
            outcomes = list(threads.map(lambda point, then: swept(world, truths[then], point, then), points, after))
    report = Counter(outcome for outcome in outcomes if not outcome.startswith("!"))
    failures = [outcome for outcome in outcomes if outcome.startswith("!")]
    counts = ", ".join(f"{reach} {count}" for reach, count in calls.items())
    print(f"\n{vendor}: calls: {counts}; points: {dict(report)}, failed {len(failures)}")  # noqa: T201  figures
    assert not failures, f"{len(failures)} of {len(points)} points:\n" + "\n".join(failures[:10])
    assert sum(n for outcome, n in report.items() if outcome.startswith("killed")) >= len(points) * 3 // 4, report


def undisturbed(world: World) -> dict[str, Truth]:
    """Return what an undisturbed life comes to, by the command it has come to."""
    truths = {}
    for stage in (EXTRACT, WHOLE):
        command = world.command("undisturbed", stage, "--json")
        assert world.run(command) == 0, command.output.read_text()
        truths[stage] = world.truth("undisturbed")
    truth = truths[WHOLE]
    readable, unreadable = ({p.sha256 for p in some} for some in (paid_house.samples(), paid_house.strangers(1)))
    paid = readable | unreadable if world.vendor == "smartbills_com" else readable  # which charges for trying
    assert (set(truth.accounts.payloads), truth.charged) == (readable, Counter(paid))
    assert truth.disagreements == ()
    assert len(truth.tables["core.candidates"]) == len(readable)
    return truths


def counted(world: World, reach: Reach) -> int:
    """Return how many calls there are in reach, by running the stage undisturbed."""
    command = world.command(str(reach), EXTRACT, "--json")
    assert world.run(command, Point(reach)) == 0, command.output.read_text()
    return command.calls()


def swept(world: World, truth: Truth, point: Point, then: str) -> str:
    """Return what became of the kill when the house ended like an undisturbed one, else, after a "!", what is wrong."""
    name = str(point)
    status = world.run(world.command(name, EXTRACT, "--json"), point)
    again = world.command(name, then, "--json")
    if (second := world.run(again)) != 0:
        return f"!{point}: the run after it ended with {second}: {again.output.read_text()[-1500:]}"
    found = world.truth(name)
    differences = list(differing(world.vendor, truth, found))
    if status not in (0, -9):
        differences.append(f"it ended with {status}, not by the kill")
    if differences:
        return f"!{point}: " + "; ".join(differences)
    shutil.rmtree(again.directory)
    twice = sum(count - 1 for count in found.charged.values())
    return "not reached" if status == 0 else f"killed, {twice} charged twice" if twice else "killed"


def differing(vendor: str, truth: Truth, found: Truth) -> Iterator[str]:
    """Yield how a house differs from the undisturbed one."""
    uncertain = found.accounts.uncertain
    # The answers are compared from the ledger, without what the vendor draws; their costs tell the flags.
    apart = {"raw.extractions", *(["marts.extraction_cost"] if uncertain else [])}
    for table in sorted((truth.tables.keys() | found.tables.keys()) - apart):
        missing = Counter(truth.tables.get(table, ())) - Counter(found.tables.get(table, ()))
        surplus = Counter(found.tables.get(table, ())) - Counter(truth.tables.get(table, ()))
        if missing or surplus:
            yield f"{table} lacks {list(missing)[:3]!r} and has {list(surplus)[:3]!r}"
    if truth.accounts.stands != found.accounts.stands:
        yield f"documents stand at {found.accounts.stands!r}"
    if truth.accounts.rows(uncertain) != found.accounts.rows(uncertain):
        yield f"extractions {found.accounts.rows(uncertain)!r}"
    if truth.accounts.payloads != found.accounts.payloads:
        yield f"answers {found.accounts.payloads!r}"
    yield from found.disagreements
    if lost := truth.charged.keys() - found.charged.keys():
        yield f"never charged: {sorted(lost)!r}"
    yield from paid_house.beyond(found.charged, vendor, found.accounts.flagged)


def account(name: str) -> str:
    """Return the API key of a house: each is a world of its own."""
    return f"sk_test_{name}"


def outside() -> dict[str, str]:
    """Return the environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("INVOICES_", "COV_", "LD_"))}
