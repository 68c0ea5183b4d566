"""The vendor's extractions: accepted once per submission id, charged the moment they complete (sheet 02 §5, §8)."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.invoicedataextraction_com.outcomes import File, Outcome, outcome_of
from sandbox.journal import Journal, now_text

VENDOR = "invoicedataextraction_com"
Row = sqlite3.Row
REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller submits, and how the vendor will take it; ``due`` None is never."""

    request: Mapping[str, Any]
    manner: Mapping[str, Any]
    files: Sequence[int]
    status: str
    error: Mapping[str, Any] | None
    created: float
    due: float | None
    reserved: int
    answer_by: float | None


class Extractions:
    """The extractions of all keys; each key sees its own. Time ends them: whoever looks next writes that down."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._spent: dict[str, int] = {}
        self._outcomes: dict[str, Outcome] = {}

    def accept(self, api_key: str, submission: Submission) -> Row:
        """Create an extraction; on disk when it returns."""
        extraction_id = str(uuid.uuid4())
        with self._journal.writing() as connection:
            seq = connection.execute(
                """INSERT INTO extractions (id, api_key, submission_id, request, manner, status, error, created, at,
                   due, reserved, answer_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    extraction_id, api_key, submission.request["submission_id"], json.dumps(submission.request),
                    json.dumps(submission.manner), submission.status,
                    json.dumps(submission.error) if submission.error else None, submission.created, now_text(),
                    submission.due, submission.reserved, submission.answer_by,
                ),
            ).lastrowid  # fmt: skip
            connection.executemany(
                "INSERT INTO extraction_files VALUES (?, ?, ?)",
                [(seq, position, file) for position, file in enumerate(submission.files)],
            )
            row = connection.execute("SELECT * FROM extractions WHERE seq = ?", (seq,)).fetchone()
            if row["status"] == "processing" and row["due"] == row["created"] and not submission.manner["polls"]:
                self._end(connection, row)
        found = self.find(api_key, extraction_id)
        assert found is not None  # noqa: S101 - it was just written
        return found

    def of_submission(self, api_key: str, submission_id: str) -> Row | None:
        """Return the extraction made under a submission id, deleted or not, or None."""
        query = "SELECT * FROM extractions WHERE api_key = ? AND submission_id = ?"
        found: Row | None = self._journal.connection.execute(query, (api_key, submission_id)).fetchone()
        return found

    def find(self, api_key: str, extraction_id: str) -> Row | None:
        """Return the key's extraction of this id, or None."""
        query = "SELECT * FROM extractions WHERE api_key = ? AND id = ? AND deleted_at IS NULL"
        found: Row | None = self._journal.connection.execute(query, (api_key, extraction_id)).fetchone()
        return found

    def exists(self, extraction_id: str) -> str | None:
        """Return the API key of an extraction that is not deleted, or None."""
        query = "SELECT api_key FROM extractions WHERE id = ? AND deleted_at IS NULL"
        row = self._journal.connection.execute(query, (extraction_id,)).fetchone()
        return str(row["api_key"]) if row else None

    def newest(self, api_key: str, before: int | None) -> Iterator[Row]:
        """Yield the key's extractions older than a sequence number, newest first."""
        query = "SELECT * FROM extractions WHERE api_key = ? AND deleted_at IS NULL AND seq < ? ORDER BY seq DESC"
        yield from self._journal.connection.execute(query, (api_key, before or 2**62))

    def files(self, row: Row) -> list[File]:
        """Return an extraction's files, in the order they were submitted."""
        query = """SELECT file_id, name, sha256 FROM extraction_files JOIN upload_files ON file = upload_files.seq
                   WHERE extraction = ? ORDER BY position"""
        return [File(*found) for found in self._journal.connection.execute(query, (row["seq"],))]

    def outcome(self, row: Row) -> Outcome:
        """Return what an extraction comes to; the latest are remembered, for it never changes."""
        if row["id"] not in self._outcomes:
            while len(self._outcomes) >= REMEMBERED:
                del self._outcomes[next(iter(self._outcomes))]
            self._outcomes[row["id"]] = outcome_of(
                self.files(row), json.loads(row["request"]), json.loads(row["manner"])
            )
        return self._outcomes[row["id"]]

    def settle(self, api_key: str, now: float) -> None:
        """End the key's extractions whose time has come."""
        due = self._journal.connection.execute(
            """SELECT * FROM extractions WHERE api_key = ? AND (
                   (status = 'processing' AND due <= ? AND polls >= json_extract(manner, '$.polls'))
                   OR (status = 'input_required' AND answer_by <= ?))""",
            (api_key, now, now),
        ).fetchall()
        if not due:
            return
        with self._journal.writing() as connection:
            for row in due:
                if row["status"] == "input_required":
                    self._cancel(connection, row, "unanswered", len(self.files(row)))
                else:
                    self._end(connection, row)

    def poll(self, row: Row) -> None:
        """Count one poll of a running extraction."""
        with self._journal.writing(waits=False) as connection:
            connection.execute("UPDATE extractions SET polls = polls + 1 WHERE seq = ?", (row["seq"],))

    def cancel(self, row: Row, reason: str, now: float) -> None:
        """Stop a running extraction; the documents its time sufficed for are charged."""
        count = len(self.files(row))
        with self._journal.writing() as connection:
            self._cancel(connection, row, reason, int(count * share(row, now)))

    def resume(self, row: Row, due: float | None) -> None:
        """Go on with an extraction whose questions are answered."""
        with self._journal.writing() as connection:
            connection.execute("UPDATE extractions SET status = 'processing', due = ? WHERE seq = ?", (due, row["seq"]))

    def delete(self, row: Row) -> None:
        """Hide an extraction from its key."""
        with self._journal.writing() as connection:
            connection.execute("UPDATE extractions SET deleted_at = ? WHERE seq = ?", (now_text(), row["seq"]))

    def spent(self, api_key: str) -> int:
        """Return the pages this vendor charged a key so far."""
        if api_key not in self._spent:
            query = "SELECT coalesce(sum(pages), 0) FROM charges WHERE api_key = ? AND vendor = ?"
            self._spent[api_key] = self._journal.connection.execute(query, (api_key, VENDOR)).fetchone()[0]
        return self._spent[api_key]

    def running(self, api_key: str) -> tuple[int, int]:
        """Return how many extractions of a key run, and the credits they hold."""
        row = self._journal.connection.execute(
            """SELECT count(*), coalesce(sum(reserved), 0) FROM extractions
               WHERE api_key = ? AND status IN ('processing', 'input_required')""",
            (api_key,),
        ).fetchone()
        return row[0], row[1]

    def _end(self, connection: sqlite3.Connection, row: Row) -> None:
        if row["error"]:
            connection.execute("UPDATE extractions SET status = 'failed' WHERE seq = ?", (row["seq"],))
            return
        deducted = self._charge(connection, row, len(self.files(row)))
        connection.execute(
            "UPDATE extractions SET status = 'completed', deducted = ? WHERE seq = ?", (deducted, row["seq"])
        )

    def _cancel(self, connection: sqlite3.Connection, row: Row, reason: str, file_count: int) -> None:
        deducted = self._charge(connection, row, file_count)
        connection.execute(
            """UPDATE extractions SET status = 'cancelled', reason = ?, deducted = ?, cancel_requested_at = ?
               WHERE seq = ?""",
            (reason, deducted, now_text(), row["seq"]),
        )

    def _charge(self, connection: sqlite3.Connection, row: Row, file_count: int) -> int:
        """Charge the successful pages of the first so many files and return how many that are."""
        charged = list(zip(self.files(row), self.outcome(row).pages_read, strict=True))[:file_count]
        connection.executemany(
            "INSERT INTO charges (at, vendor, api_key, job_id, document_sha256, pages) VALUES (?, ?, ?, ?, ?, ?)",
            [(now_text(), VENDOR, row["api_key"], row["id"], file.sha256, pages) for file, pages in charged if pages],
        )
        self._spent.pop(row["api_key"], None)
        return sum(pages for _, pages in charged)


def share(row: Row, now: float) -> float:
    """Return how much of its time an extraction has had, 0 to 1; one that never ends has had none."""
    if row["due"] is None or row["status"] == "input_required":
        return 0.0
    began = float(row["created"])
    return min(1.0, max(0.0, (now - began) / max(float(row["due"]) - began, 0.001)))
