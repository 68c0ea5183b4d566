"""Migrations: a ledger of version 1 is opened with everything in it, whatever dies meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, inspect, make_url, select, text

from invoices.errors import ConfigurationError
from invoices.ledger import Ledger
from invoices.ledger.documents import list_pending_documents
from invoices.ledger.extractions import (
    ExtractionTerms,
    find_job,
    list_document_jobs_of_vendor,
    record_intent,
    update_extraction,
)
from invoices.ledger.ledger import get_counter_value
from invoices.ledger.migrations import SCHEMA_VERSION
from invoices.ledger.spending import PageCaps, compute_remaining_pages
from invoices.ledger.tables import documents, extractions, metadata, sightings

VERSION_1_STATEMENTS = [  # as version 1 made it, on SQLite and, but for the types' names, on PostgreSQL
    "CREATE TABLE counters (name VARCHAR(40) NOT NULL, value BIGINT NOT NULL, PRIMARY KEY (name))",
    "CREATE TABLE notes (name VARCHAR(40) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name))",
    """CREATE TABLE documents (document_sha256 VARCHAR(64) NOT NULL, sequence BIGINT NOT NULL,
        media_type VARCHAR(120) NOT NULL, byte_count BIGINT NOT NULL, page_count INTEGER,
        first_seen_at {instant} NOT NULL, stage VARCHAR(10) NOT NULL, state VARCHAR(20) NOT NULL,
        reason_code VARCHAR(60) NOT NULL, reason TEXT NOT NULL, changed_at {instant} NOT NULL, revision BIGINT NOT NULL,
        PRIMARY KEY (document_sha256), UNIQUE (sequence))""",
    "CREATE INDEX documents_pending ON documents (stage, sequence) WHERE stage <> 'done'",
    "CREATE INDEX documents_by_state ON documents (state, reason_code)",
    "CREATE INDEX ix_documents_revision ON documents (revision)",
    """CREATE TABLE extractions (extraction_id VARCHAR(32) NOT NULL, document_sha256 VARCHAR(64) NOT NULL,
        extracted_by VARCHAR(40) NOT NULL, generation INTEGER NOT NULL, status VARCHAR(12) NOT NULL,
        remote_id VARCHAR(200), payload TEXT, message TEXT, pages_charged INTEGER NOT NULL,
        possible_double_charge BOOLEAN NOT NULL, requested_at {instant} NOT NULL, submitted_at {instant},
        answered_at {instant}, revision BIGINT NOT NULL, PRIMARY KEY (extraction_id))""",
    """CREATE TABLE sightings (sighting_id VARCHAR(32) NOT NULL, document_sha256 VARCHAR(64) NOT NULL,
        source_name VARCHAR(40) NOT NULL, source_kind VARCHAR(20) NOT NULL, location TEXT NOT NULL, file_name TEXT,
        sender TEXT, subject TEXT, message_id TEXT, received_at {instant}, seen_at {instant} NOT NULL,
        fingerprint VARCHAR(80), revision BIGINT NOT NULL, PRIMARY KEY (sighting_id))""",
    "CREATE INDEX ix_sightings_document_sha256 ON sightings (document_sha256)",
    "CREATE INDEX ix_sightings_revision ON sightings (revision)",
    "CREATE INDEX sightings_by_place ON sightings (source_name, location)",
    "CREATE INDEX extractions_open ON extractions (status) WHERE status in ('intended', 'unknown', 'submitted')",
    "CREATE INDEX ix_extractions_document_sha256 ON extractions (document_sha256)",
    "CREATE INDEX ix_extractions_revision ON extractions (revision)",
    "INSERT INTO notes VALUES ('schema_version', '1'), ('mode', 'real')",
    "INSERT INTO counters VALUES ('revision', 7), ('documents', 2)",
    """INSERT INTO documents VALUES
        ('a', 1, 'application/pdf', 10, 2, {at}, 'ask', 'waiting', 'submitted', 'S', {at}, 3),
        ('b', 2, 'application/pdf', 10, 1, {at}, 'done', 'accepted', 'accepted', 'A', {at}, 7)""",
    """INSERT INTO extractions VALUES
        ('xa', 'a', 'smartbills_com', 1, 'submitted', 'job-1', NULL, NULL, 2, FALSE, {at}, {at}, NULL, 5),
        ('xb', 'b', 'smartbills_com', 1, 'answered', 'job-2', '{{}}', NULL, 1, TRUE, {at}, {at}, {at}, 6)""",
]

DAY, MONTH = PageCaps(day=10), PageCaps(month=10)

OPEN_AND_DIE_SCRIPT = """
import os, sys
from sqlalchemy import Engine, event
from invoices.ledger import Ledger

seen = 0

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, parameters, context, many):
    global seen
    seen += statement.lstrip().startswith(("ALTER", "CREATE", "UPDATE"))
    if seen > int(sys.argv[2]):
        os.kill(os.getpid(), 9)

Ledger(sys.argv[1]).close()
"""


def create_database_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"))
    Path(parsed.database or "").parent.mkdir(exist_ok=True)
    return create_engine(parsed)


@pytest.fixture
def version_1_url(ledger_url: str) -> str:
    """Where a ledger of version 1 is, with two documents in it."""
    is_sqlite = ledger_url.startswith("sqlite")
    instant = "DATETIME" if is_sqlite else "TIMESTAMP WITH TIME ZONE"
    at = "'2026-11-01 10:00:00.000000'" if is_sqlite else "'2026-11-01 10:00:00+00'"
    engine = create_database_engine(ledger_url)
    with engine.begin() as connection:
        for statement in VERSION_1_STATEMENTS:
            connection.execute(text(statement.format(instant=instant, at=at)))
    engine.dispose()
    return ledger_url


def read_version_and_tables(url: str) -> tuple[str, set[str]]:
    """Return the version that a ledger says, and its tables."""
    engine = create_database_engine(url)
    with engine.connect() as connection:
        stored_version = connection.scalar(text("SELECT value FROM notes WHERE name = 'schema_version'"))
        tables = set(inspect(connection).get_table_names())
    engine.dispose()
    return str(stored_version), tables


def test_everything_is_there_after_the_way_from_version_1(version_1_url: str) -> None:
    ledger = Ledger(version_1_url)
    with ledger.open_snapshot() as connection:
        assert [document.document_sha256 for document in list_pending_documents(connection, "extract_remote", 10)] == [
            "a"
        ]
        assert connection.scalar(select(func.count()).select_from(documents)) == 2
        (job,) = list_document_jobs_of_vendor(connection, "b", "smartbills_com")
        assert (job.status, job.pages_charged, job.possible_double_charge) == ("answered", 1, True)
        assert (job.batch_id, job.run_id, job.pages_reserved, job.counted_on) == (None, None, 1, None)
        assert get_counter_value(connection, "revision") == 7
    assert ledger.find_note("mode") == "real"
    assert read_version_and_tables(version_1_url) == (SCHEMA_VERSION, set(metadata.tables))
    ledger.close()


def test_it_has_the_columns_and_indexes_of_a_new_one(version_1_url: str) -> None:
    Ledger(version_1_url).close()
    engine = create_database_engine(version_1_url)
    inspector = inspect(engine)
    for table in (extractions, sightings):
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(table.c.keys())
        assert {index["name"] for index in inspector.get_indexes(table.name)} == {index.name for index in table.indexes}
    engine.dispose()


def test_what_was_charged_and_what_was_open_in_version_1_counts_under_the_caps(version_1_url: str) -> None:
    ledger = Ledger(version_1_url)
    with ledger.begin_transaction() as tx:
        update_extraction(tx, "xa", "answered", payload="{}", answered_at=tx.timestamp)
        record_intent(tx, ExtractionTerms("smartbills_com"), "xc", "c", pages=1, run_id="A")
        job = find_job(tx.connection, "xa")
        assert job is not None
        left = [
            compute_remaining_pages(tx.connection, "smartbills_com", caps, job.requested_at, None)
            for caps in (DAY, MONTH)
        ]
    assert left[0] == 10 - 2 - 2  # one of two pages, and one that may have been charged twice
    assert left[1] in (6, 10 - 2 - 2 - 1)  # and what was intended today, in the same month or in another
    ledger.close()


def test_opening_it_again_changes_nothing(version_1_url: str) -> None:
    Ledger(version_1_url).close()
    before = read_version_and_tables(version_1_url)
    Ledger(version_1_url).close()
    assert read_version_and_tables(version_1_url) == before


@pytest.mark.parametrize("statements", [0, 3, 9, 20])
def test_a_migration_that_is_killed_leaves_version_1_and_is_done_by_the_next(
    version_1_url: str, statements: int
) -> None:
    died = subprocess.run([sys.executable, "-c", OPEN_AND_DIE_SCRIPT, version_1_url, str(statements)], timeout=120)
    assert died.returncode == -9
    assert read_version_and_tables(version_1_url) == (
        "1",
        {"counters", "notes", "documents", "extractions", "sightings"},
    )
    Ledger(version_1_url).close()
    assert read_version_and_tables(version_1_url) == (SCHEMA_VERSION, set(metadata.tables))


@pytest.mark.parametrize("unknown", ["4", "99", "0", "", "2-beta"])
def test_a_version_that_is_not_known_is_refused_and_left_alone(version_1_url: str, unknown: str) -> None:
    engine = create_database_engine(version_1_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE notes SET value = :v WHERE name = 'schema_version'"), {"v": unknown})
    engine.dispose()
    before = read_version_and_tables(version_1_url)
    with pytest.raises(ConfigurationError, match=rf"schema version '{unknown}'.*newer program"):
        Ledger(version_1_url)
    assert read_version_and_tables(version_1_url) == before


def test_several_processes_migrate_it_once(version_1_url: str) -> None:
    program = "import sys; from invoices.ledger import Ledger; Ledger(sys.argv[1]).close()"
    opening = [
        subprocess.Popen([sys.executable, "-c", program, version_1_url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[1] for process in opening]
    assert [process.returncode for process in opening] == [0, 0, 0], outputs
    assert read_version_and_tables(version_1_url) == (SCHEMA_VERSION, set(metadata.tables))
