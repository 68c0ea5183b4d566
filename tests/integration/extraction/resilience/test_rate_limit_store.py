"""The shared rate limit with several processes and threads: never exceeded, and used up together."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, make_url

from invoices.errors import ConfigurationError
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.extraction.resilience.rate_limit_store import DATABASE_FILE_NAME, RateLimitStore
from tests.servers.postgres_server import PostgresServer

SHORT_WINDOW = RateWindow(12, 1)
LONG_WINDOW = RateWindow(20, 600)

TAKE_CALLS_SCRIPT = """
import os, sys, time
from pathlib import Path
from sqlalchemy import make_url
from invoices.extraction.resilience.rate_limit import RateWindow
from invoices.extraction.resilience.rate_limit_store import RateLimitStore

url, directory, time_zone = sys.argv[1], sys.argv[2], sys.argv[6]
calls, seconds, max_calls = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
os.environ["PGTZ"] = time_zone
store = RateLimitStore(make_url(url), Path(directory), 1.0)
rate_limiter = store.create_rate_limiter("account", (RateWindow(calls, seconds),))
print("ready", flush=True)
sys.stdin.readline()
taken = tries = 0
while taken < max_calls:
    pause = rate_limiter.acquire_call_or_wait_seconds()
    tries += 1
    if pause == 0:
        taken += 1
    elif pause > seconds / 2 > 10:
        break
    else:
        time.sleep(pause)
print(taken, tries)
store.close()
"""


@pytest.fixture
def rate_limit_store(ledger_url: str, tmp_path: Path) -> Iterator[RateLimitStore]:
    """A store with its buckets in a file, or in PostgreSQL."""
    store = RateLimitStore(make_url(ledger_url), tmp_path, 1.0)
    yield store
    store.close()


def take_calls_in_processes(
    url: str, directory: Path, count: int, window: RateWindow, calls_per_process: int
) -> list[tuple[int, int]]:
    """Let processes take calls at the same time; return the calls and the attempts of each."""
    time_zones = ("Asia/Kathmandu", "UTC", "America/St_Johns")
    settings = [str(window.calls), str(window.seconds), str(calls_per_process)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE_CALLS_SCRIPT, url, str(directory), *settings, time_zone],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for time_zone in time_zones[:count]
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    return [(int(taken), int(tries)) for taken, tries in outputs]


def list_counted_timestamps(url: str, directory: Path) -> list[int]:
    """Return the times of the counted calls, in milliseconds, in order."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(directory / DATABASE_FILE_NAME)
        timestamps = [int(row[0]) for row in file.execute("SELECT item_timestamp FROM account")]
        file.close()
    else:
        with psycopg.connect(url) as connection:
            timestamps = [
                int(row[0])
                for row in connection.execute(
                    "SELECT extract(epoch FROM item_timestamp) * 1000 FROM ratelimit___account"
                )
            ]
    return sorted(timestamps)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_take_exactly_the_calls_of_a_window(ledger_url: str, tmp_path: Path, processes: int) -> None:
    calls_taken = take_calls_in_processes(ledger_url, tmp_path, processes, LONG_WINDOW, 100)
    assert sum(calls for calls, _ in calls_taken) == LONG_WINDOW.calls
    assert len(list_counted_timestamps(ledger_url, tmp_path)) == LONG_WINDOW.calls


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_never_exceed_a_window(ledger_url: str, tmp_path: Path, processes: int) -> None:
    calls_taken = take_calls_in_processes(ledger_url, tmp_path, processes, SHORT_WINDOW, 36 // processes)
    assert sum(calls for calls, _ in calls_taken) == 36
    calls = list_counted_timestamps(ledger_url, tmp_path)
    assert len(calls) == 36
    distances = [later - earlier for earlier, later in zip(calls, calls[SHORT_WINDOW.calls :], strict=False)]
    assert min(distances) > 1000 * SHORT_WINDOW.seconds


def test_a_locked_bucket_is_not_retried_in_a_hot_loop(ledger_url: str, tmp_path: Path) -> None:
    calls_taken = take_calls_in_processes(ledger_url, tmp_path, 3, RateWindow(90, 600), 30)
    assert sum(calls for calls, _ in calls_taken) == 90
    assert sum(tries for _, tries in calls_taken) < 90 * 10


def test_threads_together_take_exactly_the_calls_of_a_window(rate_limit_store: RateLimitStore) -> None:
    rate_limiter = rate_limit_store.create_rate_limiter("account", (LONG_WINDOW,))

    def take_all_calls(_number: int) -> int:
        taken = 0
        while (pause := rate_limiter.acquire_call_or_wait_seconds()) < 1:
            taken += pause == 0
        return taken

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take_all_calls, range(8))) == LONG_WINDOW.calls


def take_remaining_calls(rate_limiter: RateLimiter) -> int:
    """Take all remaining calls; return their number."""
    taken = 0
    while (pause := rate_limiter.acquire_call_or_wait_seconds()) < 1:
        taken += pause == 0
    return taken


def test_accounts_have_separate_limits(rate_limit_store: RateLimitStore) -> None:
    first_limiter = rate_limit_store.create_rate_limiter("account", (LONG_WINDOW,))
    second_limiter = rate_limit_store.create_rate_limiter("other_account", (RateWindow(7, 600),))
    assert take_remaining_calls(first_limiter) == 20
    assert take_remaining_calls(second_limiter) == 7
    assert second_limiter.acquire_call_or_wait_seconds() > first_limiter.acquire_call_or_wait_seconds() - 2 > 500


def test_taken_calls_still_count_after_reopening(ledger_url: str, tmp_path: Path) -> None:
    for expected in (20, 0):
        store = RateLimitStore(make_url(ledger_url), tmp_path, 1.0)
        assert take_remaining_calls(store.create_rate_limiter("account", (LONG_WINDOW,))) == expected
        store.close()


def test_calls_with_future_timestamps_delay_one_window_only(
    rate_limit_store: RateLimitStore, ledger_url: str, tmp_path: Path
) -> None:
    rate_limiter = rate_limit_store.create_rate_limiter("account", (RateWindow(3, 2), RateWindow(10, 600)))
    assert take_remaining_calls(rate_limiter) == 3
    if ledger_url.startswith("sqlite"):
        with sqlite3.connect(tmp_path / DATABASE_FILE_NAME) as file:
            file.execute("UPDATE account SET item_timestamp = item_timestamp + 3600000")
        file.close()
    else:
        with psycopg.connect(ledger_url) as connection:
            connection.execute("UPDATE ratelimit___account SET item_timestamp = item_timestamp + interval '1 hour'")
    assert rate_limiter.acquire_call_or_wait_seconds() < 2.1
    assert rate_limiter.acquire_call_or_wait_seconds() < 2.1


@pytest.mark.parametrize("name", ["", "x'; drop table y; --", "a b", "ü/.."])
def test_an_invalid_account_name_raises_a_value_error(rate_limit_store: RateLimitStore, name: str) -> None:
    with pytest.raises(ValueError, match="bucket names have"):
        rate_limit_store.create_rate_limiter(name, (LONG_WINDOW,))


def open_file_store(directory: Path) -> RateLimitStore:
    return RateLimitStore(make_url(f"sqlite:///{directory}/ledger.sqlite"), directory, 1.0)


def test_a_removed_file_is_created_again_by_the_next_store(tmp_path: Path) -> None:
    store = open_file_store(tmp_path)
    rate_limiter = store.create_rate_limiter("account", (LONG_WINDOW,))
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    for file in tmp_path.glob(f"{DATABASE_FILE_NAME}*"):
        file.unlink()
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    store.close()
    reopened_store = open_file_store(tmp_path)
    assert take_remaining_calls(reopened_store.create_rate_limiter("account", (LONG_WINDOW,))) == LONG_WINDOW.calls
    reopened_store.close()


def test_the_error_about_a_file_that_is_no_database_names_it(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE_NAME).write_bytes(b"this is no database" * 100)
    store = open_file_store(tmp_path)
    with pytest.raises(ConfigurationError, match=DATABASE_FILE_NAME):
        store.create_rate_limiter("account", (LONG_WINDOW,))
    store.close()


def test_a_directory_that_cannot_be_written_raises_a_configuration_error(tmp_path: Path) -> None:
    store = open_file_store(tmp_path / "no_directory")
    (tmp_path / "no_directory").touch()
    with pytest.raises(ConfigurationError, match="cannot be counted"):
        store.create_rate_limiter("account", (LONG_WINDOW,))
    store.close()


def test_the_error_about_an_unreachable_server_has_no_password(tmp_path: Path) -> None:
    url = URL.create("postgresql+psycopg", "user", "sesame", "127.0.0.1", 9, "ledger")
    store = RateLimitStore(url, tmp_path, 1.0, timeout_seconds=1.0)
    with pytest.raises(ConfigurationError, match="cannot be counted") as caught:
        store.create_rate_limiter("account", (LONG_WINDOW,))
    assert "sesame" not in f"{caught.value} {caught.value.__cause__!r}"
    store.close()


def test_closed_server_connections_are_opened_again(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_database()
    store = RateLimitStore(make_url(url), tmp_path, 1.0)
    rate_limiter = store.create_rate_limiter("account", (LONG_WINDOW,))
    assert rate_limiter.acquire_call_or_wait_seconds() == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    assert take_remaining_calls(rate_limiter) == LONG_WINDOW.calls - 1
    store.close()
