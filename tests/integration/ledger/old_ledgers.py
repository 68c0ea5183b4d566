"""Ledgers as programs of earlier schema versions left them, and the contents of a ledger of any version."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Engine, MetaData, String, create_engine, inspect, make_url, select, text

from invoices.ledger.migrations import SCHEMA_VERSION, build_alembic_config
from invoices.ledger.tables import metadata

Row = dict[str, Any]
SAMPLE_LEDGER_DUMP = Path(__file__).parent / "schema_3_sample_ledger.sql.gz"
ROWS_OF_VERSION_1 = (
    "INSERT INTO counters (name, value) VALUES ('revision', 7), ('documents', 2), ('loaded_revision', 6)",
    """INSERT INTO documents (document_sha256, sequence, media_type, byte_count, page_count, first_seen_at, stage,
        state, reason_code, reason, changed_at, revision) VALUES
        ('a', 1, 'application/pdf', 10, 2, {at}, 'ask', 'waiting', 'submitted', 'S', {at}, 3),
        ('b', 2, 'application/pdf', 10, 1, {at}, 'done', 'accepted', 'accepted', 'A', {at}, 7)""",
    """INSERT INTO extractions (extraction_id, document_sha256, extracted_by, generation, status, remote_id, payload,
        pages_charged, possible_double_charge, requested_at, submitted_at, answered_at, revision) VALUES
        ('xa', 'a', 'smartbills_com', 1, 'submitted', 'job-1', NULL, 2, FALSE, {at}, {at}, NULL, 5),
        ('xb', 'b', 'smartbills_com', 1, 'answered', 'job-2', '{{}}', 1, TRUE, {at}, {at}, {at}, 6)""",
    """INSERT INTO candidates (invoice_id, document_sha256, ordinal, verdict, body, judged_at, judged_by, revision)
        VALUES ('ib', 'b', 1, 'accepted', '{{}}', {at}, 'rules', 6)""",
)
ROWS_OF_VERSION_2 = (
    "UPDATE extractions SET pages_reserved = pages_charged",
    """INSERT INTO spending (vendor, period, pages) VALUES
        ('smartbills_com', 'day:2026-11-01', 4), ('smartbills_com', 'month:2026-11', 4)""",
    "INSERT INTO claims (document_sha256, holder, until) VALUES ('a', 'worker-1', {at})",
)
ROWS_OF_VERSION_3 = (
    """INSERT INTO documents (document_sha256, sequence, media_type, byte_count, first_seen_at, stage, state,
        reason_code, reason, changed_at, revision) VALUES
        ('c', 3, 'application/pdf', 10, {at}, 'read', 'waiting', 'collected', 'C', {at}, 7),
        ('d', 4, 'application/pdf', 10, {at}, 'judge', 'waiting', 'answered', 'D', {at}, 7),
        ('e', 5, 'application/pdf', 10, {at}, 'done', 'review', 'cannot_be_judged', 'E', {at}, 7)""",
    """INSERT INTO sightings (sighting_id, document_sha256, source_name, source_kind, location, seen_at, message_key,
        left_out, revision) VALUES
        ('s1', 'c', 'ap', 'mailbox', '/INBOX/1', {at}, 'm1', NULL, 7),
        ('s2', 'e', 'ap', 'mailbox', '/INBOX/2', {at}, 'm1', 'decoration', 7)""",
    """INSERT INTO messages (message_key, source_name, folder, uidvalidity, uid, outcome, document_count, left_out,
        action, seen_at, revision) VALUES
        ('m1', 'ap', 'INBOX', 7, 1, 'taken', 1, '{{"decoration": 1}}', 'due', {at}, 7),
        ('m2', 'ap', 'INBOX', 7, 2, 'nothing', 0, NULL, 'done', {at}, 7),
        ('m3', 'ap', 'INBOX', 7, 3, 'left', 0, NULL, 'none', {at}, 7),
        ('m4', 'ap', 'INBOX', 7, 4, 'set_aside', 0, NULL, 'failed', {at}, 7),
        ('m5', 'ap', 'INBOX', 7, 5, 'too_large', 0, NULL, 'none', {at}, 7),
        ('m6', 'ap', 'INBOX', 7, 6, 'waiting', 0, NULL, 'none', {at}, 7)""",
)
ROWS_BY_VERSION = {
    "1": ROWS_OF_VERSION_1,
    "2": (*ROWS_OF_VERSION_1, *ROWS_OF_VERSION_2),
    "3": (*ROWS_OF_VERSION_1, *ROWS_OF_VERSION_2, *ROWS_OF_VERSION_3),
}
SENT_RECEIPT_OF_VERSION_4 = """INSERT INTO receipts (invoice_id, publisher, receipt_id, status, first_sent_at,
    changed_at, revision) VALUES ('ib', 'smartbills_io', 'inv-ib', 'sending', {at}, {at}, 7)"""
RENAMED_COLUMNS = {
    "candidates": {"judged_at": "validated_at", "judged_by": "decided_by"},
    "claims": {"until": "expires_at"},
    "sightings": {"left_out": "skip_reason_code"},
    "messages": {"left_out": "skipped_parts"},
}
REPLACED_VALUES = {
    ("documents", "stage"): {"read": "extract_local", "ask": "extract_remote", "judge": "validate"},
    ("documents", "reason_code"): {"cannot_be_judged": "cannot_be_validated"},
    ("messages", "action"): {"due": "pending"},
    ("messages", "outcome"): {
        "taken": "collected", "nothing": "no_documents", "left": "skipped", "set_aside": "quarantined",
    },
}  # fmt: skip


def create_database_engine(url: str) -> Engine:
    """Return an engine that does nothing by itself: not the ledger's own."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"))
    Path(parsed.database or "").parent.mkdir(exist_ok=True)
    return create_engine(parsed)


def create_ledger_of_version(url: str, version: str) -> None:
    """Create a ledger with some rows as a program of that version left it; before 4, only ``notes`` has the version."""
    instant = "'2026-11-01 10:00:00.000000'" if url.startswith("sqlite") else "'2026-11-01 10:00:00+00'"
    engine = create_database_engine(url)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # as every version has set it
    with engine.begin() as connection:
        command.upgrade(build_alembic_config(connection), min(version, "3"))
        for statement in ROWS_BY_VERSION[min(version, "3")]:
            connection.execute(text(statement.format(at=instant).replace(":", r"\:")))
        if version > "3":
            command.upgrade(build_alembic_config(connection), version)
            connection.execute(text(SENT_RECEIPT_OF_VERSION_4.format(at=instant).replace(":", r"\:")))
        connection.execute(text(f"INSERT INTO notes VALUES ('schema_version', '{version}'), ('mode', 'real')"))
        if version < "4":
            connection.execute(text("DROP TABLE alembic_version"))
    engine.dispose()


def restore_sample_ledger(path: Path) -> None:
    """Write the ledger of a rehearsal's sample run, made by the last program of schema version 3."""
    connection = sqlite3.connect(path)
    connection.executescript(gzip.decompress(SAMPLE_LEDGER_DUMP.read_bytes()).decode())
    connection.close()


def read_version_and_tables(url: str) -> tuple[str, set[str]]:
    """Return the version in a ledger's notes, and its tables without Alembic's own."""
    engine = create_database_engine(url)
    with engine.connect() as connection:
        noted_version = connection.scalar(text("SELECT value FROM notes WHERE name = 'schema_version'"))
        tables = set(inspect(connection).get_table_names()) - {"alembic_version"}
    engine.dispose()
    return str(noted_version), tables


def read_alembic_version(url: str) -> str | None:
    """Return the version that Alembic has recorded, or None without its table."""
    engine = create_database_engine(url)
    with engine.connect() as connection:
        has_table = "alembic_version" in inspect(connection).get_table_names()
        version = connection.scalar(text("SELECT version_num FROM alembic_version")) if has_table else None
    engine.dispose()
    return version


def read_all_rows(url: str) -> dict[str, list[Row]]:
    """Return the rows of every table but Alembic's, in a fixed order, with the columns that are there."""
    engine = create_database_engine(url)
    stored = MetaData()
    with engine.connect() as connection:
        stored.reflect(connection)
        rows_by_table = {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in stored.tables.values()
            if table.name != "alembic_version"
        }
    engine.dispose()
    return rows_by_table


def translate_rows(rows_by_table: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Return rows of version 3 with the column names and values of today; the next load rebuilds the warehouse."""
    translated: dict[str, list[Row]] = {
        table: [
            {
                RENAMED_COLUMNS.get(table, {}).get(name, name): REPLACED_VALUES.get((table, name), {}).get(value, value)
                for name, value in row.items()
            }
            for row in rows
        ]
        for table, rows in rows_by_table.items()
    }
    for row in translated["receipts"]:
        row |= {"first_missed_at": None, "refused_under": None}
    for row in translated["extractions"]:
        row["is_superseded"] = False
    for row in translated["sightings"]:
        row["embedded_in"] = None
    translated |= {"stage_leases": [], "stage_attempts": [], "official_results": [], "remote_receipts": []}
    translated["candidate_keys"] = _translate_keys(translated["candidates"])
    translated["counters"] = [row for row in translated["counters"] if row["name"] != "loaded_revision"]
    translated["notes"].append({"name": "ledger_id", "value": ANY})
    translated["notes"].sort(key=lambda row: str(row["name"]))
    for row in translated["notes"]:
        row["value"] = SCHEMA_VERSION if row["name"] == "schema_version" else row["value"]
    return translated


def _translate_keys(candidates: list[Row]) -> list[Row]:
    """Return the rows of ``candidate_keys`` for candidates of an earlier version, whose columns of keys are removed."""
    rows = [
        {"invoice_id": row["invoice_id"], "key": key}
        for row in candidates
        for key in {row.pop("number_key"), row.pop("content_key")} - {None}
    ]
    for row in candidates:
        row["duplicate_of"] = None
    return sorted(rows, key=lambda row: (row["invoice_id"], row["key"]))


def list_schema_differences(url: str) -> list[Any]:
    """Return how a ledger's schema differs from a new one's, by Alembic's comparison."""
    engine = create_database_engine(url)
    is_sqlite = engine.dialect.name == "sqlite"

    def is_other_type(
        _context: MigrationContext, _inspected: Column[Any], stored: Column[Any], stored_type: Any, new_type: Any
    ) -> bool | None:
        """Return whether a type differs; a text of any length is the same under any name."""
        if not isinstance(stored_type, String):
            return None
        is_widened_on_sqlite = is_sqlite and (stored.table.name, stored.name) == ("documents", "stage")
        return stored_type.length != new_type.length and not is_widened_on_sqlite

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": is_other_type})
        differences: list[Any] = compare_metadata(context, metadata)
    engine.dispose()
    return differences
