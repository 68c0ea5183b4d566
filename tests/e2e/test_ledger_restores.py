"""A ledger restored to any commit of a run: a fresh process goes on; nothing is charged, published or exported twice.

The ledger is copied after every commit of a whole run. From a spread of the copies, a fresh process goes on with the
warehouse, the exports and the documents of that home, and the same accounts at the vendors. RESTORE_POINTS=60 tries
that many copies per vendor.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Pool, event

from flows.runner import ALL_STAGES, run_stages
from invoices.app import App
from invoices.exports.csv_files import iter_csv_records
from invoices.run_report import RunReport
from invoices.settings import InboxSettings, Settings
from sandbox.process import Sandbox, start_sandbox
from tests.e2e import extraction_app
from tests.e2e.fork_client import ForkServer
from tests.e2e.kill_injection import AppCommand, run_forked_command
from tests.e2e.test_kill_sweep import build_clean_environment, copy_samples
from tests.sweep_size import IS_SOAK, spread

pytestmark = pytest.mark.sweep

VENDORS = ("smartbills_com", "invoicedataextraction_com", "billflowai")
POINTS_PER_VENDOR = int(os.environ.get("RESTORE_POINTS", 24 if IS_SOAK else 2))
VENDOR_MINUTE_SECONDS = 0.5
SANDBOX_SETTINGS = {
    "smartbills_com.processing_polls": 1,
    "invoicedataextraction_com.processing_polls": 1,
    "billflowai.rate_limit_per_minute": 0,
    "billflowai.source": "extracted",  # it remembers nothing, so that a repeat costs
}


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A home after a whole run, and a copy of its ledger after each commit."""

    home: Path
    ledger_copies: list[Path]
    settings: Settings
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outside:
    """What the vendors and the exports directory have: how often each document, receipt and invoice is there."""

    charges: Counter[str]
    receipts: Counter[str]
    exported: Counter[str]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(
        tmp_path_factory.mktemp("sandbox"), minute_seconds=VENDOR_MINUTE_SECONDS, plan="enterprise",
        settings=SANDBOX_SETTINGS,
    ) as running_sandbox:  # fmt: skip
        yield running_sandbox


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer(build_clean_environment())
    yield server
    server.close()


@pytest.mark.parametrize("vendor", spread(VENDORS, 1))
def test_restored_to_any_commit_nothing_is_charged_published_or_exported_twice(
    sandbox: Sandbox, fork_server: ForkServer, tmp_path: Path, vendor: str,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    finished_run = run_and_copy_ledger(sandbox, vendor, tmp_path)
    points = choose_points(len(finished_run.ledger_copies), POINTS_PER_VENDOR)
    outcomes = [continue_from_copy(sandbox, fork_server, vendor, finished_run, tmp_path, point) for point in points]
    failures = [outcome for outcome in outcomes if outcome.startswith("!")]
    kinds = Counter("wrong" if outcome.startswith("!") else outcome for outcome in outcomes)
    figures = f"{vendor}: {len(points)} of {len(finished_run.ledger_copies)} commits, {dict(kinds)}"
    record_property("figures", figures)
    print("\n" + figures)  # noqa: T201  figures
    assert not failures, "\n".join(failures)


def choose_points(copy_count: int, point_count: int) -> list[int]:
    """Return indexes spread over the copies, without the last one, which lacks nothing."""
    last = copy_count - 2
    return sorted({number * last // max(point_count - 1, 1) for number in range(point_count)}) if last > 0 else []


def run_and_copy_ledger(sandbox: Sandbox, vendor: str, directory: Path) -> FinishedRun:
    """Run all stages in this process, and copy the ledger after each commit."""
    copy_samples(directory / "inbox")
    api_key = f"sk_test_restore_{vendor}"
    vendor_settings = {"base_url": getattr(sandbox, vendor)["base_url"], "api_key": api_key}
    settings = Settings.model_validate(
        {
            "home": directory / "finished" / "home",
            "inbox": InboxSettings(path=directory / "inbox", settle_seconds=0),
            "extractors": ("einvoice", vendor),
            "vendor_minute_seconds": VENDOR_MINUTE_SECONDS,
            vendor: vendor_settings,
            "smartbills_io": {
                "base_url": sandbox.smartbills_io["base_url"], "api_key": SecretStr(api_key),
                "tenant_id": sandbox.smartbills_io["tenant_id"], "requests_per_minute": 1000,
                "customer_email": "restore@example.org",
            },
        }
    )  # fmt: skip
    with (
        App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app,
        copy_after_each_commit(settings.home / "ledger.sqlite", directory / "copies") as copies,
    ):
        report = run_stages(app, ALL_STAGES, RunReport())
    assert report.problems == []
    environment = extraction_app.build_environment(
        sandbox, vendor, api_key, settings.home, INBOX__PATH=str(directory / "inbox"),
        VENDOR_MINUTE_SECONDS=str(VENDOR_MINUTE_SECONDS), SMARTBILLS_IO__BASE_URL=sandbox.smartbills_io["base_url"],
        SMARTBILLS_IO__API_KEY=api_key, SMARTBILLS_IO__TENANT_ID=str(sandbox.smartbills_io["tenant_id"]),
        SMARTBILLS_IO__REQUESTS_PER_MINUTE="1000", SMARTBILLS_IO__CUSTOMER_EMAIL="restore@example.org",
    )  # fmt: skip
    return FinishedRun(settings.home, copies, settings, build_clean_environment() | environment)


@contextmanager
def copy_after_each_commit(ledger_path: Path, directory: Path) -> Iterator[list[Path]]:
    """Yield a list that grows by a copy of the ledger after each commit of this process."""
    directory.mkdir()
    copies: list[Path] = []
    lock = threading.Lock()
    with closing(sqlite3.connect(ledger_path, check_same_thread=False)) as observer:
        last_version = 0

        def copy_if_changed(*_arguments: Any) -> None:
            nonlocal last_version
            with lock:
                version = observer.execute("PRAGMA data_version").fetchone()[0]
                if version == last_version:
                    return
                last_version = version
                copies.append(directory / f"{len(copies):04d}.sqlite")
                with closing(sqlite3.connect(copies[-1])) as copy:
                    observer.backup(copy)

        event.listen(Pool, "checkin", copy_if_changed)
        try:
            yield copies
        finally:
            event.remove(Pool, "checkin", copy_if_changed)


def continue_from_copy(
    sandbox: Sandbox, fork_server: ForkServer, vendor: str, finished_run: FinishedRun, directory: Path, point: int
) -> str:
    """Return what happened when a fresh process went on from a copy; after a "!" what is wrong."""
    home = directory / "restored" / "home"
    shutil.copytree(finished_run.home, home, symlinks=True)
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    shutil.copy(finished_run.ledger_copies[point], home / "ledger.sqlite")
    expire_leases(home / "ledger.sqlite")
    api_key = f"sk_test_restore_{vendor}"
    before = read_outside(sandbox, api_key, home)
    other_batches = {"INVOICES_INVOICEDATAEXTRACTION_COM__BATCH_DOCUMENTS": "1"}  # so that the derived ids differ
    environment = {**finished_run.environment, "INVOICES_HOME": str(home), **other_batches}
    command = AppCommand(("run", "--json"), environment)
    status = run_forked_command(fork_server, command)
    after, ledger = read_outside(sandbox, api_key, home), extraction_app.read_ledger_snapshot(home)
    charged_again = set(after.charges - before.charges)
    problems = [] if status in (0, 1) else [f"status {status}: {command.output_path.read_text()[-800:]}"]
    if charged_again - ledger.possible_double_charges:
        problems.append(f"charged again and not flagged: {sorted(charged_again - ledger.possible_double_charges)}")
    if charged_again and vendor != "billflowai":
        problems.append(f"charged again: {sorted(charged_again)}")
    problems += [f"receipt {name} created again" for name in after.receipts - before.receipts]
    problems += [f"invoice {name} exported {count} times" for name, count in after.exported.items() if count > 1]
    if set(after.exported) != set(before.exported) or set(after.receipts) != set(before.receipts):
        problems.append("other invoices were exported or published")
    if waiting := ledger.waiting_documents:
        problems.append(f"waiting {waiting}")
    output = command.output_path.read_text(encoding="utf-8")
    shutil.rmtree(home.parent)
    if problems:
        return f"!{vendor} commit {point}: {'; '.join(problems)}\n{output[-1500:]}"
    return "charged again, flagged" if charged_again else "nothing twice"


def expire_leases(ledger_path: Path) -> None:
    """Let the claims and leases of the lost process expire, as they do while somebody restores a backup."""
    with closing(sqlite3.connect(ledger_path)) as connection, connection:
        past = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
        for table in ("claims", "stage_leases"):
            connection.execute(f"UPDATE {table} SET expires_at = ?", (past,))


def read_outside(sandbox: Sandbox, api_key: str, home: Path) -> Outside:
    journal = sandbox.read_journal(api_key)
    return Outside(
        Counter(charge["document_sha256"] for charge in journal["charges"]),
        Counter(receipt["receiptId"] for receipt in journal["receipts"]),
        Counter(row["invoice_id"] for file in (home / "exports").glob("*/bills.csv") for row in iter_csv_records(file)),
    )
