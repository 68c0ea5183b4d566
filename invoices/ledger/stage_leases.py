"""Stage leases: which worker may act outside for a stage, so that several homes on one ledger never do it at once.

A lease has a fencing token: each new holder gets a higher one. Whoever records an intent or a result calls
``holds_stage_lease`` in the same transaction; a worker that was suspended beyond its lease thus records nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import stage_leases

STAGE_LEASE_DURATION = dt.timedelta(minutes=2)
MAX_STAGE_LEASE_DURATION = dt.timedelta(hours=1)  # a lease that ends later was written while a clock was wrong


@dataclass(frozen=True, slots=True)
class StageLease:
    """The right of ``holder`` to act for ``stage``, as long as nobody has a higher ``token``."""

    stage: str
    holder: str
    token: int


def acquire_stage_lease(
    tx: Transaction, stage: str, holder: str, duration: dt.timedelta = STAGE_LEASE_DURATION
) -> StageLease | None:
    """Return a lease for ``holder``, with a new token; None if another holder's lease has not expired.

    A lease that ends later than any can, because its holder's clock was ahead, counts as expired.
    """
    row = tx.connection.execute(_select_lease(stage)).first()
    if row is None:
        tx.connection.execute(
            insert(stage_leases).values(stage=stage, holder=holder, token=1, expires_at=tx.timestamp + duration)
        )
        return StageLease(stage, holder, 1)
    if row.holder != holder and tx.timestamp < row.expires_at <= tx.timestamp + MAX_STAGE_LEASE_DURATION:
        return None
    lease = StageLease(stage, holder, row.token + 1)
    tx.connection.execute(
        update(stage_leases)
        .where(stage_leases.c.stage == stage)
        .values(holder=holder, token=lease.token, expires_at=tx.timestamp + duration)
    )
    return lease


def extend_stage_lease(tx: Transaction, lease: StageLease, duration: dt.timedelta = STAGE_LEASE_DURATION) -> bool:
    """Extend the lease, even if it has expired; return False if another worker has got a higher token."""
    return bool(_update_own_lease(tx, lease, tx.timestamp + duration))


def release_stage_lease(tx: Transaction, lease: StageLease) -> None:
    """Let the lease expire now, unless another worker has got a higher token."""
    _update_own_lease(tx, lease, tx.timestamp)


def holds_stage_lease(tx: Transaction, lease: StageLease) -> bool:
    """Return whether nobody has got a higher token, and the lease has not expired."""
    row = tx.connection.execute(_select_lease(lease.stage)).first()
    return row is not None and row.token == lease.token and row.expires_at > tx.timestamp


def find_stage_lease_holder(connection: Connection, stage: str, now: dt.datetime) -> str | None:
    """Return the worker that has a lease for the stage that has not expired, or None."""
    row = connection.execute(select(stage_leases).where(stage_leases.c.stage == stage)).first()
    return row.holder if row is not None and row.expires_at > now else None


def list_stage_lease_holders(connection: Connection, now: dt.datetime) -> list[str]:
    """Return the workers that hold a lease that has not expired; a released one has."""
    return sorted(connection.scalars(select(stage_leases.c.holder).where(stage_leases.c.expires_at > now).distinct()))


def expire_stage_leases(tx: Transaction, holder: str) -> None:
    """Let all leases of a dead worker expire now."""
    tx.connection.execute(
        update(stage_leases)
        .where(stage_leases.c.holder == holder, stage_leases.c.expires_at > tx.timestamp)
        .values(expires_at=tx.timestamp)
    )


def _select_lease(stage: str) -> Select[Any]:
    return select(stage_leases).where(stage_leases.c.stage == stage).with_for_update()


def _update_own_lease(tx: Transaction, lease: StageLease, expires_at: dt.datetime) -> int:
    return tx.connection.execute(
        update(stage_leases)
        .where(stage_leases.c.stage == lease.stage, stage_leases.c.token == lease.token)
        .values(expires_at=expires_at)
    ).rowcount
