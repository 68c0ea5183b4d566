"""Retries: documents that a person has read, extracted and validated again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from invoices.ledger.documents import iter_chunks, set_document_state
from invoices.ledger.extractions import OPEN_STATUSES
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import candidates, documents, exported_invoices, extractions, receipts, sightings
from invoices.ledger.validations import reopen_duplicates

RETRY_REASON_CODE = "retry"
RETRY_REASON = "To be read, extracted and validated again, as a person has asked."
DECIDED_BY_RETRY = "retry"
LOCAL_EXTRACTOR = "einvoice"
OBSTACLES = {
    "accepted": "an invoice in it is accepted, so it stays as it is",
    "unfinished": "it is not finished, and the next run continues it: invoices run",
    "open_submission": "a submission of it is open or its outcome unknown: invoices explain names it",
    "not_scanned": "the malware scanner failed at it, so nothing may open it",
    "set_aside": "its source has set it aside, and only that opens it",
}


def list_documents_to_retry(
    connection: Connection,
    document_hashes: Iterable[str] = (),
    state: str | None = None,
    reason_code: str | None = None,
) -> list[Mapping[str, Any]]:
    """Return the rows of these documents, or if there are none of those with this state and reason, by arrival."""
    conditions: list[ColumnElement[bool]] = []
    if state is not None:
        conditions.append(documents.c.state == state)
    if reason_code is not None:
        conditions.append(documents.c.reason_code == reason_code)
    hashes = list(document_hashes)
    chunks = [documents.c.document_sha256.in_(chunk) for chunk in iter_chunks(hashes)] if hashes else [None]
    rows = []
    for chunk in chunks:
        query = select(documents).where(*conditions)
        query = query if chunk is None else query.where(chunk)
        rows += [dict(row) for row in connection.execute(query).mappings()]
    return sorted(rows, key=lambda row: int(row["sequence"]))


def find_retry_obstacles(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each of the documents that must not be retried the key of ``OBSTACLES`` that says why."""
    hashes = [row["document_sha256"] for row in rows]
    obstacles: dict[str, str] = {}
    for chunk in iter_chunks(hashes):
        skipped = (
            select(sightings.c.document_sha256)
            .where(sightings.c.document_sha256.in_(chunk))
            .group_by(sightings.c.document_sha256)
            .having(func.count() == func.count(sightings.c.skip_reason_code))
        )
        open_jobs = select(extractions.c.document_sha256).where(
            extractions.c.document_sha256.in_(chunk), extractions.c.status.in_(OPEN_STATUSES)
        )
        decided = select(candidates.c.document_sha256).where(
            candidates.c.document_sha256.in_(chunk),
            (candidates.c.verdict == "accepted")
            | candidates.c.invoice_id.in_(select(exported_invoices.c.invoice_id))
            | candidates.c.invoice_id.in_(select(receipts.c.invoice_id)),
        )
        for name, query in (("set_aside", skipped), ("open_submission", open_jobs), ("accepted", decided)):
            obstacles |= dict.fromkeys(connection.scalars(query), name)
    obstacles |= {row["document_sha256"]: "accepted" for row in rows if row["state"] == "accepted"}
    unfinished = {row["document_sha256"]: "unfinished" for row in rows if row["stage"] != "done"}
    return obstacles | unfinished


def mark_for_retry(tx: Transaction, document_hashes: Sequence[str]) -> list[str]:
    """Give the documents back to the first stage; return those that are marked, without those with an obstacle.

    A failed extraction no longer counts, so its vendor may be asked again, under an id of its own; nor does what was
    read locally. The candidates of an earlier validation are quarantined until they are found again, so that none of
    them is the original of a duplicate; their copies are validated again.
    """
    rows = list_documents_to_retry(tx.connection, document_hashes) if document_hashes else []
    obstacles = find_retry_obstacles(tx.connection, rows)
    marked = [row["document_sha256"] for row in rows if row["document_sha256"] not in obstacles]
    for chunk in iter_chunks(marked):
        tx.connection.execute(
            update(extractions)
            .where(
                extractions.c.document_sha256.in_(chunk),
                (extractions.c.status == "failed") | (extractions.c.extracted_by == LOCAL_EXTRACTOR),
            )
            .values(is_superseded=True)
        )
        tx.connection.execute(
            update(candidates)
            .where(candidates.c.document_sha256.in_(chunk))
            .values(verdict="quarantined", decided_by=DECIDED_BY_RETRY, revision=tx.revision)
        )
        query = select(candidates.c.invoice_id).where(candidates.c.document_sha256.in_(chunk))
        reopen_duplicates(tx, list(tx.connection.scalars(query)), marked)
    for sha256 in marked:
        set_document_state(
            tx, sha256, stage="extract_local", state="waiting", reason_code=RETRY_REASON_CODE, reason=RETRY_REASON
        )
    return marked
