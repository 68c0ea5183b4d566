"""Detects, when a home opens its ledger, that the ledger is not the one, or not as far, as the home knows."""

from __future__ import annotations

from invoices.ledger.high_water_mark import HighWaterMark, HighWaterMarkFile
from invoices.ledger.identity import (
    RecoveryReason,
    begin_recovery,
    find_restore_time,
    get_ledger_id,
    is_known_ledger_id,
    renew_ledger_id,
)
from invoices.ledger.ledger import Ledger, find_note, get_counter_value, set_note

RESTORED_REMARK = (
    "The ledger was restored from a backup, or is another one than before (noticed at {noticed_at:%Y-%m-%d %H:%MZ}). "
    "What was exported, sent and submitted without a record in it is looked up before anything is repeated."
)
REPORTED_NOTE = "reported_recovery"


def check_ledger_identity(ledger: Ledger, mark_file: HighWaterMarkFile) -> str:
    """Compare the ledger with the home's mark; return the ledger's id.

    A restored ledger gets a new id, and a recovery begins: everything is looked up before it is sent.
    """
    mark = mark_file.read()
    with ledger.open_snapshot() as connection:
        ledger_id, revision = get_ledger_id(connection), get_counter_value(connection, "revision")
        is_known = mark is not None and is_known_ledger_id(connection, mark.ledger_id)
    if mark is not None and mark.ledger_id == ledger_id and mark.revision <= revision:
        return ledger_id
    if mark is not None and mark.ledger_id != ledger_id and is_known:  # another home has noticed it already
        mark_file.replace(HighWaterMark(ledger_id, revision))
        return ledger_id
    if mark is None and ledger.was_upgraded:  # a home of an earlier version has no mark
        mark_file.replace(HighWaterMark(ledger_id, revision))
        return ledger_id
    if mark is None:
        return _begin(ledger, mark_file, "joined" if revision else "new")
    return _begin(ledger, mark_file, "restored")


def take_restore_remark(ledger: Ledger) -> str | None:
    """Return a sentence for the first run after the ledger was restored; None for all others."""
    with ledger.open_snapshot() as connection:
        restored_at = find_restore_time(connection)
        is_reported = restored_at is None or find_note(connection, REPORTED_NOTE) == restored_at.isoformat()
    if restored_at is None or is_reported:
        return None
    with ledger.begin_log_transaction() as tx:
        set_note(tx, REPORTED_NOTE, restored_at.isoformat())
    return RESTORED_REMARK.format(noticed_at=restored_at)


def _begin(ledger: Ledger, mark_file: HighWaterMarkFile, reason: RecoveryReason) -> str:
    """Begin a recovery and write the mark; another process may have done so meanwhile, which does no harm."""
    with ledger.begin_log_transaction() as tx:
        begin_recovery(tx, reason)
        ledger_id = renew_ledger_id(tx) if reason == "restored" else get_ledger_id(tx.connection)
        mark = HighWaterMark(ledger_id, get_counter_value(tx.connection, "revision"))
    mark_file.replace(mark)
    return ledger_id
