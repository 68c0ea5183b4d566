"""The shared rate budget under several real processes and threads: never exceeded, and used up together."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from postgres_server import PostgresServer
from sqlalchemy import URL, make_url

from invoices.errors import ConfigurationError
from invoices.extraction.patience.buckets import FILE_NAME, Buckets
from invoices.extraction.patience.budget import Budget, Window

SHORT = Window(12, 1)
LONG = Window(20, 600)

TAKE = """
import os, sys, time
from pathlib import Path
from sqlalchemy import make_url
from invoices.extraction.patience.buckets import Buckets
from invoices.extraction.patience.budget import Window

url, place, calls, seconds, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
os.environ["PGTZ"] = sys.argv[6]
buckets = Buckets(make_url(url), Path(place), 1.0)
budget = buckets.budget("account", (Window(calls, seconds),))
print("ready", flush=True)
sys.stdin.readline()
taken = tries = 0
while taken < wanted:
    pause = budget.take()
    tries += 1
    if pause == 0:
        taken += 1
    elif pause > seconds / 2 > 10:
        break
    else:
        time.sleep(pause)
print(taken, tries)
buckets.close()
"""


@pytest.fixture
def buckets(ledger_url: str, tmp_path: Path) -> Iterator[Buckets]:
    """Buckets in a file, and in PostgreSQL."""
    made = Buckets(make_url(ledger_url), tmp_path, 1.0)
    yield made
    made.close()


def take_in_processes(url: str, place: Path, count: int, window: Window, wanted: int) -> list[tuple[int, int]]:
    """Let processes take at the same time; return the calls that each took, and how often it asked."""
    zones = ("Asia/Kathmandu", "UTC", "America/St_Johns")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE, url, str(place), *map(str, (window.calls, window.seconds, wanted, zones[n]))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for n in range(count)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120)[0].split() for process in processes]
    return [(int(taken), int(tries)) for taken, tries in told]


def counted(url: str, place: Path) -> list[int]:
    """Return when each call was counted, in milliseconds, in order."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(place / FILE_NAME)
        found = [int(row[0]) for row in file.execute("SELECT item_timestamp FROM account")]
        file.close()
    else:
        with psycopg.connect(url) as connection:
            found = [
                int(row[0])
                for row in connection.execute(
                    "SELECT extract(epoch FROM item_timestamp) * 1000 FROM ratelimit___account"
                )
            ]
    return sorted(found)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_take_what_a_window_has_and_no_more(ledger_url: str, tmp_path: Path, processes: int) -> None:
    taken = take_in_processes(ledger_url, tmp_path, processes, LONG, 100)
    assert sum(calls for calls, _ in taken) == LONG.calls
    assert len(counted(ledger_url, tmp_path)) == LONG.calls


@pytest.mark.parametrize("processes", [2, 3])
def test_no_window_ever_holds_more_whoever_takes(ledger_url: str, tmp_path: Path, processes: int) -> None:
    taken = take_in_processes(ledger_url, tmp_path, processes, SHORT, 36 // processes)
    assert sum(calls for calls, _ in taken) == 36
    calls = counted(ledger_url, tmp_path)
    assert len(calls) == 36
    apart = [later - earlier for earlier, later in zip(calls, calls[SHORT.calls :], strict=False)]
    assert min(apart) > 1000 * SHORT.seconds


def test_a_bucket_in_other_hands_is_not_asked_in_a_hot_loop(ledger_url: str, tmp_path: Path) -> None:
    taken = take_in_processes(ledger_url, tmp_path, 3, Window(90, 600), 30)
    assert sum(calls for calls, _ in taken) == 90
    assert sum(tries for _, tries in taken) < 90 * 10


def test_threads_together_take_what_a_window_has_and_no_more(buckets: Buckets) -> None:
    budget = buckets.budget("account", (LONG,))

    def take(_number: int) -> int:
        taken = 0
        while (pause := budget.take()) < 1:
            taken += pause == 0
        return taken

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(8))) == LONG.calls


def left(budget: Budget) -> int:
    """Take all calls that are left; return how many they were."""
    taken = 0
    while (pause := budget.take()) < 1:
        taken += pause == 0
    return taken


def test_two_accounts_do_not_disturb_each_other(buckets: Buckets) -> None:
    one, other = buckets.budget("account", (LONG,)), buckets.budget("other_account", (Window(7, 600),))
    assert left(one) == 20
    assert left(other) == 7
    assert other.take() > one.take() - 2 > 500


def test_what_was_taken_is_counted_after_opening_it_again(ledger_url: str, tmp_path: Path) -> None:
    for expected in (20, 0):
        buckets = Buckets(make_url(ledger_url), tmp_path, 1.0)
        assert left(buckets.budget("account", (LONG,))) == expected
        buckets.close()


def test_calls_that_seem_to_be_still_to_come_hold_up_one_window_only(
    buckets: Buckets, ledger_url: str, tmp_path: Path
) -> None:
    budget = buckets.budget("account", (Window(3, 1), Window(10, 600)))
    assert left(budget) == 3
    if ledger_url.startswith("sqlite"):
        with sqlite3.connect(tmp_path / FILE_NAME) as file:
            file.execute("UPDATE account SET item_timestamp = item_timestamp + 3600000")
        file.close()
    else:
        with psycopg.connect(ledger_url) as connection:
            connection.execute("UPDATE ratelimit___account SET item_timestamp = item_timestamp + interval '1 hour'")
    assert budget.take() < 2
    assert budget.take() < 2


@pytest.mark.parametrize("name", ["", "x'; drop table y; --", "a b", "ü/.."])
def test_a_name_that_is_none_is_a_mistake_of_ours(buckets: Buckets, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        buckets.budget(name, (LONG,))


def in_file(place: Path) -> Buckets:
    return Buckets(make_url(f"sqlite:///{place}/ledger.sqlite"), place, 1.0)


def test_a_file_that_was_removed_is_made_anew_by_the_next(tmp_path: Path) -> None:
    buckets = in_file(tmp_path)
    budget = buckets.budget("account", (LONG,))
    assert budget.take() == 0
    for file in tmp_path.glob(f"{FILE_NAME}*"):
        file.unlink()
    assert budget.take() == 0
    buckets.close()
    again = in_file(tmp_path)
    assert left(again.budget("account", (LONG,))) == LONG.calls
    again.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 100)
    buckets = in_file(tmp_path)
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        buckets.budget("account", (LONG,))
    buckets.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    buckets = in_file(tmp_path / "nothing")
    (tmp_path / "nothing").touch()
    with pytest.raises(ConfigurationError, match="cannot be counted"):
        buckets.budget("account", (LONG,))
    buckets.close()


def test_a_server_that_is_gone_is_a_sentence_without_the_password(tmp_path: Path) -> None:
    url = URL.create("postgresql+psycopg", "house", "sesame", "127.0.0.1", 9, "ledger")
    buckets = Buckets(url, tmp_path, 1.0, patience=1.0)
    with pytest.raises(ConfigurationError, match="cannot be counted") as caught:
        buckets.budget("account", (LONG,))
    assert "sesame" not in f"{caught.value} {caught.value.__cause__!r}"
    buckets.close()


def test_a_server_that_ends_our_connections_is_connected_to_again(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database()
    buckets = Buckets(make_url(url), tmp_path, 1.0)
    budget = buckets.budget("account", (LONG,))
    assert budget.take() == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    assert left(budget) == LONG.calls - 1
    buckets.close()
