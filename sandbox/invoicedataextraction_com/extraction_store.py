"""The vendor's extractions: accepted once per submission id, charged when they complete (sheet 02 §5, §8)."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.invoicedataextraction_com.outcomes import ExtractionOutcome, SubmittedFile, build_outcome
from sandbox.journal import Journal, get_utc_timestamp

VENDOR_NAME = "invoicedataextraction_com"
Row = sqlite3.Row
MAX_CACHED_OUTCOMES = 64


@dataclass(frozen=True, slots=True)
class Submission:
    """A submitted request and how the vendor processes it; ``completes_at`` None means never."""

    request: Mapping[str, Any]
    fixed_settings: Mapping[str, Any]
    file_seqs: Sequence[int]
    status: str
    error: Mapping[str, Any] | None
    created_at: float
    completes_at: float | None
    reserved_credits: int
    answer_deadline: float | None


class ExtractionStore:
    """The extractions of all keys; each key sees its own.

    They end by time: the next call with the same key records it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._charged_pages: dict[str, int] = {}
        self._outcome_cache: dict[str, ExtractionOutcome] = {}

    def create_extraction(self, api_key: str, submission: Submission) -> Row:
        """Create an extraction; on disk when it returns."""
        extraction_id = str(uuid.uuid4())
        with self._journal.begin_transaction() as connection:
            seq = connection.execute(
                """INSERT INTO extractions (id, api_key, submission_id, request, manner, status, error, created, at,
                   due, reserved, answer_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    extraction_id,
                    api_key,
                    submission.request["submission_id"],
                    json.dumps(submission.request),
                    json.dumps(submission.fixed_settings),
                    submission.status,
                    json.dumps(submission.error) if submission.error else None,
                    submission.created_at,
                    get_utc_timestamp(),
                    submission.completes_at,
                    submission.reserved_credits,
                    submission.answer_deadline,
                ),
            ).lastrowid
            connection.executemany(
                "INSERT INTO extraction_files VALUES (?, ?, ?)",
                [(seq, position, file_seq) for position, file_seq in enumerate(submission.file_seqs)],
            )
            row = connection.execute("SELECT * FROM extractions WHERE seq = ?", (seq,)).fetchone()
            if (
                row["status"] == "processing"
                and row["due"] == row["created"]
                and not submission.fixed_settings["polls"]
            ):
                self._finish_extraction(connection, row)
        extraction = self.find_extraction(api_key, extraction_id)
        assert extraction is not None  # noqa: S101 - it was just written
        return extraction

    def find_by_submission_id(self, api_key: str, submission_id: str) -> Row | None:
        """Return the extraction of a submission id, also if it is deleted, or None."""
        query = "SELECT * FROM extractions WHERE api_key = ? AND submission_id = ?"
        row: Row | None = self._journal.connection.execute(query, (api_key, submission_id)).fetchone()
        return row

    def find_extraction(self, api_key: str, extraction_id: str) -> Row | None:
        """Return the key's extraction of this id, or None."""
        query = "SELECT * FROM extractions WHERE api_key = ? AND id = ? AND deleted_at IS NULL"
        row: Row | None = self._journal.connection.execute(query, (api_key, extraction_id)).fetchone()
        return row

    def find_owner_key(self, extraction_id: str) -> str | None:
        """Return the API key of an extraction that is not deleted, or None."""
        query = "SELECT api_key FROM extractions WHERE id = ? AND deleted_at IS NULL"
        row = self._journal.connection.execute(query, (extraction_id,)).fetchone()
        return str(row["api_key"]) if row else None

    def iter_newest_extractions(self, api_key: str, before_seq: int | None) -> Iterator[Row]:
        """Yield the key's extractions older than a sequence number, newest first."""
        query = "SELECT * FROM extractions WHERE api_key = ? AND deleted_at IS NULL AND seq < ? ORDER BY seq DESC"
        yield from self._journal.connection.execute(query, (api_key, before_seq or 2**62))

    def list_files(self, row: Row) -> list[SubmittedFile]:
        """Return an extraction's files, in the order they were submitted."""
        query = """SELECT file_id, name, sha256 FROM extraction_files JOIN upload_files ON file = upload_files.seq
                   WHERE extraction = ? ORDER BY position"""
        return [SubmittedFile(*file_row) for file_row in self._journal.connection.execute(query, (row["seq"],))]

    def get_outcome(self, row: Row) -> ExtractionOutcome:
        """Return the outcome of an extraction; it never changes, so the latest ones are cached."""
        if row["id"] not in self._outcome_cache:
            while len(self._outcome_cache) >= MAX_CACHED_OUTCOMES:
                del self._outcome_cache[next(iter(self._outcome_cache))]
            self._outcome_cache[row["id"]] = build_outcome(
                self.list_files(row), json.loads(row["request"]), json.loads(row["manner"])
            )
        return self._outcome_cache[row["id"]]

    def finish_due_extractions(self, api_key: str, now: float) -> None:
        """End the key's extractions that are due."""
        due_rows = self._journal.connection.execute(
            """SELECT * FROM extractions WHERE api_key = ? AND (
                   (status = 'processing' AND due <= ? AND polls >= json_extract(manner, '$.polls'))
                   OR (status = 'input_required' AND answer_by <= ?))""",
            (api_key, now, now),
        ).fetchall()
        if not due_rows:
            return
        with self._journal.begin_transaction() as connection:
            for row in due_rows:
                if row["status"] == "input_required":
                    self._record_cancellation(connection, row, "unanswered", len(self.list_files(row)))
                else:
                    self._finish_extraction(connection, row)

    def record_poll(self, row: Row) -> None:
        """Count one poll of a running extraction."""
        with self._journal.begin_transaction(wait_for_disk=False) as connection:
            connection.execute("UPDATE extractions SET polls = polls + 1 WHERE seq = ?", (row["seq"],))

    def cancel_extraction(self, row: Row, reason: str, now: float) -> None:
        """Cancel a running extraction and charge the share of its documents that matches the elapsed time."""
        file_count = len(self.list_files(row))
        with self._journal.begin_transaction() as connection:
            self._record_cancellation(connection, row, reason, int(file_count * compute_elapsed_share(row, now)))

    def resume_extraction(self, row: Row, completes_at: float | None) -> None:
        """Resume an extraction whose questions are answered."""
        with self._journal.begin_transaction() as connection:
            connection.execute(
                "UPDATE extractions SET status = 'processing', due = ? WHERE seq = ?", (completes_at, row["seq"])
            )

    def delete_extraction(self, row: Row) -> None:
        """Hide an extraction from its key."""
        with self._journal.begin_transaction() as connection:
            connection.execute("UPDATE extractions SET deleted_at = ? WHERE seq = ?", (get_utc_timestamp(), row["seq"]))

    def sum_charged_pages(self, api_key: str) -> int:
        """Return the pages this vendor charged a key so far."""
        if api_key not in self._charged_pages:
            query = "SELECT coalesce(sum(pages), 0) FROM charges WHERE api_key = ? AND vendor = ?"
            self._charged_pages[api_key] = self._journal.connection.execute(query, (api_key, VENDOR_NAME)).fetchone()[0]
        return self._charged_pages[api_key]

    def count_running_and_reserved_credits(self, api_key: str) -> tuple[int, int]:
        """Return the number of a key's running extractions and the credits that they reserve."""
        row = self._journal.connection.execute(
            """SELECT count(*), coalesce(sum(reserved), 0) FROM extractions
               WHERE api_key = ? AND status IN ('processing', 'input_required')""",
            (api_key,),
        ).fetchone()
        return row[0], row[1]

    def _finish_extraction(self, connection: sqlite3.Connection, row: Row) -> None:
        if row["error"]:
            connection.execute("UPDATE extractions SET status = 'failed' WHERE seq = ?", (row["seq"],))
            return
        deducted_credits = self._record_page_charges(connection, row, len(self.list_files(row)))
        connection.execute(
            "UPDATE extractions SET status = 'completed', deducted = ? WHERE seq = ?", (deducted_credits, row["seq"])
        )

    def _record_cancellation(self, connection: sqlite3.Connection, row: Row, reason: str, file_count: int) -> None:
        deducted_credits = self._record_page_charges(connection, row, file_count)
        connection.execute(
            """UPDATE extractions SET status = 'cancelled', reason = ?, deducted = ?, cancel_requested_at = ?
               WHERE seq = ?""",
            (reason, deducted_credits, get_utc_timestamp(), row["seq"]),
        )

    def _record_page_charges(self, connection: sqlite3.Connection, row: Row, file_count: int) -> int:
        """Charge the successful pages of the first ``file_count`` files and return their number."""
        charged_files = list(zip(self.list_files(row), self.get_outcome(row).read_page_counts, strict=True))[
            :file_count
        ]
        connection.executemany(
            "INSERT INTO charges (at, vendor, api_key, job_id, document_sha256, pages) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (get_utc_timestamp(), VENDOR_NAME, row["api_key"], row["id"], file.sha256, page_count)
                for file, page_count in charged_files
                if page_count
            ],
        )
        self._charged_pages.pop(row["api_key"], None)
        return sum(page_count for _, page_count in charged_files)


def compute_elapsed_share(row: Row, now: float) -> float:
    """Return the elapsed share of an extraction's processing time, 0 to 1; 0 for one that never ends."""
    if row["due"] is None or row["status"] == "input_required":
        return 0.0
    started_at = float(row["created"])
    return min(1.0, max(0.0, (now - started_at) / max(float(row["due"]) - started_at, 0.001)))
