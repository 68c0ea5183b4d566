"""The journal of requests, charges, uploads and receipts: one SQLite file that survives a kill -9."""

from __future__ import annotations

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sandbox.exact_json import parse_json

JOURNAL_FILE_NAME = "sandbox.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, api_key TEXT, method TEXT NOT NULL, path TEXT NOT NULL,
    route TEXT NOT NULL, status INTEGER NOT NULL, request_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (api_key);
CREATE TABLE IF NOT EXISTS contents (sha256 TEXT PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, api_key TEXT NOT NULL, sha256 TEXT NOT NULL,
    file_token TEXT UNIQUE NOT NULL, extension TEXT NOT NULL, with_lines INTEGER NOT NULL, created_at TEXT NOT NULL,
    created REAL NOT NULL, polls INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS charges (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, api_key TEXT NOT NULL, job_id TEXT NOT NULL,
    document_sha256 TEXT NOT NULL, pages INTEGER NOT NULL, vendor TEXT NOT NULL DEFAULT 'smartbills_com');
CREATE INDEX IF NOT EXISTS charges_by_key ON charges (api_key);
CREATE TABLE IF NOT EXISTS receipts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, api_key TEXT NOT NULL, tenant_id TEXT NOT NULL,
    receipt_id TEXT, body_sha256 TEXT NOT NULL, body TEXT NOT NULL, answer TEXT NOT NULL,
    idempotency_key TEXT, is_ours INTEGER NOT NULL, deleted_at TEXT);
CREATE INDEX IF NOT EXISTS receipts_by_key ON receipts (api_key, tenant_id, receipt_id);
CREATE TABLE IF NOT EXISTS windows (
    api_key TEXT NOT NULL, name TEXT NOT NULL, started REAL NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (api_key, name));
CREATE TABLE IF NOT EXISTS upload_sessions (
    seq INTEGER PRIMARY KEY, api_key TEXT NOT NULL, id TEXT NOT NULL, part_size INTEGER NOT NULL,
    created REAL NOT NULL, at TEXT NOT NULL, UNIQUE (api_key, id));
CREATE TABLE IF NOT EXISTS upload_files (
    seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, file_id TEXT NOT NULL, name TEXT NOT NULL,
    size INTEGER NOT NULL, state TEXT NOT NULL, sha256 TEXT, completed_at TEXT, UNIQUE (session, file_id));
CREATE TABLE IF NOT EXISTS upload_parts (
    file INTEGER NOT NULL, number INTEGER NOT NULL, e_tag TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (file, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS extractions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, api_key TEXT NOT NULL, submission_id TEXT NOT NULL,
    request TEXT NOT NULL, manner TEXT NOT NULL, status TEXT NOT NULL, error TEXT, created REAL NOT NULL,
    at TEXT NOT NULL, due REAL, reserved INTEGER NOT NULL, deducted INTEGER, polls INTEGER NOT NULL DEFAULT 0,
    answer_by REAL, reason TEXT, cancel_requested_at TEXT, deleted_at TEXT, UNIQUE (api_key, submission_id));
CREATE INDEX IF NOT EXISTS extractions_by_status ON extractions (api_key, status);
CREATE TABLE IF NOT EXISTS extraction_files (
    extraction INTEGER NOT NULL, position INTEGER NOT NULL, file INTEGER NOT NULL,
    PRIMARY KEY (extraction, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Journal:
    """The open journal of a server; changes are on disk before they are answered, the log of requests soon after."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(directory / JOURNAL_FILE_NAME, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.executescript(_TABLES)
        columns = {row["name"] for row in self.connection.execute("PRAGMA table_info(charges)")}
        if "vendor" not in columns:  # the file was written by an older sandbox
            self.connection.execute("ALTER TABLE charges ADD COLUMN vendor TEXT NOT NULL DEFAULT 'smartbills_com'")
        self._waits_for_disk = True
        self.rate_windows: dict[tuple[str, str], tuple[float, int]] = {}
        self._written_rate_windows: dict[tuple[str, str], tuple[float, int]] = {}

    @contextmanager
    def begin_transaction(self, *, wait_for_disk: bool = True) -> Iterator[sqlite3.Connection]:
        """Run the writes of the ``with`` block in one transaction.

        Returns when the writes are on disk. Without ``wait_for_disk`` it returns when the operating system has them:
        they then survive a kill -9, and survive a power cut once a later transaction has waited for the disk.
        """
        if wait_for_disk != self._waits_for_disk:
            self.connection.execute(f"PRAGMA synchronous={'FULL' if wait_for_disk else 'NORMAL'}")
            self._waits_for_disk = wait_for_disk
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def get_rate_window(self, api_key: str, name: str) -> tuple[float, int]:
        """Return the start of a key's rate window and the number of calls in it; both are 0 if there is none."""
        if (api_key, name) not in self.rate_windows:
            row = self.connection.execute(
                "SELECT started, used FROM windows WHERE api_key = ? AND name = ?", (api_key, name)
            ).fetchone()
            self.rate_windows[api_key, name] = (row["started"], row["used"]) if row else (0.0, 0)
        return self.rate_windows[api_key, name]

    def record_request(
        self, api_key: str | None, method: str, path: str, route: str, status: int, request_id: str
    ) -> None:
        """Write one request and the changed rate windows; status 0 means that no answer was sent."""
        with self.begin_transaction(wait_for_disk=False) as connection:
            connection.executemany(
                "REPLACE INTO windows VALUES (?, ?, ?, ?)",
                [(*window_key, *window) for window_key, window in self._collect_changed_rate_windows()],
            )
            connection.execute(
                "INSERT INTO requests (at, api_key, method, path, route, status, request_id) VALUES (?,?,?,?,?,?,?)",
                (get_utc_timestamp(), api_key, method, path[:500], route, status, request_id),
            )

    def _collect_changed_rate_windows(self) -> list[tuple[tuple[str, str], tuple[float, int]]]:
        """Return the rate windows that changed since they were last written, and mark them as written."""
        changed_windows = [
            (window_key, window)
            for window_key, window in self.rate_windows.items()
            if self._written_rate_windows.get(window_key) != window
        ]
        self._written_rate_windows.update(changed_windows)
        return changed_windows


def read_journal(directory: Path, api_key: str | None = None) -> dict[str, Any]:
    """Return the journal of a state folder, for one API key or for all; works while the server runs and afterwards.

    ``requests`` counts by route, ``answers`` by route and status (0: no answer was sent); ``charges`` have
    vendor (a mount name), api_key, job_id, document_sha256, pages, at; ``receipts`` (deleted ones with their
    ``deleted_at``) have api_key, tenant_id, id, receiptId, body_sha256, body (numbers as Decimal), at; ``sessions``
    have api_key, id, file_count, at; ``uploads`` (completed ones) have api_key, session_id, file_id, file_name,
    document_sha256, at; ``extractions`` (deleted ones too) have api_key, id, submission_id, status, documents (their
    SHA-256, in order), at. Raises FileNotFoundError if the folder has no journal.
    """
    path = directory / JOURNAL_FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no journal in {str(directory)!r}")
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return summarise_journal(connection, api_key)


def summarise_journal(connection: sqlite3.Connection, api_key: str | None = None) -> dict[str, Any]:
    """Return what ``read_journal`` returns, from an open connection."""
    where_clause, parameters = ("WHERE api_key = ?", (api_key,)) if api_key else ("", ())
    answers: dict[str, dict[str, int]] = {}
    for row in connection.execute(
        f"SELECT method || ' ' || route AS route, status, count(*) AS n FROM requests {where_clause} GROUP BY 1, 2",
        parameters,
    ):
        answers.setdefault(row["route"], {})[str(row["status"])] = row["n"]
    charges = connection.execute(
        f"SELECT vendor, api_key, job_id, document_sha256, pages, at FROM charges {where_clause} ORDER BY seq",
        parameters,
    )
    receipts = connection.execute(
        f"""SELECT api_key, tenant_id, id, receipt_id AS receiptId, body_sha256, body, at, deleted_at
            FROM receipts {where_clause + " AND" if where_clause else "WHERE"} is_ours ORDER BY id""",
        parameters,
    )
    return {
        "requests": {route: sum(counts_by_status.values()) for route, counts_by_status in answers.items()},
        "answers": answers,
        "charges": [dict(row) for row in charges],
        "receipts": [{**dict(row), "body": parse_json(row["body"].encode())} for row in receipts],
        **_list_sessions_and_uploads(connection, where_clause, parameters),
        "extractions": _list_extractions(connection, where_clause, parameters),
    }


def _list_sessions_and_uploads(
    connection: sqlite3.Connection, where_clause: str, parameters: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    sessions = connection.execute(
        f"""SELECT api_key, id, at,
                   (SELECT count(*) FROM upload_files WHERE session = upload_sessions.seq) AS file_count
            FROM upload_sessions {where_clause} ORDER BY seq""",
        parameters,
    )
    files = connection.execute(
        f"""SELECT api_key, id AS session_id, file_id, name AS file_name, sha256 AS document_sha256, completed_at AS at
            FROM upload_files JOIN upload_sessions ON session = upload_sessions.seq
            {where_clause + " AND" if where_clause else "WHERE"} state = 'completed' ORDER BY upload_files.seq""",
        parameters,
    )
    return {"sessions": [dict(row) for row in sessions], "uploads": [dict(row) for row in files]}


def _list_extractions(
    connection: sqlite3.Connection, where_clause: str, parameters: tuple[str, ...]
) -> list[dict[str, Any]]:
    documents: dict[int, list[str]] = {}
    for row in connection.execute(
        f"""SELECT extraction, sha256 FROM extraction_files JOIN upload_files ON file = upload_files.seq
            WHERE extraction IN (SELECT seq FROM extractions {where_clause}) ORDER BY extraction, position""",
        parameters,
    ):
        documents.setdefault(row["extraction"], []).append(row["sha256"])
    rows = connection.execute(
        f"SELECT seq, api_key, id, submission_id, status, at FROM extractions {where_clause} ORDER BY seq", parameters
    )
    return [{**dict(row), "documents": documents.get(row["seq"], [])} for row in rows]


def compute_sha256(content: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def get_utc_timestamp(shift_seconds: float = 0.0) -> str:
    """Return the current time, shifted by some seconds, as ISO 8601 in UTC, to the millisecond."""
    shifted_time = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=shift_seconds)
    return shifted_time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
