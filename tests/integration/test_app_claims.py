"""The claims of an application: leases are renewed while it works, and no claim is left behind."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from flows.reports.claimed_documents import describe_claims_of_others
from flows.reports.run_summary import format_run_summary, get_pipeline_status
from invoices.app import App
from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import claim_pending_documents, list_claim_holders
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import claims
from invoices.settings import Settings


def add_documents(app: App, count: int) -> None:
    with app.ledger.begin_transaction() as tx:
        for number in range(count):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            path = f"/{number}.pdf"
            record_sighting(tx, Sighting(sha256[:32], sha256, "application/pdf", 1, "inbox", "folder", path))


def get_lease_end(app: App) -> dt.datetime:
    with app.ledger.open_snapshot() as connection:
        lease_end = connection.scalar(select(claims.c.expires_at))
    assert lease_end is not None
    return lease_end


def test_a_lease_is_renewed_for_as_long_as_the_work_takes(app: App) -> None:
    add_documents(app, 1)
    with app.renew_leases(interval_seconds=0.01):
        assert len(app.claim_documents("extract_local", 10, 0)) == 1
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
        with app.ledger.begin_transaction() as tx:
            tx.connection.execute(update(claims).values(expires_at=soon))
        deadline = time.monotonic() + 30
        while get_lease_end(app) <= soon and time.monotonic() < deadline:
            time.sleep(0.01)
        assert get_lease_end(app) > soon


def test_no_claim_is_left_after_the_work(app: App) -> None:
    add_documents(app, 2)
    with app.renew_leases():
        assert len(app.claim_documents("extract_local", 10, 0)) == 2
    with app.ledger.open_snapshot() as connection:
        assert list_claim_holders(connection) == []
    assert "leases" not in {thread.name for thread in threading.enumerate()}


def test_two_apps_on_one_ledger_share_the_documents(app: App, app_settings: Settings) -> None:
    add_documents(app, 3)
    with (
        App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as other,
        app.renew_leases(),
        other.renew_leases(),
    ):
        claimed = {document.document_sha256 for document in app.claim_documents("extract_local", 2, 0)}
        others = {document.document_sha256 for document in other.claim_documents("extract_local", 10, 0)}
    assert (len(claimed), len(others), claimed & others) == (2, 1, set())


def test_nothing_is_written_when_no_document_waits(app: App, app_settings: Settings) -> None:
    with app.renew_leases():
        assert app.claim_documents("extract_remote", 10, 0) == []
    assert not (app_settings.home / "workers").exists()


class FullLedger(Ledger):
    """A ledger that can only be read, as on a full disk."""

    @contextmanager
    def begin_transaction(self) -> Iterator[Transaction]:
        """Raise the error of SQLite on a full disk."""
        raise OperationalError("DELETE", None, Exception("database or disk is full"))
        yield  # a generator, like the original


def test_claims_that_a_full_disk_kept_are_released_by_the_next_worker(app: App, app_settings: Settings) -> None:
    add_documents(app, 3)
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as other:
        with other.renew_leases():
            assert len(other.claim_documents("extract_remote", 10, 0)) == 0
            assert len(other.claim_documents("extract_local", 10, 0)) == 3
            other.ledger = FullLedger(app_settings.effective_ledger_url)
        assert other.worker_name in list_holders(app)
    assert len(list((app_settings.home / "workers").iterdir())) == 1
    assert len(app.claim_documents("extract_local", 10, 0)) == 3
    assert list_holders(app) == [app.worker_name]
    assert [path.stem for path in (app_settings.home / "workers").iterdir()] == [app.worker_name]


def list_holders(app: App) -> list[str]:
    with app.ledger.open_snapshot() as connection:
        return list_claim_holders(connection)


def test_documents_that_wait_for_a_lease_are_reported_with_its_end(app: App) -> None:
    add_documents(app, 3)
    expires_at = app.ledger.now() + dt.timedelta(minutes=10)
    with app.ledger.begin_transaction() as tx:
        claim_pending_documents(tx, "elsewhere-1-2-3-4", "extract_local", 2)
        tx.connection.execute(update(claims).values(expires_at=expires_at))
    assert len(app.claim_documents("extract_local", 10, 0)) == 1
    (sentence,) = describe_claims_of_others(app, "extract_local")
    assert sentence.startswith("2 documents left to worker 'elsewhere-1-2-3-4'")
    assert f"{expires_at:%H:%M:%SZ}" in sentence
    assert describe_claims_of_others(app, "extract_remote") == []
    (claim,) = get_pipeline_status(app)["claims"]
    assert (claim["worker"], claim["documents"]) == ("elsewhere-1-2-3-4", 2)
    assert "elsewhere-1-2-3-4, until" in format_run_summary(app, None)
