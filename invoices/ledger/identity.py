"""The identity of a ledger, and what has to be looked up outside because the ledger may lack records of it.

A restored backup has the id that it had; ``renew_ledger_id`` gives it a new one, because from then on it has another
history than the ledger that was lost. Whatever was derived from the lost history (a warehouse) has the earlier id.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import Connection

from invoices.ledger.ledger import Transaction, find_note, set_note
from invoices.ledger.migrations import LEDGER_ID_NOTE, SCHEMA_VERSION

FORMER_IDS_NOTE = "former_ledger_ids"
RECOVERY_NOTE = "recovery"  # reason and time; after a restore also those of each home that joined since
RecoveryReason = Literal["new", "joined", "restored"]
RecoveryArea = Literal["receipts", "extractions", "documents"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """The ledger may lack records of what was sent before ``since``: look it up before you send it.

    ``reason``: the ledger is ``new``, a home has ``joined`` it that had not used it before, or it was ``restored``.
    """

    reason: RecoveryReason
    since: dt.datetime


def get_ledger_id(connection: Connection) -> str:
    """Return the id of the ledger."""
    ledger_id = find_note(connection, LEDGER_ID_NOTE)
    assert ledger_id is not None  # noqa: S101  every ledger of this schema version has one
    return ledger_id


def build_ledger_key(connection: Connection) -> str:
    """Return what a warehouse is derived from: the id and the schema version of the ledger."""
    return f"{get_ledger_id(connection)} schema {SCHEMA_VERSION}"


def is_known_ledger_id(connection: Connection, ledger_id: str) -> bool:
    """Return whether this is the id of the ledger, or one that it had before."""
    former_ids = (find_note(connection, FORMER_IDS_NOTE) or "").split()
    return ledger_id == get_ledger_id(connection) or ledger_id in former_ids


def renew_ledger_id(tx: Transaction) -> str:
    """Give the ledger a new id, because it was restored; return it."""
    former_ids = (find_note(tx.connection, FORMER_IDS_NOTE) or "").split()
    set_note(tx, FORMER_IDS_NOTE, " ".join((*former_ids, get_ledger_id(tx.connection))))
    new_id = uuid.uuid4().hex
    set_note(tx, LEDGER_ID_NOTE, new_id)
    return new_id


def begin_recovery(tx: Transaction, reason: RecoveryReason) -> None:
    """Record that everything of every area has to be looked up before it is sent, from now on.

    A home that joins a restored ledger does not hide that it was restored, nor when.
    """
    value, previous = f"{reason} {tx.timestamp.isoformat()}", find_note(tx.connection, RECOVERY_NOTE) or ""
    set_note(tx, RECOVERY_NOTE, f"{previous} {value}" if reason == "joined" and previous[:8] == "restored" else value)


def find_recovery(connection: Connection, area: RecoveryArea) -> Recovery | None:
    """Return the recovery of an area that is not completed, or None."""
    value = find_note(connection, RECOVERY_NOTE)
    if value is None or value == find_note(connection, f"recovered_{area}"):
        return None
    reason, since = value.split()[:2]
    return Recovery(cast(RecoveryReason, reason), dt.datetime.fromisoformat(since))


def find_restore_time(connection: Connection) -> dt.datetime | None:
    """Return when it was noticed that the ledger was restored; None if it never was."""
    reason, _, rest = (find_note(connection, RECOVERY_NOTE) or "").partition(" ")
    return dt.datetime.fromisoformat(rest.split()[0]) if reason == "restored" else None


def complete_recovery(tx: Transaction, area: RecoveryArea) -> None:
    """Record that the ledger now has a record of everything in an area that was sent before."""
    value = find_note(tx.connection, RECOVERY_NOTE)
    if value is not None:
        set_note(tx, f"recovered_{area}", value)
