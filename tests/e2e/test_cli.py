"""The command line on the sample documents, offline: its output, and what the sandbox received."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from sandbox import get_samples_directory
from sandbox.journal import read_journal
from tests.e2e.command_line import CommandResult, build_environment, run_command


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home directory of the run on the samples."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first_run(home: Path) -> CommandResult:
    """The first run on the samples."""
    return run_command(home, "run", "--samples", "--json")


def list_stored_documents(home: Path) -> list[Path]:
    return [path for path in (home / "documents").rglob("*") if path.is_file()]


def read_warehouse_tables(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of the published warehouse, by table."""
    with duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_name not like '%dlt%' order by all"
        ).fetchall()
        return {
            f"{schema}.{table}": connection.execute(f"select * from {schema}.{table} order by all").fetchall()
            for schema, table in names
        }


def test_the_samples_end_in_the_states_that_their_makers_expect(home: Path, first_run: CommandResult) -> None:
    assert first_run.exit_status == 0, first_run.stderr
    manifest = (get_samples_directory() / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {row["sha256"]: row["expected_state"] for row in map(json.loads, manifest) if row["expected_state"]}
    actual = dict(
        duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True)
        .execute("select document_sha256, state from core.documents")
        .fetchall()
    )
    assert actual == expected


def test_the_last_line_tells_machines_what_happened(first_run: CommandResult) -> None:
    report = first_run.json_output
    assert (
        report["documents"]["seen"] == report["documents"]["new"] == sum(report["documents"]["by_state"].values()) > 40
    )
    assert report["paid"]["calls"] > 0
    assert report["receipts"]["published"] > 0
    assert report["exports"]["batches"] == 1
    assert report["rehearsal"] is True


def test_the_sandbox_saw_each_document_once_and_each_receipt_once(home: Path, first_run: CommandResult) -> None:
    journal = read_journal(home / "sandbox")
    charged = [charge["document_sha256"] for charge in journal["charges"]]
    created = [receipt["receiptId"] for receipt in journal["receipts"]]
    assert len(charged) == len(set(charged)) == first_run.json_output["paid"]["pages"]
    assert len(created) == len(set(created)) == first_run.json_output["receipts"]["published"]


def test_a_second_run_changes_nothing_and_calls_nobody(home: Path, first_run: CommandResult) -> None:
    rows, release = read_warehouse_tables(home), (home / "warehouse" / "current").readlink()
    journal = read_journal(home / "sandbox")
    ledger_sql = _export_ledger_sql(home)
    second = run_command(home, "run", "--samples", "--json")
    assert second.exit_status == 0
    assert second.json_output["documents"]["new"] == second.json_output["rows_loaded"] == 0
    assert second.json_output["paid"] == {"calls": 0, "pages": 0, "by_extractor": {}}
    assert second.json_output["receipts"]["published"] == 0
    assert second.json_output["exports"] == {"batches": 0, "invoices": 0}
    assert read_journal(home / "sandbox") == journal
    assert (read_warehouse_tables(home), (home / "warehouse" / "current").readlink()) == (rows, release)
    assert _export_ledger_sql(home) == ledger_sql


def test_a_rebuilt_warehouse_is_equal(home: Path, first_run: CommandResult) -> None:
    rows = read_warehouse_tables(home)
    shutil.rmtree(home / "warehouse")
    assert run_command(home, "rebuild").exit_status == 0
    assert read_warehouse_tables(home) == rows


def test_a_lost_warehouse_is_noticed_and_rebuilt(home: Path, first_run: CommandResult) -> None:
    rows = read_warehouse_tables(home)
    (home / "warehouse" / "working.duckdb").unlink()
    (home / "warehouse" / "current").unlink()
    result = run_command(home, "load")
    assert "is rebuilt" in result.stdout
    assert read_warehouse_tables(home) == rows


def test_a_batch_is_reissued_byte_for_byte(home: Path, first_run: CommandResult) -> None:
    batch = home / "exports" / "batch-000001-REHEARSAL"
    before = {file.name: file.read_bytes() for file in batch.iterdir()}
    shutil.rmtree(batch)
    assert run_command(home, "export", "--reissue", "batch-000001-REHEARSAL").exit_status == 0
    assert {file.name: file.read_bytes() for file in batch.iterdir()} == before


def test_explain_shows_the_history_from_sighting_to_export(home: Path, first_run: CommandResult) -> None:
    with duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True) as connection:
        actual = connection.execute(
            "select invoice_number, document_sha256 from core.invoices join core.receipts using (invoice_id) "
            "where status = 'published' order by all limit 1"
        ).fetchone()
    assert actual is not None
    by_number, by_hash = run_command(home, "explain", actual[0]), run_command(home, "explain", actual[1][:12], "--json")
    for word in (
        "seen by inbox",
        "read as an e-invoice",
        "validated as accepted",
        "published",
        "exported in batch-000001-REHEARSAL",
    ):
        assert word in by_number.stdout
    assert by_hash.json_output["documents"][0]["document"]["document_sha256"] == actual[1]


def test_status_and_doctor_change_nothing(home: Path, first_run: CommandResult) -> None:
    before = _export_ledger_sql(home)
    status, doctor = run_command(home, "status", "--json"), run_command(home, "doctor", "--json")
    assert (status.exit_status, doctor.exit_status) == (0, 0), doctor.stdout
    documents = first_run.json_output["documents"]
    assert status.json_output["documents"] == {"seen": documents["seen"], "by_state": documents["by_state"]}
    assert all(check["ok"] for check in doctor.json_output["checks"])
    assert _export_ledger_sql(home) == before


@pytest.mark.parametrize(
    ("more_settings", "named_setting"),
    [
        ({"INVOICES_SMARTBILLS_COM__PLAN": "gold"}, "smartbills_com.plan"),
        ({"INVOICES_SMARTBILLS_IO__CUSTOMER_MAIL": "a@example.org"}, "smartbills_io.customer_mail"),
        ({"INVOICES_EXTRACTORS": "crystal_ball"}, "extractors"),
        ({"INVOICES_LEDGER_URL": "nonsense"}, "ledger"),
        ({"INVOICES_SMARTBILLS_COM__API_KEY": "kéy"}, "smartbills_com: "),
        ({"INVOICES_SMARTBILLS_COM__API_KEY_FILE": "/nowhere/key"}, "INVOICES_SMARTBILLS_COM__API_KEY_FILE"),
    ],
)
def test_wrong_settings_end_with_status_2_before_anything_is_touched(
    tmp_path: Path, more_settings: dict[str, str], named_setting: str
) -> None:
    result = run_command(tmp_path, "run", "--samples", env=build_environment(tmp_path / "home", **more_settings))
    assert result.exit_status == 2
    assert named_setting in result.stderr
    assert not (tmp_path / "home" / "ledger.sqlite").exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    result = run_command(tmp_path, "run", "--inbox", str(tmp_path / "nowhere"))
    assert result.exit_status == 2
    assert "nowhere" in result.stderr


def test_an_unknown_identity_is_named(home: Path, first_run: CommandResult) -> None:
    result = run_command(home, "explain", "no-such-thing")
    assert result.exit_status == 2
    assert "'no-such-thing'" in result.stderr


def test_an_unreachable_vendor_is_a_problem_and_the_other_documents_are_finished(tmp_path: Path) -> None:
    home, inbox = tmp_path / "home", tmp_path / "inbox"
    inbox.mkdir()
    samples = get_samples_directory() / "inbox"
    einvoice = next(iter(sorted(samples.rglob("*.xml"))))
    for file in [einvoice, *sorted(samples.rglob("*.png"))]:
        shutil.copyfile(file, inbox / file.name)
    unreachable_vendors = {
        "INVOICES_SMARTBILLS_COM__BASE_URL": "http://127.0.0.1:9",
        "INVOICES_SMARTBILLS_COM__API_KEY": "sk_test_canary_extraction",
        "INVOICES_SMARTBILLS_IO__BASE_URL": "http://127.0.0.1:9/v1",
        "INVOICES_SMARTBILLS_IO__API_KEY": "sk_test_canary_receipts",
        "INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL": "books@example.org",
        "INVOICES_VENDOR_MINUTE_SECONDS": "0.5",
    }
    result = run_command(
        home, "run", "--inbox", str(inbox), "--json", env=build_environment(home, **unreachable_vendors)
    )
    assert result.exit_status == 1
    assert result.json_output["documents"]["by_state"]["waiting"] > 0
    assert result.json_output["documents"]["by_state"]["accepted"] == 1
    assert result.json_output["receipts"] == {"published": 0, "waiting": 1, "failed": 0}
    assert result.json_output["exports"]["invoices"] == 1
    assert "smartbills.com" in result.stderr
    assert "smartbills.io" in result.stderr
    _assert_no_secret_in(home, result, "sk_test_canary")


def test_a_second_run_beside_an_active_one_says_so_and_exits_with_0(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from flows.bootstrap import open_app; from invoices.settings import Settings\n"
            "with open_app(Settings.load()) as app, app.acquire_run_lock():\n"
            " print('held', flush=True); sys.stdin.read()",
        ],
        env=build_environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    second = run_command(tmp_path, "collect", "--samples")
    holder.kill()
    holder.communicate()
    assert second.exit_status == 0
    assert f"process {holder.pid}" in second.stderr
    assert run_command(tmp_path, "status").exit_status == 0


def test_a_terminated_run_ends_soon_and_the_next_one_continues(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", "run", "--samples"],
        env=build_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list_stored_documents(tmp_path):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in stdout + stderr
    assert run_command(tmp_path, "run", "--samples", "--json").json_output["documents"]["by_state"]["waiting"] == 0


def _export_ledger_sql(home: Path) -> bytes:
    import sqlite3

    with sqlite3.connect(home / "ledger.sqlite") as connection:
        no_history = ('"source_visits"', '"stage_leases"')  # a log of all visits, and who worked on a stage last
        lines = [line for line in connection.iterdump() if not any(name in line for name in no_history)]
    connection.close()
    return "\n".join(lines).encode()


def _assert_no_secret_in(home: Path, result: CommandResult, canary: str) -> None:
    assert canary not in result.stdout + result.stderr
    for file in home.rglob("*"):
        if file.is_file():
            assert canary.encode() not in file.read_bytes(), file


@pytest.mark.skipif(sys.platform != "linux", reason="needs the file size limit of a process")
def test_a_full_disk_is_reported_in_one_sentence_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "large.xml").write_bytes(b"<Invoice>" + b" " * 3_000_000)
    limited_program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from flows.cli import main; main()"
    )
    completed = subprocess.run(
        [sys.executable, "-c", limited_program, "collect", "--inbox", str(inbox)],
        env=build_environment(tmp_path / "home"), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    assert "File too large" in completed.stderr
    assert list_stored_documents(tmp_path / "home") == []


def test_the_version_is_that_of_the_package_and_every_command_has_help(tmp_path: Path) -> None:
    assert run_command(tmp_path, "--version").stdout == f"invoices {importlib.metadata.version('invoices')}\n"
    listing = run_command(tmp_path, "-h").stdout
    assert listing == run_command(tmp_path, "--help").stdout
    names = [line.split()[0] for line in listing.partition("Commands:\n")[2].splitlines()]
    assert {"run", "status", "explain", "sandbox"} <= set(names)
    for name in names:
        assert f"Usage: invoices {name}" in run_command(tmp_path, name, "-h").stdout
    assert list(tmp_path.iterdir()) == []


def test_judge_is_the_old_name_of_validate(tmp_path: Path) -> None:
    hint = "'invoices judge' is now 'invoices validate'; the old name goes with the next release\n"
    old, new = run_command(tmp_path, "judge", "--json"), run_command(tmp_path, "validate", "--json")
    assert (old.exit_status, new.exit_status) == (0, 0)
    assert (old.stderr, new.stderr) == (hint, "")
    assert old.json_output["documents"] == new.json_output["documents"]
    assert list(old.json_output["seconds_by_stage"]) == list(new.json_output["seconds_by_stage"]) == ["validate"]
    assert "judge" not in run_command(tmp_path, "--help").stdout
