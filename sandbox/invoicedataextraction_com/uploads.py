"""The vendor's upload sessions: declared files, their parts, and the documents they become (sheet 02 §2.1-2.4)."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from sandbox.journal import Journal, now_text, sha256

Row = sqlite3.Row
SESSION_LIVES = 24 * 3600.0


class Uploads:
    """The sessions of all keys; each key sees its own. What is stored here waits for no disk: a submission does."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def create(self, api_key: str, session_id: str, files: Sequence[dict[str, Any]], part_size: int, now: float) -> Row:
        """Create a session with its declared files."""
        with self._journal.writing(waits=False) as connection:
            seq = connection.execute(
                "INSERT INTO upload_sessions (api_key, id, part_size, created, at) VALUES (?, ?, ?, ?, ?)",
                (api_key, session_id, part_size, now, now_text()),
            ).lastrowid
            connection.executemany(
                "INSERT INTO upload_files (session, file_id, name, size, state) VALUES (?, ?, ?, ?, 'open')",
                [(seq, file["file_id"], file["file_name"], file["file_size_bytes"]) for file in files],
            )
        session = self.session(api_key, session_id)
        assert session is not None  # noqa: S101 - it was just written
        return session

    def session(self, api_key: str, session_id: str) -> Row | None:
        """Return the key's session of this id, or None."""
        return self._one("SELECT * FROM upload_sessions WHERE api_key = ? AND id = ?", api_key, session_id)

    def files(self, session: Row) -> list[Row]:
        """Return a session's files, in the order they were declared."""
        query = "SELECT * FROM upload_files WHERE session = ? ORDER BY seq"
        return self._journal.connection.execute(query, (session["seq"],)).fetchall()

    def file(self, session: Row, file_id: str) -> Row | None:
        """Return a session's file of this id, or None."""
        return self._one("SELECT * FROM upload_files WHERE session = ? AND file_id = ?", session["seq"], file_id)

    def file_and_key(self, seq: int) -> Row | None:
        """Return a file with the API key it belongs to, or None."""
        query = """SELECT upload_files.*, api_key FROM upload_files
                   JOIN upload_sessions ON session = upload_sessions.seq WHERE upload_files.seq = ?"""
        return self._one(query, seq)

    def put(self, file: Row, number: int, content: bytes) -> str:
        """Keep the bytes of one part, in place of earlier ones, and return its ETag with the quotes."""
        digest = sha256(content)
        e_tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        with self._journal.writing(waits=False) as connection:
            connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (digest, content))
            connection.execute(
                "REPLACE INTO upload_parts VALUES (?, ?, ?, ?, ?)", (file["seq"], number, e_tag, digest, len(content))
            )
        return e_tag

    def parts(self, file: Row) -> list[Row]:
        """Return the parts of a file that have arrived, by number."""
        query = "SELECT * FROM upload_parts WHERE file = ? ORDER BY number"
        return self._journal.connection.execute(query, (file["seq"],)).fetchall()

    def complete(self, file: Row, parts: Sequence[Row]) -> None:
        """Make one document of a file's parts."""
        digest = parts[0]["sha256"] if len(parts) == 1 else self._joined(parts)
        with self._journal.writing(waits=False) as connection:
            connection.execute(
                "UPDATE upload_files SET state = 'completed', sha256 = ?, completed_at = ? WHERE seq = ?",
                (digest, now_text(), file["seq"]),
            )

    def abort(self, file: Row) -> None:
        """Give a file up for ever; its document needs a new session."""
        with self._journal.writing(waits=False) as connection:
            connection.execute("UPDATE upload_files SET state = 'aborted' WHERE seq = ?", (file["seq"],))

    def _joined(self, parts: Sequence[Row]) -> str:
        whole = hashlib.sha256()
        for part in parts:
            row = self._one("SELECT bytes FROM contents WHERE sha256 = ?", part["sha256"])
            whole.update(row["bytes"] if row else b"")
        return whole.hexdigest()

    def _one(self, query: str, *values: object) -> Row | None:
        found: Row | None = self._journal.connection.execute(query, values).fetchone()
        return found
