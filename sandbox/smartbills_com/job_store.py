"""The vendor's jobs: accepted uploads, charged when they are accepted, stored with their bytes."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator

from sandbox.journal import Journal, compute_sha256, get_utc_timestamp
from sandbox.smartbills_com.sample_answers import count_pages

Job = sqlite3.Row


class JobStore:
    """The jobs of all keys; each key sees its own."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def create_job(self, api_key: str, content: bytes, extension: str, *, with_lines: bool) -> Job:
        """Create a job and its charge and store the bytes, in one transaction; on disk when it returns."""
        digest, created_at, file_token = compute_sha256(content), get_utc_timestamp(), secrets.token_urlsafe(24)
        with self._journal.begin_transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (digest, content))
            last_seq = connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()[0]
            job_id = f"inv_{last_seq + 1:08d}"
            connection.execute(
                """INSERT INTO jobs (id, api_key, sha256, file_token, extension, with_lines, created_at, created)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                (job_id, api_key, digest, file_token, extension, with_lines, created_at, time.time()),
            )
            connection.execute(
                "INSERT INTO charges (at, api_key, job_id, document_sha256, pages) VALUES (?, ?, ?, ?, ?)",
                (created_at, api_key, job_id, digest, count_pages(digest)),
            )
        job = self.find_job(api_key, job_id)
        if job is None:
            raise LookupError(job_id)
        return job

    def find_job(self, api_key: str, job_id: str) -> Job | None:
        """Return the key's job of this id, or None."""
        job: Job | None = self._journal.connection.execute(
            "SELECT * FROM jobs WHERE api_key = ? AND id = ?", (api_key, job_id)
        ).fetchone()
        return job

    def iter_newest_jobs(self, api_key: str, limit: int) -> Iterator[Job]:
        """Yield the key's jobs, newest first."""
        yield from self._journal.connection.execute(
            "SELECT * FROM jobs WHERE api_key = ? ORDER BY seq DESC LIMIT ?", (api_key, limit)
        )

    def record_poll(self, job: Job) -> None:
        """Count one poll of a running job."""
        with self._journal.begin_transaction() as connection:
            connection.execute("UPDATE jobs SET polls = polls + 1 WHERE id = ?", (job["id"],))

    def find_uploaded_file(self, file_token: str) -> tuple[bytes, str] | None:
        """Return the bytes and the extension of an upload by the token in its URL, or None."""
        row = self._journal.connection.execute(
            "SELECT bytes, extension FROM jobs JOIN contents USING (sha256) WHERE file_token = ?", (file_token,)
        ).fetchone()
        return (row["bytes"], row["extension"]) if row else None
