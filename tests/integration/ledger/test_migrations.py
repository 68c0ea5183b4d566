"""Migrations: a ledger of each earlier version opens with everything in it, even if a process is killed meanwhile."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select, text

from invoices.errors import ConfigurationError
from invoices.ledger import Ledger
from invoices.ledger.claims import list_claim_holders
from invoices.ledger.documents import list_pending_documents
from invoices.ledger.extractions import (
    ExtractionTerms,
    find_job,
    list_document_jobs_of_vendor,
    record_intent,
    update_extraction,
)
from invoices.ledger.ledger import get_counter_value
from invoices.ledger.mails import count_uncollected_mails, list_mail_outcomes_by_uid, list_uids_with_pending_action
from invoices.ledger.migrations import SCHEMA_VERSION
from invoices.ledger.spending import PageCaps, compute_remaining_pages
from invoices.ledger.tables import documents, metadata
from tests.integration.ledger.old_ledgers import (
    create_database_engine,
    create_ledger_of_version,
    list_schema_differences,
    read_alembic_version,
    read_all_rows,
    read_version_and_tables,
    restore_sample_ledger,
    translate_rows,
)

ALL_TABLES = set(metadata.tables)
VERSION_OF_TODAY = (SCHEMA_VERSION, ALL_TABLES)

OPEN_AND_DIE_SCRIPT = """
import os, sys
from sqlalchemy import Engine, event
from invoices.ledger import Ledger

statement_count = 0

@event.listens_for(Engine, "before_cursor_execute")
def count_statement(connection, cursor, statement, parameters, context, many):
    global statement_count
    statement_count += statement.lstrip().startswith(("ALTER", "CREATE", "UPDATE"))
    if statement_count > int(sys.argv[2]):
        os.kill(os.getpid(), 9)

Ledger(sys.argv[1]).close()
"""
OPEN_SCRIPT = "import sys; from invoices.ledger import Ledger; Ledger(sys.argv[1]).close()"


@pytest.fixture(params=["1", "2", "3", "4", "5", "6"])
def old_version(request: pytest.FixtureRequest) -> str:
    """Each version before today's."""
    return str(request.param)


@pytest.fixture
def old_ledger_url(ledger_url: str, old_version: str) -> str:
    """Where a ledger of an old version is, with some documents in it."""
    create_ledger_of_version(ledger_url, old_version)
    return ledger_url


@pytest.fixture
def version_1_url(ledger_url: str) -> str:
    """Where a ledger of version 1 is, with two documents in it."""
    create_ledger_of_version(ledger_url, "1")
    return ledger_url


@pytest.fixture
def sample_ledger_path(tmp_path: Path) -> Path:
    """The SQLite file of a rehearsal's sample run by the last program of schema version 3."""
    path = tmp_path / "ledger.sqlite"
    restore_sample_ledger(path)
    return path


def test_an_old_ledger_names_its_version_in_its_notes_alone(old_ledger_url: str, old_version: str) -> None:
    assert read_version_and_tables(old_ledger_url)[0] == old_version
    assert read_alembic_version(old_ledger_url) == (old_version if old_version >= "4" else None)


def test_everything_is_there_after_an_upgrade_from_each_version(old_ledger_url: str, old_version: str) -> None:
    ledger = Ledger(old_ledger_url)
    with ledger.open_snapshot() as connection:
        pending_documents = list_pending_documents(connection, "extract_remote", 10)
        assert [document.document_sha256 for document in pending_documents] == ["a"]
        assert connection.scalar(select(func.count()).select_from(documents)) == (5 if old_version >= "3" else 2)
        (job,) = list_document_jobs_of_vendor(connection, "b", "smartbills_com")
        assert (job.status, job.pages_charged, job.possible_double_charge) == ("answered", 1, True)
        assert (job.batch_id, job.run_id, job.pages_reserved, job.counted_on) == (None, None, 1, None)
        assert get_counter_value(connection, "revision") == 7
        assert list_claim_holders(connection) == ([] if old_version == "1" else ["worker-1"])
    assert ledger.find_note("mode") == "real"
    assert read_version_and_tables(old_ledger_url) == VERSION_OF_TODAY
    ledger.close()


def test_an_upgraded_ledger_has_the_schema_of_a_new_one(old_ledger_url: str) -> None:
    Ledger(old_ledger_url).close()
    assert list_schema_differences(old_ledger_url) == []
    engine = create_database_engine(old_ledger_url)
    with engine.connect() as connection:
        inspector = inspect(connection)
        columns = {name: {column["name"] for column in inspector.get_columns(name)} for name in metadata.tables}
        indexes = {
            name: {index["name"] for index in inspector.get_indexes(name) if "duplicates_constraint" not in index}
            for name in metadata.tables
        }
    engine.dispose()
    assert columns == {name: set(table.c.keys()) for name, table in metadata.tables.items()}
    assert indexes == {name: {index.name for index in table.indexes} for name, table in metadata.tables.items()}


def test_charged_and_open_pages_of_version_1_count_under_the_caps(version_1_url: str) -> None:
    ledger = Ledger(version_1_url)
    with ledger.begin_transaction() as tx:
        update_extraction(tx, "xa", "answered", payload="{}", answered_at=tx.timestamp)
        record_intent(tx, ExtractionTerms("smartbills_com"), "xc", "c", pages=1, run_id="A")
        job = find_job(tx.connection, "xa")
        assert job is not None
        remaining_pages = [
            compute_remaining_pages(tx.connection, "smartbills_com", caps, job.requested_at, None)
            for caps in (PageCaps(day=10), PageCaps(month=10))
        ]
    assert remaining_pages[0] == 10 - 2 - 2  # one of two pages, and one that may have been charged twice
    assert remaining_pages[1] in (6, 10 - 2 - 2 - 1)  # less the page intended today, if that is in the same month
    ledger.close()


def test_an_upgrade_from_version_3_renames_columns_and_values_and_keeps_every_row(ledger_url: str) -> None:
    create_ledger_of_version(ledger_url, "3")
    expected_rows = translate_rows(read_all_rows(ledger_url))
    ledger = Ledger(ledger_url)
    assert read_all_rows(ledger_url) == expected_rows
    with ledger.open_snapshot() as connection:
        assert list_uids_with_pending_action(connection, "ap", "INBOX", 7) == [1]
        assert count_uncollected_mails(connection) == {"too_large": 1, "waiting": 1}
        assert list_mail_outcomes_by_uid(connection, "ap", "INBOX", 7) == {
            1: "collected", 2: "no_documents", 3: "skipped", 4: "quarantined", 5: "too_large", 6: "waiting",
        }  # fmt: skip
    ledger.close()


def test_opening_it_again_changes_nothing(old_ledger_url: str) -> None:
    Ledger(old_ledger_url).close()
    before = read_version_and_tables(old_ledger_url), read_all_rows(old_ledger_url)
    Ledger(old_ledger_url).close()
    assert (read_version_and_tables(old_ledger_url), read_all_rows(old_ledger_url)) == before


@pytest.mark.parametrize(
    ("version", "statement_count"),
    [("1", 0), ("1", 3), ("1", 9), ("1", 20), ("2", 5), ("3", 4), ("3", 12), ("4", 1), ("5", 0)],
)
def test_a_killed_migration_leaves_the_old_version_and_the_next_process_completes_it(
    ledger_url: str, version: str, statement_count: int
) -> None:
    create_ledger_of_version(ledger_url, version)
    before = read_version_and_tables(ledger_url), read_all_rows(ledger_url)
    arguments = [sys.executable, "-c", OPEN_AND_DIE_SCRIPT, ledger_url, str(statement_count)]
    assert subprocess.run(arguments, timeout=120).returncode == -9
    assert (read_version_and_tables(ledger_url), read_all_rows(ledger_url)) == before
    assert read_version_and_tables(ledger_url)[0] == version
    assert read_alembic_version(ledger_url) == (version if version >= "4" else None)
    Ledger(ledger_url).close()
    assert read_version_and_tables(ledger_url) == VERSION_OF_TODAY


@pytest.mark.parametrize("unknown_version", [str(int(SCHEMA_VERSION) + 1), "99", "0", "", "2-beta"])
def test_an_unknown_version_is_refused_and_the_ledger_stays_as_it_is(version_1_url: str, unknown_version: str) -> None:
    engine = create_database_engine(version_1_url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE notes SET value = :version WHERE name = 'schema_version'"), {"version": unknown_version}
        )
    engine.dispose()
    before = read_version_and_tables(version_1_url)
    with pytest.raises(ConfigurationError, match=rf"schema version '{unknown_version}'.*newer program"):
        Ledger(version_1_url)
    assert read_version_and_tables(version_1_url) == before
    assert read_alembic_version(version_1_url) is None


def test_several_processes_migrate_it_once(old_ledger_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_SCRIPT, old_ledger_url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert read_version_and_tables(old_ledger_url) == VERSION_OF_TODAY


@pytest.mark.parametrize("is_new", [True, False])
def test_a_program_from_before_alembic_refuses_a_newer_ledger(ledger_url: str, is_new: bool) -> None:
    if not is_new:
        create_ledger_of_version(ledger_url, "3")
    Ledger(ledger_url).close()
    assert (
        read_version_and_tables(ledger_url)[0] == SCHEMA_VERSION
    )  # such a program reads this note and opens "3" at most
    assert read_alembic_version(ledger_url) == SCHEMA_VERSION


def test_a_new_ledger_has_the_schema_of_its_tables(ledger_url: str) -> None:
    Ledger(ledger_url).close()
    assert list_schema_differences(ledger_url) == []


def test_the_ledger_of_a_sample_run_keeps_every_row(sample_ledger_path: Path) -> None:
    url = f"sqlite:///{sample_ledger_path}"
    expected_rows = translate_rows(read_all_rows(url))
    assert len(expected_rows["documents"]) == 56
    assert len(expected_rows["candidates"]) == 45
    Ledger(url).close()
    assert read_all_rows(url) == expected_rows


def test_the_ledger_of_a_sample_run_gets_the_schema_and_the_indexes_of_a_new_one(
    sample_ledger_path: Path, tmp_path: Path
) -> None:
    Ledger(f"sqlite:///{sample_ledger_path}").close()
    Ledger(f"sqlite:///{tmp_path}/new.sqlite").close()
    assert list_schema_differences(f"sqlite:///{sample_ledger_path}") == []
    assert read_index_definitions(sample_ledger_path) == read_index_definitions(tmp_path / "new.sqlite")


def read_index_definitions(path: Path) -> dict[str, str]:
    """Return the SQL of each index of a SQLite file, with the conditions of partial ones, by name."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    connection.close()
    return dict(rows)
