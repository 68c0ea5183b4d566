"""The vendor's stored invoices, its memory of files it has read, and what it charged."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any

from sandbox.billflowai.readings import Reading
from sandbox.billflowai.refusals import Refused
from sandbox.exact_json import dumps, loads
from sandbox.journal import Journal, now_text

WINDOW_DAYS = 30
_TABLES = """
CREATE TABLE IF NOT EXISTS billflowai_invoices (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, api_key TEXT NOT NULL, number TEXT,
    kind TEXT NOT NULL, parsed TEXT NOT NULL, file_url TEXT, created_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS billflowai_invoices_by_number ON billflowai_invoices (api_key, number);
CREATE TABLE IF NOT EXISTS billflowai_readings (
    seq INTEGER PRIMARY KEY, api_key TEXT NOT NULL, sha256 TEXT NOT NULL, file_url TEXT, invoice_id TEXT NOT NULL,
    kind TEXT NOT NULL, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS billflowai_readings_by_bytes ON billflowai_readings (api_key, sha256);
CREATE INDEX IF NOT EXISTS billflowai_readings_by_url ON billflowai_readings (api_key, file_url);
CREATE INDEX IF NOT EXISTS billflowai_readings_by_invoice ON billflowai_readings (invoice_id);
"""


@dataclass(frozen=True, slots=True)
class Document:
    """One file somebody wants read: whose it is, its hash, where it came from, and which side of the books it is on."""

    api_key: str
    sha256: str
    kind: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Filed:
    """A reading and what the vendor says about it; ``source`` and ``invoice_id`` are None where nothing is stored."""

    reading: Reading
    kind: str
    source: str | None
    invoice_id: str | None


class Store:
    """The invoices of all keys; each key sees its own."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal = journal
        self._window = dt.timedelta(days=WINDOW_DAYS) * (minute_seconds / 60)
        journal.connection.executescript(_TABLES)

    def charged(self, api_key: str) -> int:
        """Return how many extractions this key was charged for within the rolling window."""
        since = (dt.datetime.now(dt.UTC) - self._window).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = self._journal.connection.execute(
            "SELECT count(*) FROM charges WHERE vendor = 'billflowai' AND api_key = ? AND at > ?", (api_key, since)
        ).fetchone()
        return int(row[0])

    def cached(self, api_key: str, *, sha256: str | None = None, url: str | None = None) -> Filed | None:
        """Return what was read of the same bytes, or from the same address, before."""
        column, value = ("sha256", sha256) if url is None else ("file_url", url)
        row = self._journal.connection.execute(
            f"SELECT * FROM billflowai_readings WHERE api_key = ? AND {column} = ? ORDER BY seq LIMIT 1",
            (api_key, value),
        ).fetchone()
        return Filed(loads(row["answer"].encode()), row["kind"], "cache", row["invoice_id"]) if row else None

    def charge(self, document: Document, free: int | None) -> None:
        """Charge for work of which nothing is kept; raises Refused as ``file`` does."""
        with self._journal.writing() as connection:
            self._charge(connection, document, str(uuid.uuid4()), free)

    def file(self, document: Document, reading: Reading, source: str, free: int | None) -> Filed:
        """Store and charge, all or nothing, on disk when it returns; ``source`` auto looks for the number.

        ``free`` is how many extractions are left, None where there is no quota. Raises Refused where none is.
        """
        with self._journal.writing() as connection:
            before = self._by_number(document.api_key, reading["invoice_number"])
            if source == "auto":
                source = "duplicate" if before else "extracted"
            is_stored = source == "duplicate" and before is not None
            invoice_id = str(before["id"]) if before is not None and is_stored else str(uuid.uuid4())
            if source != "none":
                self._keep(connection, document, reading, invoice_id, is_stored=is_stored)
            if source != "cache":
                self._charge(connection, document, invoice_id, free)
        return Filed(reading, document.kind, *((None, None) if source == "none" else (source, invoice_id)))

    def _by_number(self, api_key: str, number: str | None) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._journal.connection.execute(
            "SELECT id FROM billflowai_invoices WHERE api_key = ? AND number = ? ORDER BY seq LIMIT 1",
            (api_key, number),
        ).fetchone()
        return found

    def _keep(
        self, connection: sqlite3.Connection, document: Document, reading: Reading, invoice_id: str, *, is_stored: bool
    ) -> None:
        if not is_stored:
            connection.execute(
                """INSERT INTO billflowai_invoices (id, api_key, number, kind, parsed, file_url, created_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (invoice_id, document.api_key, reading["invoice_number"], document.kind, dumps(reading),
                 document.url, now_text()),
            )  # fmt: skip
        connection.execute(
            """INSERT INTO billflowai_readings (api_key, sha256, file_url, invoice_id, kind, answer)
               VALUES (?, ?, ?, ?, ?, ?)""",
            (document.api_key, document.sha256, document.url, invoice_id, document.kind, dumps(reading)),
        )

    def _charge(self, connection: sqlite3.Connection, document: Document, job_id: str, free: int | None) -> None:
        if free is not None and free <= 0:
            raise Refused("QUOTA_EXCEEDED", "The quota of the plan is used up.")
        connection.execute(
            """INSERT INTO charges (at, api_key, job_id, document_sha256, pages, vendor)
               VALUES (?, ?, ?, ?, 1, 'billflowai')""",
            (now_text(), document.api_key, job_id, document.sha256),
        )

    def page(self, api_key: str, *, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Return some of the key's invoices, newest first, and how many there are."""
        connection = self._journal.connection
        count = connection.execute("SELECT count(*) FROM billflowai_invoices WHERE api_key = ?", (api_key,)).fetchone()
        rows = connection.execute(
            "SELECT * FROM billflowai_invoices WHERE api_key = ? ORDER BY seq DESC LIMIT ? OFFSET ?",
            (api_key, limit, offset),
        )
        return [_shown(row) for row in rows], int(count[0])

    def find(self, api_key: str, invoice_id: str) -> dict[str, Any] | None:
        """Return the key's invoice of this id, or None."""
        row = self._journal.connection.execute(
            "SELECT * FROM billflowai_invoices WHERE api_key = ? AND id = ?", (api_key, invoice_id)
        ).fetchone()
        return _shown(row) if row else None

    def change(self, invoice_id: str, kind: str, parsed: dict[str, Any]) -> None:
        """Write what somebody corrected by hand."""
        number = parsed.get("invoice_number")
        with self._journal.writing() as connection:
            connection.execute(
                "UPDATE billflowai_invoices SET kind = ?, parsed = ?, number = ? WHERE id = ?",
                (kind, dumps(parsed), number if isinstance(number, str) else None, invoice_id),
            )

    def delete(self, invoice_id: str) -> None:
        """Forget an invoice, its number, and the files it was read from: they count as new again."""
        with self._journal.writing() as connection:
            connection.execute("DELETE FROM billflowai_readings WHERE invoice_id = ?", (invoice_id,))
            connection.execute("DELETE FROM billflowai_invoices WHERE id = ?", (invoice_id,))


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    """Return an invoice as the list shows it; no page documents this shape, so it is ours."""
    parsed = loads(row["parsed"].encode())
    number, counterparty = (
        value if isinstance(value := parsed.get(name), str) else None for name in ("invoice_number", "counterparty")
    )
    return {
        "id": row["id"],
        "invoice_number": number,
        "counterparty": counterparty,
        "invoice_kind": row["kind"],
        "file_url": row["file_url"],
        "created_at": row["created_at"],
        "parsed_data": parsed,
    }
