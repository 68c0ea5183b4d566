"""The ledger and several processes: no row is lost, no number is assigned twice, a killed writer leaves no lock."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from invoices.ledger import Ledger
from invoices.ledger.export_batches import (
    create_export_batch,
    list_batch_invoice_ids,
    list_export_batches,
    list_unexported_invoice_ids,
)
from invoices.ledger.ledger import set_note
from invoices.ledger.tables import documents, exported_invoices, sightings

WRITE_SIGHTINGS_SCRIPT = """
import hashlib, sys
from invoices.ledger import Ledger
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.model import compute_sighting_id

url, worker_name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
ledger = Ledger(url)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    for owner in (worker_name, "shared"):
        sha256 = hashlib.sha256(f"{owner}-{number}".encode()).hexdigest()
        path = f"/{worker_name}/{number}"
        with ledger.begin_transaction() as tx:
            record_sighting(tx, Sighting(
                compute_sighting_id("inbox", path, sha256), sha256, "application/pdf", 1, "inbox", "folder", path,
            ))
    print(number, flush=True)
ledger.close()
"""

ASSIGN_BATCH_SCRIPT = """
import sys
from invoices.ledger import Ledger
from invoices.ledger.export_batches import create_export_batch, list_unexported_invoice_ids

ledger = Ledger(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
with ledger.open_snapshot() as connection:
    invoice_ids = list_unexported_invoice_ids(connection, 1000)
with ledger.begin_transaction() as tx:
    print(create_export_batch(tx, invoice_ids).batch_id, flush=True)
ledger.close()
"""


OPEN_LEDGER_SCRIPT = """
import sys
print("ready", flush=True)
sys.stdin.readline()
from invoices.ledger import Ledger
ledger = Ledger(sys.argv[1])
print(ledger.get_or_record_note("first", sys.argv[2]))
ledger.close()
"""


def start_process(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Return a process that is ready and waits for a line on its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def run_all_at_once(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Start the work of all processes at the same time; return the output of each."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), results
    return [stdout for stdout, _ in results]


@pytest.mark.parametrize("writers", [2, 4])
def test_concurrent_writers_lose_nothing_and_get_distinct_numbers(
    ledger_url: str, ledger: Ledger, writers: int
) -> None:
    count = 25
    run_all_at_once(
        [start_process(WRITE_SIGHTINGS_SCRIPT, ledger_url, f"w{number}", count) for number in range(writers)]
    )
    with ledger.open_snapshot() as connection:
        sequences = sorted(connection.scalars(select(documents.c.sequence)))
        sighting_count = connection.scalar(select(func.count()).select_from(sightings))
        revisions = list(connection.scalars(select(sightings.c.revision)))
    assert sequences == list(range(1, count * (writers + 1) + 1))
    assert sighting_count == 2 * count * writers
    assert len(set(revisions)) == sighting_count


def test_a_killed_writer_leaves_its_commits_and_no_lock(ledger_url: str, ledger: Ledger) -> None:
    process = start_process(WRITE_SIGHTINGS_SCRIPT, ledger_url, "w", 100_000)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    acknowledged = [process.stdout.readline() for _ in range(10)]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    acknowledged_hashes = {hashlib.sha256(f"w-{int(line)}".encode()).hexdigest() for line in acknowledged}
    with ledger.begin_transaction() as tx:  # no lock is left
        stored = set(tx.connection.scalars(select(documents.c.document_sha256)))
        sequences = sorted(tx.connection.scalars(select(documents.c.sequence)))
    assert acknowledged_hashes <= stored
    assert sequences == list(range(1, len(stored) + 1))


def test_an_invoice_is_in_one_batch_however_many_processes_assign_it(ledger_url: str, ledger: Ledger) -> None:
    invoices = [f"invoice-{number:03}" for number in range(200)]
    with ledger.begin_transaction() as tx:
        for invoice in invoices:
            tx.connection.execute(exported_invoices.insert().values(invoice_id=invoice, revision=tx.revision))
    printed = run_all_at_once([start_process(ASSIGN_BATCH_SCRIPT, ledger_url) for _ in range(3)])
    assert len(set(printed)) == 3
    with ledger.open_snapshot() as connection:
        assert list_unexported_invoice_ids(connection, 1000) == []
        held = [
            invoice
            for batch in list_export_batches(connection)
            for invoice in list_batch_invoice_ids(connection, batch.batch_id)
        ]
    assert sorted(held) == invoices


def test_a_reader_sees_one_state_while_others_write(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url)
    with ledger.open_snapshot() as connection:
        assert list_export_batches(connection) == []
        with other.begin_transaction() as tx:
            create_export_batch(tx, [])
        assert list_export_batches(connection) == []
    with ledger.open_snapshot() as connection:
        assert len(list_export_batches(connection)) == 1
    other.close()


def test_only_its_owner_can_open_the_ledgers_directory(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/new/ledger.sqlite")
    ledger.close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("tries", range(2))
def test_processes_that_open_at_the_same_time_create_one_ledger(ledger_url: str, tries: int) -> None:
    outputs = run_all_at_once(
        [start_process(OPEN_LEDGER_SCRIPT, ledger_url, f"process-{tries}-{number}") for number in range(4)]
    )
    assert len(set(outputs)) == 1
    ledger = Ledger(ledger_url)
    assert f"{ledger.find_note('first')}\n" == outputs[0]
    ledger.close()


def test_no_row_up_to_a_read_revision_is_committed_later(ledger_url: str, ledger: Ledger) -> None:
    writers = [start_process(WRITE_SIGHTINGS_SCRIPT, ledger_url, f"w{number}", 15) for number in range(3)]
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    rows_by_revision: dict[int, set[str]] = {}
    while any(process.poll() is None for process in writers):
        with ledger.open_snapshot() as connection:
            top = connection.scalar(select(func.max(sightings.c.revision))) or 0
            rows_by_revision[top] = set(
                connection.scalars(select(sightings.c.sighting_id).where(sightings.c.revision <= top))
            )
    results = [process.communicate(timeout=60) for process in writers]
    assert [process.returncode for process in writers] == [0, 0, 0], results
    with ledger.open_snapshot() as connection:
        for top, row_ids in rows_by_revision.items():
            query = select(sightings.c.sighting_id).where(sightings.c.revision <= top)
            assert set(connection.scalars(query)) == row_ids


def test_many_threads_that_read_while_they_write_do_not_deadlock(ledger: Ledger) -> None:
    def write_and_read(_number: int) -> int:
        with ledger.begin_transaction() as tx, ledger.open_snapshot() as connection:
            list_export_batches(connection)
            return tx.revision

    with ThreadPoolExecutor(32) as threads:
        revisions = list(threads.map(write_and_read, range(64)))
    assert sorted(revisions) == list(range(1, 65))


def test_two_processes_may_record_the_same_new_note_at_once(ledger: Ledger, ledger_url: str) -> None:
    other_ledger = Ledger(ledger_url)

    def record_note(writer: Ledger) -> None:
        with writer.begin_log_transaction() as tx:
            set_note(tx, "recovery", "second")

    with ThreadPoolExecutor(1) as threads:
        with ledger.begin_log_transaction() as tx:
            set_note(tx, "recovery", "first")
            waiting = threads.submit(record_note, other_ledger)
            with pytest.raises(TimeoutError):  # it waits for this transaction
                waiting.result(timeout=0.5)
        waiting.result(timeout=60)
    assert ledger.find_note("recovery") == "second"
    other_ledger.close()
