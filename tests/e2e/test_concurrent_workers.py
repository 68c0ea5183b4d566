"""Two and three processes on one ledger, SQLite or PostgreSQL: each document is charged once, no limit is exceeded.

The processes start at the same moment, with small batches so that they share the work. The sandbox enforces tight
limits; its journal has the number of refused calls.
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

import psutil
import psycopg
import pytest
from sqlalchemy import update

from invoices.ledger import Ledger
from invoices.ledger.tables import claims
from sandbox.process import Sandbox, start_sandbox
from tests.e2e import extraction_app
from tests.e2e.worker_processes import (
    WorkerProcess,
    WorkerResult,
    list_worker_files,
    prepare_workers,
    run_workers_concurrently,
    wait_until,
)
from tests.servers.postgres_server import PostgresServer
from tests.sweep_size import IS_SOAK, spread

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and locks"),
]

VENDOR_MINUTE_SECONDS = 1.0
DOCUMENT_COUNT, BATCH_SIZE, PAGE_CAP = (30, 3, 10) if IS_SOAK else (15, 2, 5)
SANDBOX_SETTINGS = {
    **{f"{vendor}.read_strangers": "on" for vendor in extraction_app.VENDORS},
    "billflowai.rate_limit_per_minute": 20, "billflowai.source": "extracted",
}  # fmt: skip
DATABASES_AND_VENDORS = [
    ("sqlite", "smartbills_com"), ("postgresql", "smartbills_com"), ("postgresql", "invoicedataextraction_com"),
    ("sqlite", "invoicedataextraction_com"), ("sqlite", "billflowai"), ("postgresql", "billflowai"),
]  # fmt: skip
VENDOR_SETTINGS = {  # tight limits: 100 calls a minute, 20 calls a minute, 30 submissions a minute
    "smartbills_com": {"PLAN": "pro"},
    "invoicedataextraction_com": {"BATCH_DOCUMENTS": "1"},
    "billflowai": {"REQUESTS_PER_MINUTE": "20"},
}


@dataclass(frozen=True, slots=True)
class ExtractionScenario:
    """A home directory with waiting documents, its account at one vendor, and its ledger."""

    sandbox: Sandbox
    vendor: str
    home: Path
    ledger_url: str

    @property
    def api_key(self) -> str:
        """The account's API key."""
        return f"sk_test_{self.home.parent.name}"

    def build_environment(self, **overrides: str) -> dict[str, str]:
        """Return the settings as environment variables."""
        vendor_settings = {
            f"{self.vendor.upper()}__{name}": value for name, value in VENDOR_SETTINGS[self.vendor].items()
        }
        common_settings = {
            "LEDGER_URL": self.ledger_url,
            "BATCH_SIZE": str(BATCH_SIZE),
            "VENDOR_MINUTE_SECONDS": str(VENDOR_MINUTE_SECONDS),
        }
        return extraction_app.build_environment(
            self.sandbox, self.vendor, self.api_key, self.home, **common_settings | vendor_settings | overrides
        )

    def read_ledger(self) -> extraction_app.LedgerSnapshot:
        """Return a snapshot of the ledger."""
        return extraction_app.read_ledger_snapshot(self.home, self.ledger_url)

    def count_charges(self) -> Counter[str]:
        """Return the number of charges so far, by document."""
        return extraction_app.count_charges(self.sandbox.read_journal(self.api_key), self.vendor)

    def count_refusals(self) -> int:
        """Return how many calls the vendor refused with 429."""
        return sum(by_status.get("429", 0) for by_status in self.sandbox.read_journal(self.api_key)["answers"].values())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with all vendors."""
    with start_sandbox(
        tmp_path_factory.mktemp("sandbox"), minute_seconds=VENDOR_MINUTE_SECONDS, plan="pro", settings=SANDBOX_SETTINGS
    ) as running_sandbox:
        yield running_sandbox


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


def build_scenario(sandbox: Sandbox, vendor: str, directory: Path, ledger_url: str | None = None) -> ExtractionScenario:
    """Return a scenario with documents that have no extraction yet."""
    scenario = ExtractionScenario(
        sandbox, vendor, directory / "home", ledger_url or f"sqlite:///{directory / 'home' / 'ledger.sqlite'}"
    )
    extraction_app.add_waiting_documents(
        scenario.home, extraction_app.build_unknown_documents(DOCUMENT_COUNT), scenario.ledger_url
    )
    return scenario


@pytest.mark.sweep
@pytest.mark.parametrize(("ledger_url", "vendor"), spread(DATABASES_AND_VENDORS, 2), indirect=["ledger_url"])
def test_workers_share_the_work_and_exceed_neither_cap_nor_rate_limit(
    sandbox: Sandbox, tmp_path: Path, ledger_url: str, vendor: str
) -> None:
    scenario = build_scenario(sandbox, vendor, tmp_path, ledger_url)
    capped = run_workers_concurrently(
        scenario.build_environment(**{f"{vendor.upper()}__PAGES_PER_DAY": str(PAGE_CAP)}), 2, "extract", "--json"
    )
    ledger = scenario.read_ledger()
    assert [result.exit_status for result in capped] == [0, 0], [result.stderr for result in capped]
    assert (scenario.count_charges().total(), len(ledger.waiting_documents)) == (PAGE_CAP, DOCUMENT_COUNT - PAGE_CAP)
    assert {ledger.document_states[sha][2] for sha in ledger.waiting_documents} == {"cap_reached"}
    uncapped = run_workers_concurrently(scenario.build_environment(), 3, "extract", "--json")
    assert [result.exit_status for result in uncapped] == [0, 0, 0], [result.stderr for result in uncapped]
    _assert_each_document_charged_once(scenario)
    assert _sum_paid_calls(capped) + _sum_paid_calls(uncapped) == DOCUMENT_COUNT
    shares = [result.json_output["paid"]["calls"] for result in (*capped, *uncapped)]
    print(f"\n{vendor} on {ledger_url.partition(':')[0]}: shares {shares[:2]} capped, {shares[2:]}")  # noqa: T201  figures
    assert sum(share > 0 for share in shares[2:]) > 1, shares
    assert scenario.count_refusals() == 0


@pytest.mark.sweep
@pytest.mark.parametrize(("ledger_url", "vendor"), spread(DATABASES_AND_VENDORS, 2), indirect=["ledger_url"])
def test_the_documents_of_a_killed_worker_are_finished_before_its_lease_expires(
    sandbox: Sandbox, tmp_path: Path, ledger_url: str, vendor: str
) -> None:
    scenario = build_scenario(sandbox, vendor, tmp_path, ledger_url)
    with prepare_workers(scenario.build_environment(), 2, "extract", "--json") as (killed, other):
        killed.start()
        other.start()
        wait_until(lambda: scenario.count_charges().total() >= DOCUMENT_COUNT // 3, "the first charges")
        killed.send_signal()
        assert other.wait().exit_status == 0
    assert run_workers_concurrently(scenario.build_environment(), 1, "extract", "--json")[0].exit_status == 0
    _assert_each_document_charged_once(scenario)
    one_more_document = extraction_app.build_unknown_documents(DOCUMENT_COUNT + 1)[-1:]
    extraction_app.add_waiting_documents(scenario.home, one_more_document, scenario.ledger_url)
    run_workers_concurrently(scenario.build_environment(), 1, "extract", "--json")  # whoever claims clears up
    # the file of the killed worker stays if it had no claim at that moment
    assert [name for name in list_worker_files(scenario.home) if f"-{killed.pid}-" not in name] == []


@pytest.mark.sweep
@pytest.mark.parametrize(("ledger_url", "vendor"), spread(DATABASES_AND_VENDORS, 2), indirect=["ledger_url"])
def test_a_worker_that_slept_beyond_its_lease_causes_no_unflagged_double_charge(
    sandbox: Sandbox, tmp_path: Path, ledger_url: str, vendor: str
) -> None:
    scenario = build_scenario(sandbox, vendor, tmp_path, ledger_url)
    with prepare_workers(scenario.build_environment(BATCH_SIZE=str(DOCUMENT_COUNT)), 2, "extract", "--json") as (
        sleeping,
        active,
    ):
        sleeping.start()
        wait_until(lambda: scenario.count_charges().total() >= DOCUMENT_COUNT // 3, "the first charges")
        wait_until(lambda: _suspend_outside_write(sleeping, scenario), "a moment in which it holds no lock")
        _expire_leases(scenario)
        active.start()
        assert active.wait().exit_status == 0
        charges_before = scenario.count_charges()
        sleeping.send_signal(signal.SIGCONT)
        assert sleeping.wait().exit_status == 0
    # A request that was being sent is sent after the sleep; without an idempotency key the vendor does the work again.
    repeated = scenario.read_ledger().possible_double_charges if vendor != "invoicedataextraction_com" else set()
    assert (scenario.count_charges() - charges_before).keys() <= repeated
    _assert_each_document_charged_once(scenario, repeated)


def test_the_second_of_two_concurrent_runs_reports_the_first_and_succeeds(sandbox: Sandbox, tmp_path: Path) -> None:
    scenario = build_scenario(sandbox, "billflowai", tmp_path)
    (scenario.home / "inbox").mkdir()
    results = run_workers_concurrently(scenario.build_environment(), 2, "run", "--json")
    assert [result.exit_status for result in results] == [0, 0], [result.stderr for result in results]
    (rejected,) = [result for result in results if "a run is already active" in result.stderr]
    assert rejected.stdout == ""
    _assert_each_document_charged_once(scenario)


def _assert_each_document_charged_once(scenario: ExtractionScenario, repeated_documents: Collection[str] = ()) -> None:
    """Assert that every document is answered and was charged no more often than allowed."""
    ledger, charges = scenario.read_ledger(), scenario.count_charges()
    documents = {document.sha256 for document in extraction_app.build_unknown_documents(DOCUMENT_COUNT)}
    assert [ledger.document_states[sha256] for sha256 in ledger.waiting_documents] == []
    assert {job.document_sha256 for job in ledger.jobs if job.status == "answered"} == documents == set(charges)
    possibly_repeated = ledger.possible_double_charges if scenario.vendor == "billflowai" else repeated_documents
    assert {
        sha256: count for sha256, count in charges.items() if count > (2 if sha256 in possibly_repeated else 1)
    } == {}
    assert ledger.find_spending_mismatches() == []
    assert ledger.find_journal_mismatches(scenario.sandbox.read_journal(scenario.api_key), scenario.vendor) == []


def _sum_paid_calls(results: list[WorkerResult]) -> int:
    return sum(result.json_output["paid"]["calls"] for result in results)


def _suspend_outside_write(worker: WorkerProcess, scenario: ExtractionScenario) -> bool:
    """Stop a worker, but let it continue if it holds a write lock: nobody else could write then."""
    worker.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, "the worker's sleep")
    is_free = (
        _is_postgres_idle(scenario.ledger_url)
        if scenario.ledger_url.startswith("postgresql")
        else _is_home_unlocked(scenario.home)
    )
    if not is_free:
        worker.send_signal(signal.SIGCONT)
    return is_free


def _is_postgres_idle(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"
        ).fetchone()
    return row == (0,)


def _is_home_unlocked(home: Path) -> bool:
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


def _expire_leases(scenario: ExtractionScenario) -> None:
    """Expire all claims."""
    with closing(Ledger(scenario.ledger_url)) as ledger, ledger.begin_transaction() as tx:
        tx.connection.execute(update(claims).values(expires_at=tx.timestamp - dt.timedelta(seconds=1)))
