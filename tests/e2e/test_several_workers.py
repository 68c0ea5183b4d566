"""Two and three processes on one ledger, SQLite or PostgreSQL: each document is paid for once, no limit is passed.

Real command lines begin at the same moment, with small batches so that they share the work. The sandbox holds them to
limits that bind; its journal tells how often it had to refuse.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import paid_house
import psutil
import psycopg
import pytest
from sqlalchemy import update
from workers import Ended, Worker, lined_up, lock_files, together, until

from invoices.ledger import Ledger
from invoices.ledger.tables import claims
from sandbox.serving import Sandbox, start
from tests.integration.postgres_server import PostgresServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.unmeasured,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and locks"),
]

MINUTE = 1.0
DOCUMENTS, BATCH, CAP = 30, 3, 10
KNOBS = {
    **{f"{vendor}.read_strangers": "on" for vendor in paid_house.VENDORS},
    "billflowai.rate_limit_per_minute": 20, "billflowai.source": "extracted",
}  # fmt: skip
MORE = {  # limits that bind: 100 calls a minute, 20 calls a minute, 30 submissions a minute
    "smartbills_com": {"PLAN": "pro"},
    "invoicedataextraction_com": {"BATCH_DOCUMENTS": "1"},
    "billflowai": {"REQUESTS_PER_MINUTE": "20"},
}


@dataclass(frozen=True, slots=True)
class Firm:
    """A house with documents that wait, its account at one vendor, and its ledger."""

    sandbox: Sandbox
    vendor: str
    home: Path
    url: str

    @property
    def key(self) -> str:
        """The account."""
        return f"sk_test_{self.home.parent.name}"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the settings of the house."""
        part = {f"{self.vendor.upper()}__{name}": value for name, value in MORE[self.vendor].items()}
        base = {"LEDGER_URL": self.url, "BATCH_SIZE": str(BATCH), "VENDOR_MINUTE_SECONDS": str(MINUTE)}
        return paid_house.settings(self.sandbox, self.vendor, self.key, self.home, **base | part | more)

    def accounts(self) -> paid_house.Accounts:
        """Return what the ledger says now."""
        return paid_house.accounts(self.home, self.url)

    def charged(self) -> Counter[str]:
        """Return how often each document was charged so far."""
        return paid_house.charged(self.sandbox.journal(self.key), self.vendor)

    def refusals(self) -> int:
        """Return how many calls came too soon for the vendor."""
        return sum(by_status.get("429", 0) for by_status in self.sandbox.journal(self.key)["answers"].values())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The vendors."""
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE, plan="pro", knobs=KNOBS) as served:
        yield served


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the ledger is to be."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'house' / 'ledger.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


def opened(sandbox: Sandbox, vendor: str, place: Path, url: str | None = None) -> Firm:
    """Return a house with documents that nobody has asked about."""
    firm = Firm(sandbox, vendor, place / "house", url or f"sqlite:///{place / 'house' / 'ledger.sqlite'}")
    paid_house.put(firm.home, paid_house.strangers(DOCUMENTS), firm.url)
    return firm


@pytest.mark.parametrize("vendor", paid_house.VENDORS)
def test_workers_share_the_work_and_pass_neither_cap_nor_limit(
    sandbox: Sandbox, tmp_path: Path, url: str, vendor: str
) -> None:
    firm = opened(sandbox, vendor, tmp_path, url)
    capped = together(firm.environment(**{f"{vendor.upper()}__PAGES_PER_DAY": str(CAP)}), 2, "extract", "--json")
    accounts = firm.accounts()
    assert [ended.status for ended in capped] == [0, 0], [ended.err for ended in capped]
    assert (firm.charged().total(), len(accounts.waiting)) == (CAP, DOCUMENTS - CAP)
    assert {accounts.stands[sha][2] for sha in accounts.waiting} == {"cap_reached"}
    free = together(firm.environment(), 3, "extract", "--json")
    assert [ended.status for ended in free] == [0, 0, 0], [ended.err for ended in free]
    _is_done_once(firm)
    assert _calls(capped) + _calls(free) == DOCUMENTS
    shares = [ended.told["paid"]["calls"] for ended in (*capped, *free)]
    print(f"\n{vendor} on {url.partition(':')[0]}: shares {shares[:2]} capped, {shares[2:]}")  # noqa: T201  figures
    assert sum(share > 0 for share in shares[2:]) > 1, shares
    assert firm.refusals() == 0


@pytest.mark.parametrize("vendor", paid_house.VENDORS)
def test_what_a_killed_worker_had_in_hand_is_finished_without_waiting_for_its_lease(
    sandbox: Sandbox, tmp_path: Path, url: str, vendor: str
) -> None:
    firm = opened(sandbox, vendor, tmp_path, url)
    with lined_up(firm.environment(), 2, "extract", "--json") as (killed, other):
        killed.go()
        other.go()
        until(lambda: firm.charged().total() >= DOCUMENTS // 3, "the first charges")
        killed.kill()
        assert other.end().status == 0
    assert together(firm.environment(), 1, "extract", "--json")[0].status == 0
    _is_done_once(firm)
    assert lock_files(firm.home) == []


@pytest.mark.parametrize("vendor", paid_house.VENDORS)
def test_a_worker_that_slept_beyond_its_lease_pays_for_nothing_again_in_silence(
    sandbox: Sandbox, tmp_path: Path, url: str, vendor: str
) -> None:
    firm = opened(sandbox, vendor, tmp_path, url)
    with lined_up(firm.environment(BATCH_SIZE=str(DOCUMENTS)), 2, "extract", "--json") as (asleep, awake):
        asleep.go()
        until(lambda: firm.charged().total() >= DOCUMENTS // 3, "the first charges")
        until(lambda: _sleeps_without_a_lock(asleep, firm), "a moment in which it holds no lock")
        _end_leases(firm)
        awake.go()
        assert awake.end().status == 0
        by_now = firm.charged()
        asleep.kill(signal.SIGCONT)
        assert asleep.end().status == 0
    # Whoever falls asleep with a request on the lips says it on waking; without a key of ours the vendor does it again.
    overtaken = firm.accounts().flagged if vendor != "invoicedataextraction_com" else set()
    assert (firm.charged() - by_now).keys() <= overtaken
    _is_done_once(firm, overtaken)


def test_of_two_runs_at_once_the_second_says_so_and_ends_well(sandbox: Sandbox, tmp_path: Path) -> None:
    firm = opened(sandbox, "billflowai", tmp_path)
    (firm.home / "inbox").mkdir()
    both = together(firm.environment(), 2, "run", "--json")
    assert [ended.status for ended in both] == [0, 0], [ended.err for ended in both]
    (turned_away,) = [ended for ended in both if "a run is already active" in ended.err]
    assert turned_away.out == ""
    _is_done_once(firm)


def _is_done_once(firm: Firm, overtaken: Collection[str] = ()) -> None:
    """Assert that every document is answered and was charged as often as its vendor lets us prevent."""
    accounts, charged = firm.accounts(), firm.charged()
    papers = {paper.sha256 for paper in paid_house.strangers(DOCUMENTS)}
    assert [accounts.stands[sha] for sha in accounts.waiting] == []
    assert {job.document_sha256 for job in accounts.jobs if job.status == "answered"} == papers == set(charged)
    flagged = accounts.flagged if firm.vendor == "billflowai" else overtaken
    assert {sha: count for sha, count in charged.items() if count > (2 if sha in flagged else 1)} == {}
    assert accounts.disagreements() == []
    assert accounts.against(firm.sandbox.journal(firm.key), firm.vendor) == []


def _calls(ended: list[Ended]) -> int:
    return sum(one.told["paid"]["calls"] for one in ended)


def _sleeps_without_a_lock(worker: Worker, firm: Firm) -> bool:
    """Stop a worker, and let it go on if that was in the middle of a write: nobody else could write then."""
    worker.kill(signal.SIGSTOP)
    until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, "the worker's sleep")
    is_free = _postgres_is_free(firm.url) if firm.url.startswith("postgresql") else _files_are_free(firm.home)
    if not is_free:
        worker.kill(signal.SIGCONT)
    return is_free


def _postgres_is_free(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"
        ).fetchone()
    return row == (0,)


def _files_are_free(home: Path) -> bool:
    try:
        with closing(sqlite3.connect(home / "ledger.sqlite", timeout=0.01, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        for file in home.glob("*.lock"):
            with file.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (sqlite3.OperationalError, BlockingIOError):
        return False
    return True


def _end_leases(firm: Firm) -> None:
    """Let time pass, as far as claims are concerned."""
    with closing(Ledger(firm.url)) as ledger, ledger.transaction() as tx:
        tx.connection.execute(update(claims).values(until=tx.at - dt.timedelta(seconds=1)))
