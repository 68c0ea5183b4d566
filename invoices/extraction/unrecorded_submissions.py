"""Submissions that a ledger may lack because it was restored from a backup."""

from __future__ import annotations

import datetime as dt

from invoices.ledger import Ledger
from invoices.ledger.identity import find_recovery
from invoices.ledger.sightings import find_first_received_at

RECOVERY_PERIOD = dt.timedelta(days=30)  # how long after a restore a first submission is taken for a possible repeat
MAX_CLOCK_DIFFERENCE = dt.timedelta(days=1)  # between our clock and that of whoever stamped the document


def may_lack_submission(ledger: Ledger, document_sha256: str) -> bool:
    """Return whether a document without a submission in the ledger was perhaps submitted before that was restored.

    That is not so for a mail that arrived after the restore was noticed, and not considered after ``RECOVERY_PERIOD``.
    """
    with ledger.open_snapshot() as connection:
        recovery = find_recovery(connection, "extractions")
        if recovery is None or recovery.reason != "restored" or ledger.now() - recovery.since > RECOVERY_PERIOD:
            return False
        received_at = find_first_received_at(connection, document_sha256)
    return received_at is None or received_at < recovery.since + MAX_CLOCK_DIFFERENCE
