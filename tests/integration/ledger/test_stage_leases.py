"""Stage leases: one holder at a time; a holder that was overtaken records nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from invoices.ledger import Ledger
from invoices.ledger.stage_leases import (
    STAGE_LEASE_DURATION,
    acquire_stage_lease,
    extend_stage_lease,
    find_stage_lease_holder,
    holds_stage_lease,
    release_stage_lease,
)

SECOND = dt.timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.time = dt.datetime(2026, 11, 1, 10, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(ledger_url, now=clock)
    yield opened
    opened.close()


def test_a_second_worker_gets_no_lease_before_the_first_has_released_it(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        first = acquire_stage_lease(tx, "publish", "a")
        assert first is not None
        assert acquire_stage_lease(tx, "publish", "b") is None
        assert acquire_stage_lease(tx, "export", "b") is not None
        assert find_stage_lease_holder(tx.connection, "publish", tx.timestamp) == "a"
        release_stage_lease(tx, first)
        assert find_stage_lease_holder(tx.connection, "publish", tx.timestamp) is None
        assert not holds_stage_lease(tx, first)
        second = acquire_stage_lease(tx, "publish", "b")
        assert second is not None
        assert second.token > first.token


def test_an_overtaken_holder_neither_holds_nor_extends_nor_releases_the_lease_of_the_next(
    ledger: Ledger, clock: Clock
) -> None:
    with ledger.begin_transaction() as tx:
        first = acquire_stage_lease(tx, "publish", "a")
    assert first is not None
    clock.time += STAGE_LEASE_DURATION - SECOND
    with ledger.begin_transaction() as tx:
        assert holds_stage_lease(tx, first)
        assert acquire_stage_lease(tx, "publish", "b") is None
    clock.time += SECOND
    with ledger.begin_transaction() as tx:
        assert not holds_stage_lease(tx, first)
        second = acquire_stage_lease(tx, "publish", "b")
        assert second is not None
    with ledger.begin_transaction() as tx:
        assert not extend_stage_lease(tx, first)
        release_stage_lease(tx, first)
        assert holds_stage_lease(tx, second)


def test_a_lease_from_a_clock_that_was_days_ahead_blocks_nobody(ledger: Ledger, clock: Clock) -> None:
    with ledger.begin_transaction() as tx:
        first = acquire_stage_lease(tx, "publish", "a")
    assert first is not None
    clock.time -= dt.timedelta(days=3)
    with ledger.begin_transaction() as tx:
        assert acquire_stage_lease(tx, "publish", "b") is not None
        assert not holds_stage_lease(tx, first)


def test_an_extended_lease_lasts_longer(ledger: Ledger, clock: Clock) -> None:
    with ledger.begin_transaction() as tx:
        lease = acquire_stage_lease(tx, "publish", "a")
    assert lease is not None
    clock.time += STAGE_LEASE_DURATION - SECOND
    with ledger.begin_transaction() as tx:
        assert extend_stage_lease(tx, lease)
    clock.time += STAGE_LEASE_DURATION - SECOND
    with ledger.begin_transaction() as tx:
        assert holds_stage_lease(tx, lease)
