"""A batch on disk: complete or absent, never changed, the same bytes in any process, and verified afterwards."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from invoices.errors import ConfigurationError, ContractError
from invoices.exports import BatchHeader, sort_for_export, verify_batch_folder, write_batch_folder
from invoices.model import Invoice, Line, Party, Tax
from tests.export_fixtures import render_batch_files

BATCH = BatchHeader("batch-000001", dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC))

RENDER_AND_PRINT = """
import hashlib
from test_module import BATCH, build_invoices
from tests.export_fixtures import render_batch_files
for name, content in render_batch_files(BATCH, build_invoices()).items():
    print(name, hashlib.sha256(content).hexdigest())
"""

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from test_module import BATCH, build_invoices
from invoices.exports import sort_for_export, write_batch_folder

class KillingInvoices(list):
    '''Invoices that kill the process in the middle of the given iteration; each table is one.'''

    iterations = 0

    def __iter__(self):
        for number, invoice in enumerate(super().__iter__()):
            if number == 5 and self.iterations == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield invoice
        self.iterations += 1

def kill_before_release(_):
    os.kill(os.getpid(), signal.SIGKILL)

write_batch_folder(Path(sys.argv[1]), BATCH, KillingInvoices(sort_for_export(build_invoices())), kill_before_release)
"""


def build_invoices() -> list[Invoice]:
    """Return a bill and a credit note with lines, taxes and umlauts."""
    return [
        Invoice(
            invoice_id=f"i{number}",
            document_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            ordinal=1,
            kind="credit_note" if number % 5 == 0 else "invoice",
            direction="expense",
            invoice_number=f"=00{number}",
            issued_on=dt.date(2026, 1, 1 + number),
            currency="JPY" if number % 3 == 0 else "EUR",
            total_amount=Decimal(119 * number),
            supplier=Party("Müller GmbH", "DE123456789"),
            net_amount=Decimal(100 * number),
            tax_amount=Decimal(19 * number),
            lines=(Line(1, "Papier; -weiß\nA4", Decimal(number), "C62", Decimal(100), Decimal(100 * number)),),
            taxes=(Tax("S", Decimal(19), Decimal(100 * number), Decimal(19 * number)),),
        )
        for number in range(1, 13)
    ]


def run_in_other_process(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = script.replace("test_module", Path(__file__).stem)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def written_batch(tmp_path: Path) -> Path:
    return write_batch_folder(tmp_path / "exports", BATCH, sort_for_export(build_invoices()))


def test_a_written_batch_is_one_folder_with_exactly_its_files(tmp_path: Path) -> None:
    files = render_batch_files(BATCH, build_invoices())
    folder = write_batch_folder(tmp_path / "deep" / "exports", BATCH, sort_for_export(build_invoices()))
    assert folder == tmp_path / "deep" / "exports" / "batch-000001"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert os.listdir(folder.parent) == ["batch-000001"]
    assert verify_batch_folder(folder) == []


def test_writing_the_same_batch_again_touches_nothing(written_batch: Path) -> None:
    def read_inodes_and_times() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (written_batch, *written_batch.iterdir())
        }

    before = read_inodes_and_times()
    assert write_batch_folder(written_batch.parent, BATCH, sort_for_export(build_invoices()[::-1])) == written_batch
    assert read_inodes_and_times() == before


def test_a_finished_batch_is_never_overwritten_with_other_bytes(written_batch: Path) -> None:
    before = (written_batch / "bills.csv").read_bytes()
    with pytest.raises(ConfigurationError, match=r"'batch-000001' already exists in .* differs in \['bill_lines.csv'"):
        write_batch_folder(written_batch.parent, BATCH, sort_for_export(build_invoices()[1:]))
    assert (written_batch / "bills.csv").read_bytes() == before
    assert verify_batch_folder(written_batch) == []


@pytest.mark.parametrize("obstacle", [Path.mkdir, Path.touch])
def test_another_file_or_folder_with_the_name_of_the_batch_is_refused(
    tmp_path: Path, obstacle: Callable[[Path], None]
) -> None:
    obstacle(tmp_path / "batch-000001")
    with pytest.raises(ConfigurationError, match="differs"):
        write_batch_folder(tmp_path, BATCH, sort_for_export(build_invoices()))


def test_a_root_that_is_not_a_folder_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "exports").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_batch_folder(tmp_path / "exports", BATCH, [])


@pytest.mark.parametrize("tables_written", range(4))
def test_a_killed_run_leaves_no_batch_and_the_next_run_removes_what_it_left(
    tmp_path: Path, tables_written: int
) -> None:
    killed_process = run_in_other_process(WRITE_AND_DIE, str(tmp_path), str(tables_written))
    assert killed_process.returncode == -signal.SIGKILL, killed_process.stderr
    assert os.listdir(tmp_path) == [".batch-000001.partial"]
    other_batch = BatchHeader("batch-000002", BATCH.created_at)
    assert verify_batch_folder(write_batch_folder(tmp_path, other_batch, sort_for_export(build_invoices()))) == []
    assert os.listdir(tmp_path) == ["batch-000002"]


def test_a_batch_that_is_refused_before_its_release_leaves_nothing(tmp_path: Path) -> None:
    manifest_hashes: list[str] = []

    def refuse(manifest_sha256: str) -> None:
        manifest_hashes.append(manifest_sha256)
        raise ContractError("not these")

    with pytest.raises(ContractError):
        write_batch_folder(tmp_path, BATCH, sort_for_export(build_invoices()), refuse)
    manifest = render_batch_files(BATCH, build_invoices())["manifest.json"]
    assert (os.listdir(tmp_path), manifest_hashes) == ([], [hashlib.sha256(manifest).hexdigest()])


def test_concurrent_writers_of_one_batch_all_succeed(tmp_path: Path) -> None:
    invoices = sort_for_export(build_invoices())
    folders: list[Path] = []
    writers = [
        threading.Thread(target=lambda: folders.append(write_batch_folder(tmp_path, BATCH, invoices))) for _ in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert folders == [tmp_path / "batch-000001"] * 8
    assert os.listdir(tmp_path) == ["batch-000001"]


def test_another_process_with_other_hash_seed_time_zone_and_language_renders_the_same_bytes() -> None:
    expected_output = "".join(
        f"{name} {hashlib.sha256(content).hexdigest()}\n"
        for name, content in render_batch_files(BATCH, build_invoices()).items()
    )
    environments = [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"},
        {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
    ]
    for environment in environments:
        process = run_in_other_process(RENDER_AND_PRINT, **environment)
        assert process.stdout == expected_output, process.stderr


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def test_a_changed_amount_is_found_by_hash_and_by_control_total(written_batch: Path) -> None:
    replace_bytes(written_batch / "bills.csv", b"119.00", b"118.00")
    findings = verify_batch_folder(written_batch)
    assert any(finding.startswith("'bills.csv': the manifest states sha256") for finding in findings)
    assert any(finding.startswith("'manifest.json': the manifest states totals") for finding in findings)


def test_a_changed_total_in_the_manifest_is_found(written_batch: Path) -> None:
    document = json.loads((written_batch / "manifest.json").read_bytes())
    document["tax_totals"][0]["tax_amount"] = "1.00"
    document["counts"]["lines"] = 7
    (written_batch / "manifest.json").write_text(json.dumps(document))
    assert [finding.split(" as ")[0] for finding in verify_batch_folder(written_batch)] == [
        "'manifest.json': the manifest states counts",
        "'manifest.json': the manifest states tax_totals",
    ]


def test_a_lost_row_is_found_even_if_the_manifest_has_the_new_hash(written_batch: Path) -> None:
    path = written_batch / "tax_lines.csv"
    path.write_bytes(path.read_bytes().rstrip().rpartition(b"\r\n")[0] + b"\r\n")
    document = json.loads((written_batch / "manifest.json").read_bytes())
    entry = document["files"]["tax_lines.csv"]
    entry["sha256"], entry["bytes"] = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    (written_batch / "manifest.json").write_text(json.dumps(document))
    assert "'tax_lines.csv': the manifest states rows as 12, but it is 11" in verify_batch_folder(written_batch)


def test_missing_and_foreign_files_are_found(written_batch: Path) -> None:
    (written_batch / "bills.xlsx").unlink()
    (written_batch / "notes.txt").touch()
    (written_batch / "folder").mkdir()
    assert sorted(verify_batch_folder(written_batch)) == [
        "'bills.xlsx' is missing",
        "'folder' is not a file",
        "'notes.txt' is not in the manifest",
    ]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": []}', b'{"files": {"a": 1}}', b"\xff\xfe\xff"])
def test_a_manifest_that_cannot_be_read_is_found(written_batch: Path, content: bytes) -> None:
    (written_batch / "manifest.json").write_bytes(content)
    assert "manifest.json cannot be read" in verify_batch_folder(written_batch)[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b'a,b\r\n"', b"a,b\r\n1\r\n"])
@pytest.mark.parametrize("name", ["bills.csv", "tax_lines.csv", "bills.xlsx"])
def test_a_file_that_cannot_be_read_is_a_finding_not_a_crash(written_batch: Path, name: str, content: bytes) -> None:
    (written_batch / name).write_bytes(content)
    assert any(name in finding for finding in verify_batch_folder(written_batch))


@pytest.mark.parametrize("amount", [b"NaN", b"1e999999999", b"twelve", b"Infinity"])
def test_an_amount_that_is_no_number_is_a_finding_not_a_crash(written_batch: Path, amount: bytes) -> None:
    replace_bytes(written_batch / "bills.csv", b"119.00", amount)
    findings = verify_batch_folder(written_batch)
    assert any("control totals" in finding or "states totals" in finding for finding in findings)


def test_a_missing_manifest_and_a_renamed_folder_are_found(written_batch: Path) -> None:
    renamed_batch = written_batch.rename(written_batch.with_name("batch-000009"))
    assert verify_batch_folder(renamed_batch) == [
        "manifest.json belongs to batch 'batch-000001', but its folder is 'batch-000009'"
    ]
    (renamed_batch / "manifest.json").unlink()
    assert "is missing" in verify_batch_folder(renamed_batch)[0]


def test_a_very_long_text_is_verified(tmp_path: Path) -> None:
    invoice = Invoice("i", "d" * 64, 1, "invoice", "expense", "x" * 200_000, dt.date(2026, 1, 1), "EUR", Decimal(1))
    assert verify_batch_folder(write_batch_folder(tmp_path, BATCH, [invoice])) == []
