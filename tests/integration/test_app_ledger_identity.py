"""A home notices that its ledger was restored or replaced, and several homes on one ledger agree about it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest

from flows.runner import run_stages
from flows.stages import load
from invoices.app import App
from invoices.ledger import Ledger
from invoices.ledger.high_water_mark import HighWaterMark, HighWaterMarkFile
from invoices.ledger.identity import complete_recovery
from invoices.ledger.identity_check import take_restore_remark
from invoices.ledger.migrations import SCHEMA_VERSION
from invoices.run_report import RunReport
from invoices.settings import Settings
from tests.integration.ledger.old_ledgers import create_ledger_of_version
from tests.integration.populated_app import (
    hash_name,
    record_document_sighting,
    record_document_validation,
)
from transforms.loading.release import get_published_database_path
from transforms.loading.working_warehouse import get_working_database_path, open_warehouse


class SharedLedger:
    """A ledger that homes share, and its backups."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.path = directory, directory / "ledger.sqlite"

    @contextmanager
    def open_home(self, name: str) -> Iterator[App]:
        settings = Settings(home=self.directory / name, ledger_url=f"sqlite:///{self.path}")
        with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
            yield app

    def add_documents(self, home: str, *names: str) -> None:
        """Record each document in a transaction of its own."""
        with self.open_home(home) as app:
            for name in names:
                with app.ledger.begin_transaction() as tx:
                    record_document_sighting(tx, name)
                    record_document_validation(tx, name, "accepted")

    def load(self, home: str) -> RunReport:
        with self.open_home(home) as app:
            return run_stages(app, (load,), RunReport())

    def read_loaded_documents(self, home: str) -> list[str]:
        path = get_published_database_path(self.directory / home / "warehouse")
        with duckdb.connect(path, read_only=True) as connection:
            rows = connection.execute("select document_sha256 from core.documents").fetchall()
        return sorted(sha256 for (sha256,) in rows)

    def back_up(self) -> None:
        with (
            closing(sqlite3.connect(self.path)) as source,
            closing(sqlite3.connect(self.path.with_name("b"))) as backup,
        ):
            source.backup(backup)

    def restore(self) -> None:
        for file in self.directory.glob("ledger.sqlite*"):
            file.unlink()
        self.path.with_name("b").rename(self.path)


@pytest.fixture
def shared(tmp_path: Path) -> SharedLedger:
    return SharedLedger(tmp_path)


def hash_names(*names: str) -> list[str]:
    return sorted(hash_name(name) for name in names)


def test_a_second_home_gets_what_the_first_has_loaded(shared: SharedLedger) -> None:
    shared.add_documents("first", "a", "b")
    assert shared.load("first").rows_loaded > 0
    assert shared.load("second").rows_loaded > 0
    shared.add_documents("second", "c")
    for home in ("first", "second", "first"):
        shared.load(home)
        assert shared.read_loaded_documents(home) == hash_names("a", "b", "c")
    assert shared.load("second").rows_loaded == 0


def test_a_warehouse_from_before_a_restore_is_made_anew_although_the_ledger_went_past_it(shared: SharedLedger) -> None:
    for home in ("first", "second"):
        shared.add_documents(home, home)
    shared.back_up()
    shared.add_documents("first", "lost")
    for home in ("first", "second"):
        shared.load(home)
    shared.restore()
    shared.add_documents("first", "c", "d", "e")
    for home in ("second", "first"):
        shared.load(home)
        assert shared.read_loaded_documents(home) == hash_names("first", "second", "c", "d", "e")


def test_a_restored_ledger_is_noticed_once_by_each_home(shared: SharedLedger) -> None:
    shared.add_documents("first", "a")
    shared.add_documents("second", "b")
    with shared.open_home("first") as app:
        with app.ledger.begin_transaction() as tx:
            complete_recovery(tx, "receipts")
        assert app.find_recovery("receipts") is None
    shared.back_up()
    shared.add_documents("second", "lost")
    shared.restore()
    shared.open_home("second").__enter__().close()  # as "invoices status" does
    assert "The ledger was restored" in shared.load("second").remarks[0]
    assert shared.load("second").remarks == []
    for home in ("first", "second", "first"):
        with shared.open_home(home) as app:
            recovery = app.find_recovery("receipts")
            assert recovery is not None
            assert recovery.reason == "restored"
            with app.ledger.begin_transaction() as tx:
                complete_recovery(tx, "extractions")
            assert app.find_recovery("extractions") is None


def test_a_home_that_joins_a_restored_ledger_does_not_hide_the_restore(shared: SharedLedger) -> None:
    shared.add_documents("first", "a")
    with shared.open_home("first") as app:
        app.begin_recovery()
        with app.ledger.begin_transaction() as tx:
            complete_recovery(tx, "receipts")
        restored = app.find_recovery("extractions")
    with shared.open_home("second") as app:
        assert app.find_recovery("extractions") == app.find_recovery("receipts") == restored
        assert restored is not None
        assert restored.reason == "restored"


def test_a_replaced_ledger_is_noticed(shared: SharedLedger) -> None:
    shared.add_documents("home", "a")
    for file in shared.directory.glob("ledger.sqlite*"):
        file.unlink()
    with shared.open_home("home") as app:
        recovery = app.find_recovery("extractions")
        assert recovery is not None
        assert recovery.reason == "restored"
        assert "another one than before" in (take_restore_remark(app.ledger) or "")


@pytest.mark.parametrize(("prepare", "reason"), [(lambda _: None, "new"), (lambda url: Ledger(url).close(), "new")])
def test_what_is_outside_is_looked_up_with_a_new_ledger(
    shared: SharedLedger, prepare: Callable[[str], None], reason: str
) -> None:
    prepare(f"sqlite:///{shared.path}")
    with shared.open_home("home") as app:
        recovery = app.find_recovery("receipts")
        assert recovery is not None
        assert (recovery.reason, take_restore_remark(app.ledger)) == (reason, None)


def test_a_home_that_joins_a_ledger_looks_up_what_is_outside(shared: SharedLedger) -> None:
    shared.add_documents("first", "a")
    with shared.open_home("second") as app:
        recovery = app.find_recovery("receipts")
        assert recovery is not None
        assert recovery.reason == "joined"


@pytest.mark.parametrize("version", ["1", "4"])
def test_an_upgrade_is_no_restore(shared: SharedLedger, version: str) -> None:
    create_ledger_of_version(f"sqlite:///{shared.path}", version)
    for _ in range(2):
        with shared.open_home("home") as app:
            assert app.find_recovery("receipts") is None


def test_a_warehouse_of_an_earlier_version_is_made_anew_with_the_first_load(shared: SharedLedger) -> None:
    shared.add_documents("home", "a")
    shared.load("home")
    warehouse_directory = shared.directory / "home" / "warehouse"
    with open_warehouse(get_working_database_path(warehouse_directory)) as connection:
        connection.execute("update raw.extractions set pages_reserved = null")  # a column that was added later
    manifest_path = (warehouse_directory / "manifest.json").resolve()
    manifest = json.loads(manifest_path.read_text())
    manifest["ledger"] = manifest["ledger"].replace(f"schema {SCHEMA_VERSION}", "schema 4")
    manifest_path.write_text(json.dumps(manifest))
    assert len(shared.load("home").remarks) == 1
    with duckdb.connect(get_published_database_path(warehouse_directory), read_only=True) as connection:
        assert connection.execute("select pages_reserved from raw.extractions").fetchall() == [(0,)]


@pytest.mark.parametrize("content", [b"", b"{", b'{"ledger_id": 1}', b"\xff"])
def test_a_damaged_mark_counts_as_none(tmp_path: Path, content: bytes) -> None:
    file = HighWaterMarkFile(tmp_path / "mark")
    (tmp_path / "mark").write_bytes(content)
    assert file.read() is None
    file.raise_to(HighWaterMark("a", 5))
    file.raise_to(HighWaterMark("a", 4))
    assert file.read() == HighWaterMark("a", 5)
    file.raise_to(HighWaterMark("b", 1))
    assert file.read() == HighWaterMark("b", 1)
