"""The vendor's upload sessions: declared files, their parts, and the completed documents (sheet 02 §2.1-2.4)."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from sandbox.journal import Journal, compute_sha256, get_utc_timestamp

Row = sqlite3.Row
SESSION_LIFETIME_SECONDS = 24 * 3600.0


class UploadStore:
    """The upload sessions of all keys; each key sees its own.

    Writes do not wait for the disk; the later submission does.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def create_session(
        self, api_key: str, session_id: str, files: Sequence[dict[str, Any]], part_size: int, now: float
    ) -> Row:
        """Create a session with its declared files."""
        with self._journal.begin_transaction(wait_for_disk=False) as connection:
            seq = connection.execute(
                "INSERT INTO upload_sessions (api_key, id, part_size, created, at) VALUES (?, ?, ?, ?, ?)",
                (api_key, session_id, part_size, now, get_utc_timestamp()),
            ).lastrowid
            connection.executemany(
                "INSERT INTO upload_files (session, file_id, name, size, state) VALUES (?, ?, ?, ?, 'open')",
                [(seq, file["file_id"], file["file_name"], file["file_size_bytes"]) for file in files],
            )
        session = self.find_session(api_key, session_id)
        assert session is not None  # noqa: S101 - it was just written
        return session

    def find_session(self, api_key: str, session_id: str) -> Row | None:
        """Return the key's session of this id, or None."""
        return self._find_row("SELECT * FROM upload_sessions WHERE api_key = ? AND id = ?", api_key, session_id)

    def list_files(self, session: Row) -> list[Row]:
        """Return a session's files, in the order they were declared."""
        query = "SELECT * FROM upload_files WHERE session = ? ORDER BY seq"
        return self._journal.connection.execute(query, (session["seq"],)).fetchall()

    def find_file(self, session: Row, file_id: str) -> Row | None:
        """Return a session's file of this id, or None."""
        return self._find_row("SELECT * FROM upload_files WHERE session = ? AND file_id = ?", session["seq"], file_id)

    def find_file_with_api_key(self, seq: int) -> Row | None:
        """Return a file with the API key it belongs to, or None."""
        query = """SELECT upload_files.*, api_key FROM upload_files
                   JOIN upload_sessions ON session = upload_sessions.seq WHERE upload_files.seq = ?"""
        return self._find_row(query, seq)

    def record_part(self, file: Row, part_number: int, content: bytes) -> str:
        """Store the bytes of one part, replacing earlier ones, and return its ETag with the quotes."""
        digest = compute_sha256(content)
        e_tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        with self._journal.begin_transaction(wait_for_disk=False) as connection:
            connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (digest, content))
            connection.execute(
                "REPLACE INTO upload_parts VALUES (?, ?, ?, ?, ?)",
                (file["seq"], part_number, e_tag, digest, len(content)),
            )
        return e_tag

    def list_parts(self, file: Row) -> list[Row]:
        """Return the parts of a file that have arrived, by number."""
        query = "SELECT * FROM upload_parts WHERE file = ? ORDER BY number"
        return self._journal.connection.execute(query, (file["seq"],)).fetchall()

    def mark_file_completed(self, file: Row, parts: Sequence[Row]) -> None:
        """Record that a file is complete, with the hash of its joined parts."""
        digest = parts[0]["sha256"] if len(parts) == 1 else self._hash_joined_parts(parts)
        with self._journal.begin_transaction(wait_for_disk=False) as connection:
            connection.execute(
                "UPDATE upload_files SET state = 'completed', sha256 = ?, completed_at = ? WHERE seq = ?",
                (digest, get_utc_timestamp(), file["seq"]),
            )

    def mark_file_aborted(self, file: Row) -> None:
        """Record that a file is aborted; its document needs a new session."""
        with self._journal.begin_transaction(wait_for_disk=False) as connection:
            connection.execute("UPDATE upload_files SET state = 'aborted' WHERE seq = ?", (file["seq"],))

    def _hash_joined_parts(self, parts: Sequence[Row]) -> str:
        hasher = hashlib.sha256()
        for part in parts:
            row = self._find_row("SELECT bytes FROM contents WHERE sha256 = ?", part["sha256"])
            hasher.update(row["bytes"] if row else b"")
        return hasher.hexdigest()

    def _find_row(self, query: str, *values: object) -> Row | None:
        row: Row | None = self._journal.connection.execute(query, values).fetchone()
        return row
