"""What becomes of a paid job, written together with where its document stands."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from invoices.ledger import Transaction
from invoices.ledger.documents import settle
from invoices.ledger.extractions import Job, advance


def record_submitted(tx: Transaction, extraction: str, document: str, vendor: str, remote_id: str) -> None:
    """Write the vendor's id of a submission; the document waits for its answer."""
    advance(tx, extraction, "submitted", remote_id=remote_id, submitted_at=tx.at, pages_charged=1)
    reason = f"Submitted to {vendor}; not answered yet."
    settle(tx, document, stage="ask", state="waiting", reason_code="submitted", reason=reason)


def record_answered(tx: Transaction, job: Job, vendor: str, data: dict[str, Any]) -> None:
    """Write the answer as it came; the document waits to be judged."""
    advance(tx, job.extraction_id, "answered", payload=_as_json(data), answered_at=tx.at)
    reason = f"Answered by {vendor}; not judged yet."
    settle(tx, job.document_sha256, stage="judge", state="waiting", reason_code="answered", reason=reason)


def record_failed(tx: Transaction, job: Job, reason_code: str, reason: str) -> None:
    """Write that there will be no answer; the document is set aside."""
    advance(tx, job.extraction_id, "failed", message=reason, answered_at=tx.at)
    set_aside(tx, job.document_sha256, reason_code, reason)


def set_aside(tx: Transaction, document: str, reason_code: str, reason: str) -> None:
    """Set a document aside for a person."""
    settle(tx, document, stage="done", state="quarantined", reason_code=reason_code, reason=reason)


def leave_waiting(tx: Transaction, document: str, reason_code: str, reason: str) -> None:
    """Leave a document to a later run."""
    settle(tx, document, stage="ask", state="waiting", reason_code=reason_code, reason=reason)


def _as_json(data: dict[str, Any]) -> str:
    """Return JSON in which every fraction stands as its exact decimal text, and U+FFFD for half a character."""

    def exact(value: object) -> str:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"not JSON: {type(value).__name__}")

    text = json.dumps(data, ensure_ascii=False, default=exact, allow_nan=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
