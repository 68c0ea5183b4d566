"""A restored ledger exports nothing again that a batch in the exports directory contains."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.reissue_batch import reissue_batch
from flows.runner import run_stages
from flows.stages import export, load
from invoices.app import App
from invoices.exports.csv_files import iter_csv_records
from invoices.ledger.export_batches import count_exports
from invoices.run_report import RunReport
from invoices.settings import Settings
from tests.integration.populated_app import record_document_sighting, record_document_validation


def open_app(home: Path) -> App:
    settings = Settings(home=home)
    return App(settings, prepare_vendor_settings=lambda _exit_stack: settings)


def accept_invoices(app: App, *names: str) -> None:
    with app.ledger.begin_transaction() as tx:
        for name in names:
            record_document_sighting(tx, name)
            record_document_validation(tx, name, "accepted")


def export_invoices(home: Path, *names: str) -> RunReport:
    """Accept invoices, then load and export in one run."""
    with open_app(home) as app:
        accept_invoices(app, *names)
        return run_stages(app, (load, export), RunReport())


def copy_ledger(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as from_file, closing(sqlite3.connect(target)) as to_file:
        from_file.backup(to_file)


def restore_ledger(home: Path) -> None:
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    shutil.copy(home / "backup.sqlite", home / "ledger.sqlite")


def list_exported_ids(home: Path) -> list[str]:
    return [
        row["invoice_id"] for file in sorted((home / "exports").glob("*/bills.csv")) for row in iter_csv_records(file)
    ]


@pytest.fixture(scope="module")
def lost_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a backup made after the first of three batches, to be copied; its ledger is lost."""
    home = tmp_path_factory.mktemp("lost") / "home"
    export_invoices(home, "a", "b")
    copy_ledger(home / "ledger.sqlite", home / "backup.sqlite")
    export_invoices(home, "c")
    export_invoices(home, "d", "e")
    restore_ledger(home)
    return home


@pytest.fixture
def home(lost_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(lost_home, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def test_a_restored_ledger_exports_nothing_again_and_uses_no_number_again(home: Path) -> None:
    report = export_invoices(home, "c", "f")  # "d" and "e" have not been validated again yet
    assert (len(report.export_batches), report.exported_invoices, report.problems) == (1, 1, [])
    assert [remark.split()[0] for remark in report.remarks if "exports directory" in remark] == [
        name for name in sorted(path.name for path in (home / "exports").iterdir()) if name.startswith("batch-")
    ][1:3]
    later = export_invoices(home, "d", "e", "g")
    assert later.exported_invoices == 1
    assert not [remark for remark in later.remarks if "exports directory" in remark]
    exported_ids = list_exported_ids(home)
    assert len(exported_ids) == len(set(exported_ids)) == 7
    numbers = sorted(path.name.split("-")[1] for path in (home / "exports").iterdir())
    assert numbers == ["000001", "000002", "000003", "000004", "000005"]


def test_an_adopted_batch_is_written_again_byte_for_byte(home: Path) -> None:
    export_invoices(home, "c")
    [directory] = (home / "exports").glob("batch-000002*")
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    shutil.rmtree(directory)
    with open_app(home) as app:
        run_stages(app, (load,), RunReport())
        reissue_batch(app, directory.name)
        with app.ledger.open_snapshot() as connection:
            assert count_exports(connection) == {"batches": 3, "invoices": 5, "waiting": 0}
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == files


def test_nothing_is_exported_while_an_unknown_batch_cannot_be_read(home: Path) -> None:
    [directory] = (home / "exports").glob("batch-000003*")
    (directory / "bills.csv").unlink()
    before = list_exported_ids(home)
    with open_app(home) as app:
        accept_invoices(app, "f")
        report = run_stages(app, (export,), RunReport())
    assert [directory.name in problem and "nothing was exported" in problem for problem in report.problems] == [True]
    assert list_exported_ids(home) == before
