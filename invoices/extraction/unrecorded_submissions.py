"""Submissions that a ledger may lack because it was restored from a backup."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from invoices.ledger import Ledger
from invoices.ledger.identity import find_recovery
from invoices.ledger.sightings import find_first_received_at

RECOVERY_PERIOD = dt.timedelta(days=30)  # how long after a restore a first submission is taken for a possible repeat
MAX_CLOCK_DIFFERENCE = dt.timedelta(days=1)  # between our clock and that of whoever stamped the document


def may_lack_submission(ledger: Ledger, document_sha256: str) -> bool:
    """Return whether a document without a submission in the ledger was perhaps submitted before that was restored."""
    return bool(filter_documents_lacking_submissions(ledger, [document_sha256]))


def filter_documents_lacking_submissions(ledger: Ledger, document_hashes: Sequence[str]) -> set[str]:
    """Return those of the documents that were perhaps submitted before the ledger was restored.

    Those of mails that arrived after the restore was noticed are not; after ``RECOVERY_PERIOD`` none is.
    """
    with ledger.open_snapshot() as connection:
        recovery = find_recovery(connection, "extractions")
        if recovery is None or recovery.reason != "restored" or ledger.now() - recovery.since > RECOVERY_PERIOD:
            return set()
        latest_time = recovery.since + MAX_CLOCK_DIFFERENCE
        received_times = {sha256: find_first_received_at(connection, sha256) for sha256 in document_hashes}
    return {
        sha256 for sha256, received_at in received_times.items() if received_at is None or received_at < latest_time
    }
