"""Workers: a living one is not detected as dead, and a killed one is, even if its child processes still run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from invoices.app import App
from invoices.ledger.claims import list_claim_holders
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.workers import Worker
from invoices.model import compute_sighting_id
from invoices.settings import Settings

WORK_SCRIPT = """
import subprocess, sys
from pathlib import Path
from invoices.ledger.workers import Worker

worker = Worker(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL)
print(worker.name, child.pid, flush=True)
sys.stdin.read()
"""

CLAIM_SCRIPT = """
import sys
from pathlib import Path
from invoices.app import App
from invoices.settings import Settings

with App(Settings(home=Path(sys.argv[1])), prepare_vendor_settings=lambda exit_stack: None) as app:
    print(len(app.claim_documents("extract_local", 10, 0)), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """This process as a worker."""
    new_worker = Worker(tmp_path / "workers")
    yield new_worker
    new_worker.close()


def start_worker(program: str, directory: Path) -> tuple[subprocess.Popen[str], list[str]]:
    """Return a process that works in a directory, and the words of its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()


def kill_process(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def test_a_killed_worker_is_detected_as_dead_and_a_living_one_is_not(tmp_path: Path, worker: Worker) -> None:
    process, (name, child) = start_worker(WORK_SCRIPT, tmp_path / "workers")
    assert worker.filter_dead_workers([name]) == []
    kill_process(process)
    assert worker.filter_dead_workers([name, worker.name]) == [name]
    os.kill(int(child), signal.SIGKILL)
    worker.delete_lock_files([name])
    assert worker.filter_dead_workers([name]) == [name]  # by its process
    assert len(list((tmp_path / "workers").iterdir())) == 1


def test_a_worker_of_another_home_is_dead_when_its_process_is(tmp_path: Path, worker: Worker) -> None:
    process, (name, child) = start_worker(WORK_SCRIPT, tmp_path / "another home")
    assert worker.filter_dead_workers([name]) == []
    process.send_signal(signal.SIGSTOP)
    assert worker.filter_dead_workers([name]) == []
    kill_process(process)
    os.kill(int(child), signal.SIGKILL)
    assert worker.filter_dead_workers([name]) == [name]


def test_another_process_with_the_same_id_is_not_the_worker(worker: Worker) -> None:
    host, _, start_time, machine, token = worker.name.rsplit("-", 4)
    earlier = "-".join([host, str(os.getppid()), str(int(start_time) + 1), machine, token])
    elsewhere = "-".join([host, "999999999", start_time, "00000000", token])
    assert worker.filter_dead_workers([earlier, elsewhere]) == [earlier]


def test_a_closed_worker_of_a_living_process_is_dead(tmp_path: Path, worker: Worker) -> None:
    with_claims, without_claims = Worker(tmp_path / "workers"), Worker(tmp_path / "another home")
    names = [with_claims.name, without_claims.name]
    assert worker.filter_dead_workers(names) == []
    with_claims.close(has_claims=True)
    without_claims.close()
    assert worker.filter_dead_workers(names) == names


def test_a_closed_worker_leaves_no_file(tmp_path: Path) -> None:
    Worker(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_a_lock_file_here_is_not_detected_as_dead(worker: Worker) -> None:
    assert worker.filter_dead_workers(["elsewhere-1-ab", "../../etc/passwd", ""]) == []


def test_two_workers_of_one_process_do_not_detect_each_other_as_dead(tmp_path: Path, worker: Worker) -> None:
    other = Worker(tmp_path / "workers")
    assert worker.filter_dead_workers([other.name]) == other.filter_dead_workers([worker.name]) == []
    assert other.name != worker.name
    other.close()


def test_an_impossible_directory_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Worker(tmp_path / "file" / "workers")


def test_the_claims_of_a_killed_worker_are_taken_over_at_once(app_settings: Settings, app: App) -> None:
    for number in range(3):
        with app.ledger.begin_transaction() as tx:
            path, document = f"/in/{number}", f"{number}" * 64
            record_sighting(
                tx, Sighting(compute_sighting_id("inbox", path, document), document, "t", 1, "inbox", "folder", path)
            )
    process, (claimed,) = start_worker(CLAIM_SCRIPT, app_settings.home)
    assert claimed == "3"
    assert app.claim_documents("extract_local", 10, 0) == []
    kill_process(process)
    assert len(app.claim_documents("extract_local", 10, 0)) == 3
    with app.ledger.open_snapshot() as connection:
        assert list_claim_holders(connection) == [app.worker.name]
    assert len(list((app_settings.home / "workers").iterdir())) == 1


def test_the_lock_file_of_a_worker_killed_without_a_claim_is_deleted_at_the_next_start(
    app: App, app_settings: Settings
) -> None:
    killed, (killed_name, child) = start_worker(WORK_SCRIPT, app_settings.home / "workers")
    kill_process(killed)
    os.kill(int(child), signal.SIGKILL)
    living, (living_name, child) = start_worker(WORK_SCRIPT, app_settings.home / "workers")
    lock_files = {path.name for path in (app_settings.home / "workers").iterdir()}
    assert lock_files == {f"{name}.lock" for name in (killed_name, living_name)}
    next_name = app.worker.name
    lock_files = {path.name for path in (app_settings.home / "workers").iterdir()}
    assert lock_files == {f"{name}.lock" for name in (next_name, living_name)}
    kill_process(living)
    os.kill(int(child), signal.SIGKILL)
