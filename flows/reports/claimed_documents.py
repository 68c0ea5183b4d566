"""Documents that wait because a worker has claimed them: who, how many, and when they are free at the latest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.plurals import format_count
from invoices.app import App
from invoices.ledger.claims import ClaimSummary, list_valid_claims
from invoices.ledger.documents import Stage


def list_claims_of_others(app: App, stage: Stage | None = None) -> list[ClaimSummary]:
    """Return what other workers have claimed, of the documents that wait for ``stage`` or for any stage."""
    with app.ledger.open_snapshot() as connection:
        claims = list_valid_claims(connection, app.ledger.now(), stage)
    return [claim for claim in claims if claim.holder != app.worker_name]


def describe_claims_of_others(app: App, stage: Stage) -> list[str]:
    """Return a sentence about each other worker that has claimed documents which wait for ``stage``."""
    return [
        f"{format_count(claim.document_count, 'document')} left to worker {claim.holder!r}. If it no longer runs, "
        f"a run after {claim.expires_at:%Y-%m-%d %H:%M:%SZ} continues with them."
        for claim in list_claims_of_others(app, stage)
    ]


def claims_to_json(claims: Sequence[ClaimSummary]) -> list[dict[str, Any]]:
    """Return the claims as JSON values."""
    return [
        {
            "worker": claim.holder,
            "documents": claim.document_count,
            "free_at": claim.expires_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        for claim in claims
    ]


def format_claims(claims: Sequence[ClaimSummary]) -> str:
    """Return the claims as lines for a person; nothing without any."""
    if not claims:
        return ""
    lines = [
        f"  {claim.document_count:>8,}  {claim.holder}, until {claim.expires_at:%Y-%m-%d %H:%M:%SZ} at the latest"
        for claim in claims
    ]
    return "\n".join(["Claimed by workers (renewed while they run)", *lines])
