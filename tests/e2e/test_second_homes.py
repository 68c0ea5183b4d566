"""Two homes and three workers on one ledger, all stages at once, killed and suspended: everything happens once.

The homes share the ledger (SQLite or PostgreSQL), the documents and the inbox. In each round, both homes run all stages
while a third worker extracts. One of them is killed, or suspended beyond its lease until another has taken over. The
tables in the end are those of one worker that nobody disturbed.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.exc import OperationalError

from invoices.exports.csv_files import iter_csv_records
from invoices.ledger.tables import counters, stage_leases
from sandbox.process import Sandbox, start_sandbox
from tests.bench.inbox import SETTLED_TIMESTAMP, write_invoices
from tests.e2e import extraction_app
from tests.e2e.command_line import run_command
from tests.e2e.kill_injection import read_warehouse_tables
from tests.e2e.test_kill_sweep import build_clean_environment
from tests.e2e.worker_processes import WorkerProcess, wait_until
from tests.integration.documents.bad_pdf_builder import build_pdf
from tests.servers.postgres_server import PostgresServer
from tests.sweep_size import IS_SOAK

pytestmark = [pytest.mark.sweep, pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="signals")]

VENDOR = "invoicedataextraction_com"
EINVOICE_COUNT, PDF_COUNT = (int(count) for count in os.environ.get("SHARED_DOCUMENTS", "240 60").split())
LEASE_SECONDS = 1
WORKERS = ("first", "second", "third")
# share of the receipts or charges that are there when a worker is killed or suspended: which one, how, when
ROUNDS = [
    ("first", "suspend", "receipts", 0.05), ("third", "kill", "charges", 0.2), ("second", "suspend", "receipts", 0.3),
    ("first", "kill", "receipts", 0.4), ("second", "kill", "receipts", 0.5), ("first", "suspend", "charges", 0.6),
]  # fmt: skip
COMPARED_TABLES = ("core.documents", "core.candidates", "core.candidate_lines", "core.invoices", "core.receipts")


@dataclass(frozen=True, slots=True)
class SharedLedgerScenario:
    """A ledger that two homes share, and their account at the vendors."""

    sandbox: Sandbox
    directory: Path
    ledger_url: str
    api_key: str

    def get_home(self, name: str) -> Path:
        """Return the home of a worker; the third one works in the first home."""
        return self.directory / {"third": "first"}.get(name, name)

    def build_environment(self, name: str) -> dict[str, str]:
        receipts_api = self.sandbox.smartbills_io
        return extraction_app.build_environment(
            self.sandbox, VENDOR, self.api_key, self.get_home(name), LEDGER_URL=self.ledger_url,
            INBOX__PATH=str(self.directory.parent / "inbox"), VENDOR_MINUTE_SECONDS="1",
            STAGE_LEASE_SECONDS=str(LEASE_SECONDS), BATCH_SIZE=str(PDF_COUNT // 2),
            INVOICEDATAEXTRACTION_COM__BATCH_DOCUMENTS="2",
            SMARTBILLS_IO__BASE_URL=receipts_api["base_url"], SMARTBILLS_IO__API_KEY=self.api_key,
            SMARTBILLS_IO__TENANT_ID=str(receipts_api["tenant_id"]), SMARTBILLS_IO__REQUESTS_PER_MINUTE="3000",
            SMARTBILLS_IO__CUSTOMER_EMAIL="homes@example.org",
        )  # fmt: skip

    def prepare_homes(self, *names: str) -> None:
        """Create the homes, with one document store for all."""
        (self.directory / "documents").mkdir(parents=True)
        for name in names:
            self.get_home(name).mkdir(mode=0o700)
            (self.get_home(name) / "documents").symlink_to(self.directory / "documents")

    def count_outside(self, kind: str) -> int:
        """Return how many ``receipts`` or ``charges`` the sandbox has."""
        return len(self.sandbox.read_journal(self.api_key)[kind])

    def has_lease_expired(self, holder_prefix: str) -> bool:
        """Return whether no stage is leased to a worker with this prefix any more."""
        engine = create_engine(self.ledger_url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.connect() as connection:
                leases = connection.execute(select(stage_leases)).all()
        finally:
            engine.dispose()
        now = dt.datetime.now(dt.UTC)
        return not any(lease.expires_at > now and lease.holder.startswith(holder_prefix) for lease in leases)

    def is_ledger_writable(self) -> bool:
        """Return whether somebody can write at once: nobody who is suspended has the lock."""
        if self.ledger_url.startswith("sqlite"):
            try:
                path = self.ledger_url.removeprefix("sqlite:///")
                with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
            return True
        engine = create_engine(self.ledger_url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("SET lock_timeout = '500ms'")
                for table in (counters, stage_leases):
                    connection.execute(select(table).with_for_update())
        except OperationalError:
            return False
        finally:
            engine.dispose()
        return True


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(
        tmp_path_factory.mktemp("sandbox"), minute_seconds=1, plan="enterprise",
        settings={f"{VENDOR}.read_strangers": "on", f"{VENDOR}.processing_polls": 1},
    ) as running_sandbox:  # fmt: skip
        yield running_sandbox


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.mark.skipif(not IS_SOAK, reason="it takes minutes, and runs in make soak")
@pytest.mark.parametrize("ledger_url", ["sqlite", "postgresql"], indirect=True)
def test_two_homes_and_three_workers_do_everything_once(
    sandbox: Sandbox, tmp_path: Path, ledger_url: str, record_property: Callable[[str, object], None]
) -> None:
    fill_inbox(tmp_path / "inbox")
    database = ledger_url.partition(":")[0]
    alone_url = f"sqlite:///{tmp_path / 'alone.sqlite'}"
    alone = SharedLedgerScenario(sandbox, tmp_path / "alone", alone_url, f"sk_test_alone_{database}")
    alone.prepare_homes("first")
    run_undisturbed(alone, "first")
    shared = SharedLedgerScenario(sandbox, tmp_path / "shared", ledger_url, f"sk_test_{database}")
    shared.prepare_homes("first", "second")
    outcomes = [run_round(shared, alone, *round_) for round_ in ROUNDS]
    for name in ("first", "second", "first"):
        run_undisturbed(shared, name)
    record_property("figures", f"{EINVOICE_COUNT + PDF_COUNT} documents, {outcomes}")
    print(f"\n{database}: {EINVOICE_COUNT + PDF_COUNT} documents, {outcomes}")  # noqa: T201  figures
    assert_everything_once(shared, alone)


def run_undisturbed(scenario: SharedLedgerScenario, name: str) -> None:
    """Run all stages in a home."""
    environment = build_clean_environment() | scenario.build_environment(name)
    result = run_command(scenario.get_home(name), "run", "--json", cwd=scenario.directory, env=environment)
    assert result.exit_status == 0, result.stdout + result.stderr


def fill_inbox(inbox: Path) -> None:
    """Write e-invoices, and PDFs that only the vendor can read."""
    write_invoices(inbox, EINVOICE_COUNT)
    for number in range(PDF_COUNT):
        file = inbox / f"{number:03d}.pdf"
        file.write_bytes(build_pdf(f"INVOICE R-{number}", "Net 1.000,00", "Tax 250,00", "Total 1.250,00 EUR"))
        os.utime(file, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))


def run_round(
    shared: SharedLedgerScenario, alone: SharedLedgerScenario, victim_name: str, manner: str, kind: str, share: float
) -> str:
    """Let all three work at once; kill or suspend one of them at a moment; return what happened."""
    threshold = max(int(alone.count_outside(kind) * share), 1)
    with ExitStack() as exit_stack:
        workers: dict[str, WorkerProcess] = {}
        with ThreadPoolExecutor() as threads:  # they import everything at the same time
            for name, worker in zip(WORKERS, threads.map(partial(start_worker, shared), WORKERS), strict=True):
                exit_stack.callback(worker.close)
                workers[name] = worker
        for worker in workers.values():
            worker.start()
        victim = workers[victim_name]
        wait_until(lambda: victim.has_ended() or shared.count_outside(kind) >= threshold, "the moment to disturb")
        has_ended = victim.has_ended()
        if manner == "kill":
            victim.send_signal()
        elif not has_ended:
            has_ended = not suspend_without_lock(shared, victim)
            wait_until(lambda: shared.has_lease_expired(f"{os.uname().nodename[:40]}-{victim.pid}-"), "its lease's end")
        others = [worker for name, worker in workers.items() if name != victim_name]
        statuses = [worker.wait() for worker in others]
        assert [result.exit_status for result in statuses] == [0, 0], [r.stdout + r.stderr for r in statuses]
        if manner == "suspend":
            victim.send_signal(signal.SIGCONT)
            result = victim.wait()
            assert result.exit_status == 0, result.stdout + result.stderr
    return f"{victim_name} {'had ended' if has_ended else manner}"


def start_worker(shared: SharedLedgerScenario, name: str) -> WorkerProcess:
    """Return a process that is ready to run."""
    return WorkerProcess(shared.build_environment(name), "extract" if name == "third" else "run", "--json")


def suspend_without_lock(shared: SharedLedgerScenario, victim: WorkerProcess) -> bool:
    """Stop a worker at a moment in which it does not lock the ledger; return False if it has ended."""

    def is_suspended() -> bool:
        if victim.has_ended():
            return True
        victim.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(victim.pid).status() == psutil.STATUS_STOPPED, "the worker's stop")
        if shared.is_ledger_writable() and is_home_unlocked(shared.get_home("first")):
            return True
        victim.send_signal(signal.SIGCONT)
        return False

    wait_until(is_suspended, "a moment without a lock")
    return not victim.has_ended()


def is_home_unlocked(home: Path) -> bool:
    """Return whether nobody holds a lock that the other processes of a home need in between."""
    try:
        for file in (home / "high_water_mark.json", *home.glob("budgets*.lock")):
            with file.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def assert_everything_once(shared: SharedLedgerScenario, alone: SharedLedgerScenario) -> None:
    """Assert that nothing was charged, published or exported twice, and that the tables are those of one worker."""
    journal, expected = shared.sandbox.read_journal(shared.api_key), alone.sandbox.read_journal(alone.api_key)
    for kind, key in (("charges", "document_sha256"), ("receipts", "receiptId")):
        assert Counter(row[key] for row in journal[kind]) == Counter(row[key] for row in expected[kind]), kind
    exported = Counter(list_exports(shared, "first", "second"))
    assert exported == Counter(list_exports(alone, "first")), "exported"
    assert set(exported.values()) == {1}
    expected_tables = read_warehouse_tables(alone.get_home("first"))
    for name in ("first", "second"):
        tables = read_warehouse_tables(shared.get_home(name))
        assert {table: tables[table] for table in COMPARED_TABLES} == {
            table: expected_tables[table] for table in COMPARED_TABLES
        }


def list_exports(scenario: SharedLedgerScenario, *names: str) -> list[str]:
    """Return the invoices in all batches; a batch that is in both homes has the same bytes and counts once."""
    files: dict[str, Path] = {}
    for name in names:
        for file in scenario.get_home(name).glob("exports/*/bills.csv"):
            assert files.setdefault(file.parent.name, file).read_bytes() == file.read_bytes()
    return [row["invoice_id"] for file in files.values() for row in iter_csv_records(file)]
