"""The sandbox as a process: a kill loses nothing, it ends with its parent, and it writes the same sample data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import requests

from sandbox import get_samples_directory, journal
from sandbox.__main__ import main
from sandbox.limits import FixedWindowRateLimiter, RateLimitStatus
from sandbox.process import Sandbox, SandboxError, start_sandbox

SCAN_PATH = get_samples_directory() / "inbox" / "scans" / "scan0001.png"
HEADERS = {"Authorization": "Bearer sk_test_a", "x-tenant-id": "1"}
AMOUNT_FIELDS = (
    "totalDiscounts", "totalFees", "subTotal", "totalTip", "totalDuties", "totalShipping", "totalTaxes", "total",
    "totalPayments",
)  # fmt: skip


def upload_scan(sandbox: Sandbox) -> str:
    """Upload the scan and return the job's id."""
    url = sandbox.smartbills_com["base_url"] + "/v1/invoices/extract"
    job: str = requests.post(url, headers=HEADERS, files={"file": SCAN_PATH.read_bytes()}, timeout=10).json()["id"]
    return job


def create_receipt(sandbox: Sandbox) -> int:
    """Create a receipt and return its id."""
    zero_amount = {"amount": 0, "currency": "EUR"}
    body = {**dict.fromkeys(AMOUNT_FIELDS, zero_amount), "type": "OFFICIAL", "taxesIncluded": False}
    url = sandbox.smartbills_io["base_url"] + "/receipts"
    number: int = requests.post(url, headers=HEADERS, json=body, timeout=10).json()["id"]
    return number


def test_a_kill_loses_nothing_and_a_restart_answers_old_ids(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as sandbox:
        job, receipt = upload_scan(sandbox), create_receipt(sandbox)
        sandbox.kill()
    stored_journal = journal.read_journal(tmp_path)
    assert (
        [row["job_id"] for row in stored_journal["charges"]],
        [row["id"] for row in stored_journal["receipts"]],
    ) == ([job], [receipt])
    with start_sandbox(tmp_path) as again:
        answer = requests.get(f"{again.smartbills_com['base_url']}/v1/invoices/{job}", headers=HEADERS, timeout=10)
        assert answer.json()["status"] == "completed"
        assert requests.get(answer.json()["file_url"], timeout=10).content == SCAN_PATH.read_bytes()
        assert answer.headers["X-RateLimit-Remaining"] == "8"
        url = f"{again.smartbills_io['base_url']}/receipts/{receipt}"
        assert requests.get(url, headers=HEADERS, timeout=10).json()["id"] == receipt
        assert upload_scan(again) > job
        served = requests.get(
            f"http://127.0.0.1:{again.port}/_sandbox/journal?api_key=sk_test_a",
            headers={"Authorization": f"Bearer {again.admin_token}"}, timeout=10,
        )  # fmt: skip
        assert served.json()["requests"] == journal.read_journal(tmp_path, "sk_test_a")["requests"]


def test_a_short_minute_ends_soon(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, minute_seconds=0.5) as sandbox:
        url = sandbox.smartbills_com["base_url"] + "/v1/invoices/inv_none"
        while requests.get(url, headers=HEADERS, timeout=10).status_code != 429:
            pass
        time.sleep(0.6)
        assert requests.get(url, headers=HEADERS, timeout=10).status_code == 404


def test_an_hour_is_sixty_minutes_long_and_full_after_a_hundred_calls(tmp_path: Path) -> None:
    with closing(journal.Journal(tmp_path)) as stored_journal:
        windows = FixedWindowRateLimiter(stored_journal, minute_seconds=1.0)
        decisions = [windows.record_call("sk_test_a", "free", 1_000.0 + call * 0.5) for call in range(101)]
        assert all(standing.is_allowed for standing in decisions[:100])
        assert decisions[100] == RateLimitStatus(is_allowed=False, limit=100, remaining=0, resets_at=1_060.0)
        assert windows.record_call("sk_test_a", "free", 1_058.9).is_allowed is False
        assert windows.record_call("sk_test_a", "free", 1_060.0) == RateLimitStatus(True, 10, 9, 1_061.0)


def test_it_stops_when_its_parent_process_ends(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from sandbox.process import start_sandbox\n"
        "with start_sandbox(pathlib.Path(sys.argv[1])) as sandbox: print(sandbox.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait(10)
    assert child.wait(10) is None or not child.is_running()


def test_two_servers_do_not_share_a_state_folder(tmp_path: Path) -> None:
    with start_sandbox(tmp_path), pytest.raises(SandboxError, match="did not start"), start_sandbox(tmp_path):
        pass


def test_a_wrong_setting_stops_the_start_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--state", str(tmp_path), "--setting", "smartbills_com.plan=huge"]) == 2
    assert "free or pro or enterprise" in capsys.readouterr().err


def test_a_folder_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        journal.read_journal(tmp_path)


def test_the_sample_data_is_the_same_on_every_run(tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert main(["make-samples", str(tmp_path / name)]) == 0
    first, second = _read_files(tmp_path / "first"), _read_files(tmp_path / "second")
    assert first == second
    committed = _read_files(get_samples_directory())
    assert set(first) == set(committed) - {".gitattributes"}
    if first["made_with.json"] != committed["made_with.json"]:
        made_with = json.loads(committed["made_with.json"])
        pytest.skip(f"the committed bytes were made with {made_with}, other versions may make others")
    assert [name for name in first if first[name] != committed[name]] == []


def _read_files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
