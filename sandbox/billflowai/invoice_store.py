"""The vendor's stored invoices, its cache of extracted files, and its charges."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any

from sandbox.billflowai.errors import ApiError
from sandbox.billflowai.sample_answers import InvoiceFields
from sandbox.exact_json import parse_json, render_json
from sandbox.journal import Journal, get_utc_timestamp

QUOTA_WINDOW_DAYS = 30
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
class SubmittedFile:
    """A file to extract: its API key, its hash, the kind of invoice, and the URL it came from."""

    api_key: str
    sha256: str
    invoice_kind: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ExtractionResult:
    """The extracted fields with their metadata; ``source`` and ``invoice_id`` are None if nothing is stored."""

    fields: InvoiceFields
    invoice_kind: str
    source: str | None
    invoice_id: str | None


class InvoiceStore:
    """The invoices of all keys; each key sees its own."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal = journal
        self._quota_window = dt.timedelta(days=QUOTA_WINDOW_DAYS) * (minute_seconds / 60)
        journal.connection.executescript(_TABLES)

    def count_recent_charges(self, api_key: str) -> int:
        """Return the number of charged extractions of a key within the rolling quota window."""
        since = (dt.datetime.now(dt.UTC) - self._quota_window).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = self._journal.connection.execute(
            "SELECT count(*) FROM charges WHERE vendor = 'billflowai' AND api_key = ? AND at > ?", (api_key, since)
        ).fetchone()
        return int(row[0])

    def find_cached_result(
        self, api_key: str, *, sha256: str | None = None, url: str | None = None
    ) -> ExtractionResult | None:
        """Return the earlier extraction of the same bytes or the same URL, or None."""
        column, value = ("sha256", sha256) if url is None else ("file_url", url)
        row = self._journal.connection.execute(
            f"SELECT * FROM billflowai_readings WHERE api_key = ? AND {column} = ? ORDER BY seq LIMIT 1",
            (api_key, value),
        ).fetchone()
        if row is None:
            return None
        return ExtractionResult(parse_json(row["answer"].encode()), row["kind"], "cache", row["invoice_id"])

    def record_charge(self, file: SubmittedFile, remaining_quota: int | None) -> None:
        """Charge for an extraction that is not stored; raises ApiError like ``record_extraction``."""
        with self._journal.begin_transaction() as connection:
            self._insert_charge(connection, file, str(uuid.uuid4()), remaining_quota)

    def record_extraction(
        self, file: SubmittedFile, fields: InvoiceFields, source: str, remaining_quota: int | None
    ) -> ExtractionResult:
        """Store and charge an extraction in one transaction, on disk when it returns.

        With ``source`` auto, an invoice number that is stored already makes it a duplicate. ``remaining_quota`` is
        None if there is no quota. Raises ApiError QUOTA_EXCEEDED if the quota is used up.
        """
        with self._journal.begin_transaction() as connection:
            existing_invoice = self._find_invoice_by_number(file.api_key, fields["invoice_number"])
            if source == "auto":
                source = "duplicate" if existing_invoice else "extracted"
            is_duplicate = source == "duplicate" and existing_invoice is not None
            invoice_id = str(existing_invoice["id"] if existing_invoice and is_duplicate else uuid.uuid4())
            if source != "none":
                self._insert_invoice_and_cache_entry(connection, file, fields, invoice_id, is_duplicate=is_duplicate)
            if source != "cache":
                self._insert_charge(connection, file, invoice_id, remaining_quota)
        if source == "none":
            return ExtractionResult(fields, file.invoice_kind, None, None)
        return ExtractionResult(fields, file.invoice_kind, source, invoice_id)

    def _find_invoice_by_number(self, api_key: str, number: str | None) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._journal.connection.execute(
            "SELECT id FROM billflowai_invoices WHERE api_key = ? AND number = ? ORDER BY seq LIMIT 1",
            (api_key, number),
        ).fetchone()
        return row

    def _insert_invoice_and_cache_entry(
        self,
        connection: sqlite3.Connection,
        file: SubmittedFile,
        fields: InvoiceFields,
        invoice_id: str,
        *,
        is_duplicate: bool,
    ) -> None:
        if not is_duplicate:
            connection.execute(
                """INSERT INTO billflowai_invoices (id, api_key, number, kind, parsed, file_url, created_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (invoice_id, file.api_key, fields["invoice_number"], file.invoice_kind, render_json(fields),
                 file.url, get_utc_timestamp()),
            )  # fmt: skip
        connection.execute(
            """INSERT INTO billflowai_readings (api_key, sha256, file_url, invoice_id, kind, answer)
               VALUES (?, ?, ?, ?, ?, ?)""",
            (file.api_key, file.sha256, file.url, invoice_id, file.invoice_kind, render_json(fields)),
        )

    def _insert_charge(
        self, connection: sqlite3.Connection, file: SubmittedFile, job_id: str, remaining_quota: int | None
    ) -> None:
        if remaining_quota is not None and remaining_quota <= 0:
            raise ApiError("QUOTA_EXCEEDED", "The quota of the plan is used up.")
        connection.execute(
            """INSERT INTO charges (at, api_key, job_id, document_sha256, pages, vendor)
               VALUES (?, ?, ?, ?, 1, 'billflowai')""",
            (get_utc_timestamp(), file.api_key, job_id, file.sha256),
        )

    def list_invoices_and_count(self, api_key: str, *, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Return a page of the key's invoices, newest first, and the number of all."""
        connection = self._journal.connection
        count_row = connection.execute(
            "SELECT count(*) FROM billflowai_invoices WHERE api_key = ?", (api_key,)
        ).fetchone()
        rows = connection.execute(
            "SELECT * FROM billflowai_invoices WHERE api_key = ? ORDER BY seq DESC LIMIT ? OFFSET ?",
            (api_key, limit, offset),
        )
        return [_build_invoice_body(row) for row in rows], int(count_row[0])

    def find_invoice(self, api_key: str, invoice_id: str) -> dict[str, Any] | None:
        """Return the key's invoice of this id, or None."""
        row = self._journal.connection.execute(
            "SELECT * FROM billflowai_invoices WHERE api_key = ? AND id = ?", (api_key, invoice_id)
        ).fetchone()
        return _build_invoice_body(row) if row else None

    def update_invoice(self, invoice_id: str, invoice_kind: str, parsed_data: dict[str, Any]) -> None:
        """Store the corrected kind and fields of an invoice."""
        number = parsed_data.get("invoice_number")
        with self._journal.begin_transaction() as connection:
            connection.execute(
                "UPDATE billflowai_invoices SET kind = ?, parsed = ?, number = ? WHERE id = ?",
                (invoice_kind, render_json(parsed_data), number if isinstance(number, str) else None, invoice_id),
            )

    def delete_invoice(self, invoice_id: str) -> None:
        """Delete an invoice and the cache entries of its files, which then count as new again."""
        with self._journal.begin_transaction() as connection:
            connection.execute("DELETE FROM billflowai_readings WHERE invoice_id = ?", (invoice_id,))
            connection.execute("DELETE FROM billflowai_invoices WHERE id = ?", (invoice_id,))


def _build_invoice_body(row: sqlite3.Row) -> dict[str, Any]:
    """Return an invoice as a JSON body; the vendor does not document this shape."""
    parsed_data = parse_json(row["parsed"].encode())
    number, counterparty = (
        value if isinstance(value := parsed_data.get(name), str) else None
        for name in ("invoice_number", "counterparty")
    )
    return {
        "id": row["id"],
        "invoice_number": number,
        "counterparty": counterparty,
        "invoice_kind": row["kind"],
        "file_url": row["file_url"],
        "created_at": row["created_at"],
        "parsed_data": parsed_data,
    }
