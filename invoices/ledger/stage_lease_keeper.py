"""Keeps the leases of the stages that this process works on: acquires, renews, checks and releases them."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.exc import IntegrityError, OperationalError

from invoices.errors import InvoicesError
from invoices.ledger.ledger import Ledger, Transaction
from invoices.ledger.stage_leases import (
    StageLease,
    acquire_stage_lease,
    extend_stage_lease,
    find_stage_lease_holder,
    holds_stage_lease,
    release_stage_lease,
)

# it also runs while the machine is suspended, and nobody sets it
SUSPEND_AWARE_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
RENEWALS_PER_LEASE = 5


class StageLeaseLost(InvoicesError):
    """Another worker has taken over the stage: record nothing and send nothing; it continues where this one stopped."""


class StageLeaseKeeper:
    """The leases of one worker on a ledger. ``duration`` is that of each lease."""

    def __init__(self, ledger: Ledger, holder: str, duration: dt.timedelta) -> None:
        """Keep the dependencies; nothing is acquired yet."""
        self._ledger, self._holder, self._duration = ledger, holder, duration
        self._leases: dict[str, StageLease] = {}
        self._deadlines: dict[str, float] = {}  # on the suspend-aware clock

    @contextmanager
    def hold_stage_lease(self, stage: str) -> Iterator[StageLease | None]:
        """Hold the lease of a stage during the block; yield None, and hold nothing, if another worker has it."""
        started_at = time.clock_gettime(SUSPEND_AWARE_CLOCK)
        lease = self._acquire(stage)
        if lease is None:
            yield None
            return
        self._leases[stage] = lease
        self._deadlines[stage] = started_at + self._duration.total_seconds()
        try:
            with self._renew_in_background(lease):
                yield lease
        finally:
            del self._leases[stage]
            with suppress(OperationalError), self._ledger.begin_log_transaction() as tx:  # otherwise it expires
                release_stage_lease(tx, lease)

    @contextmanager
    def begin_transaction(self, stage: str) -> Iterator[Transaction]:
        """Write everything in the block or nothing, if this worker has the lease of the stage.

        Raises:
            StageLeaseLost: another worker has it.
        """
        lease = self._get_lease(stage)
        with self._ledger.begin_transaction() as tx:
            if not (holds_stage_lease(tx, lease) or extend_stage_lease(tx, lease, self._duration)):
                raise _build_lost_error(lease)
            yield tx

    def require_valid_lease(self, stage: str) -> None:
        """Check the lease just before a request that cannot be undone, with the ledger only if its time is over.

        Raises:
            StageLeaseLost: another worker has it, for example because this process was suspended.
        """
        lease = self._get_lease(stage)
        if time.clock_gettime(SUSPEND_AWARE_CLOCK) >= self._deadlines[stage] and not self._extend(lease):
            raise _build_lost_error(lease)

    def _acquire(self, stage: str) -> StageLease | None:
        try:
            with self._ledger.begin_log_transaction() as tx:
                return acquire_stage_lease(tx, stage, self._holder, self._duration)
        except IntegrityError:  # PostgreSQL: another worker has just recorded the first lease of this stage
            return None

    def _get_lease(self, stage: str) -> StageLease:
        lease = self._leases.get(stage)
        if lease is None:
            raise StageLeaseLost(f"this process does not have the lease of the stage {stage!r}")
        return lease

    def _extend(self, lease: StageLease) -> bool:
        started_at = time.clock_gettime(SUSPEND_AWARE_CLOCK)
        with self._ledger.begin_log_transaction() as tx:
            is_extended = extend_stage_lease(tx, lease, self._duration)
        if is_extended:
            self._deadlines[lease.stage] = started_at + self._duration.total_seconds()
        return is_extended

    @contextmanager
    def _renew_in_background(self, lease: StageLease) -> Iterator[None]:
        stopped = threading.Event()

        def renew_until_stopped() -> None:
            while not stopped.wait(self._duration.total_seconds() / RENEWALS_PER_LEASE):
                with suppress(OperationalError):  # a lease that is not renewed expires, which each transaction detects
                    self._extend(lease)

        renewal_thread = threading.Thread(target=renew_until_stopped, name=f"lease-{lease.stage}", daemon=True)
        renewal_thread.start()
        try:
            yield
        finally:
            stopped.set()
            renewal_thread.join()


def describe_stage_lease_holder(ledger: Ledger, stage: str) -> str:
    """Return who has the lease of a stage, for a person; ``another worker`` if it has just been released."""
    with ledger.open_snapshot() as connection:
        holder = find_stage_lease_holder(connection, stage, ledger.now())
    return f"worker {holder!r}" if holder else "another worker"


def _build_lost_error(lease: StageLease) -> StageLeaseLost:
    return StageLeaseLost(
        f"{lease.stage}: this process was suspended for longer than its lease, and another worker has taken over; "
        "what is left is done by that worker or by the next run"
    )
