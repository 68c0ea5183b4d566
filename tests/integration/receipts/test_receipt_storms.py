"""Storms: faults of every kind in every order over several runs, and each invoice ends with exactly one receipt."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.receipts.publishing_harness import (
    REPEAT_AFTER,
    PublishingHarness,
    build_invoices,
    list_receipt_ids,
)
from tests.sweep_size import spread

pytestmark = pytest.mark.no_cover  # many paths through lines that other tests measure

INVOICE_COUNT = 8
MAX_RUNS = 40
QUIET: Mapping[str, Any] = {
    "lost_response": 0, "http_500_after_work": 0, "garbled_create": 0, "garbled_list": 0, "empty_list": 0,
    "list_lag": 0, "refused_creations": 0, "http_500_every": 0, "page_shift": 0, "unique_receipt_id": "off",
    "max_page_size": 100,
}  # fmt: skip
CREATION_FAULTS: tuple[Mapping[str, Any], ...] = (
    {"lost_response": 3}, {"http_500_after_work": 3}, {"garbled_create": 3}, {"http_500_every": 2},
    *({"refused_creations": count, "refusal_status": status} for status in (400, 404, 405) for count in (1, 1000)),
)  # fmt: skip
LIST_FAULTS: tuple[Mapping[str, Any], ...] = (
    {}, {"list_lag": 3}, {"list_lag": 1000}, {"garbled_list": 3}, {"garbled_list": 1000}, {"empty_list": 1},
    {"page_shift": 20}, {"unique_receipt_id": "on", "list_lag": 5},
)  # fmt: skip
CLOCKS_AT_FAULT = (-30, 0, 30)  # days by which our clock was wrong when the faults happened
INTERRUPTIONS = ("none", "killed", "restored")


def list_scenarios() -> list[tuple[Mapping[str, Any], Mapping[str, Any], int, str]]:
    scenarios = list(itertools.product(CREATION_FAULTS, LIST_FAULTS, CLOCKS_AT_FAULT, INTERRUPTIONS))
    random.Random(1).shuffle(scenarios)  # noqa: S311  an order, not a secret
    return scenarios


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("creation_fault", "list_fault", "days", "interruption"), spread(list_scenarios(), 16), ids=str
)
def test_in_any_storm_each_invoice_gets_exactly_one_receipt(
    harness: PublishingHarness,
    creation_fault: Mapping[str, Any],
    list_fault: Mapping[str, Any],
    days: int,
    interruption: str,
) -> None:
    invoices = build_invoices(INVOICE_COUNT)
    harness.accept_invoices(*invoices)
    real_now = harness.ledger.now
    harness.ledger.now = lambda: real_now() + dt.timedelta(days=days)
    harness.update_sandbox_settings(**{**QUIET, **creation_fault, **list_fault})
    if interruption == "killed":
        _kill_at_third_receipt(harness)
    for _ in range(2):
        _publish_until_killed(harness, *invoices)
    harness.ledger.now = real_now
    harness.before_create = lambda _receipt_id: None
    if interruption == "restored":
        with harness.ledger.begin_transaction() as tx:  # as it was before anything was sent
            tx.connection.execute(text("update receipts set status = 'pending', reason_code = null, reason = null"))
            tx.connection.execute(text("update receipts set first_sent_at = null, first_missed_at = null"))
    harness.settings_sha256 = "b" * 64
    harness.update_sandbox_settings(**QUIET)
    _publish_until_nothing_waits(harness, *invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("published", None)}


def _kill_at_third_receipt(harness: PublishingHarness) -> None:
    creations = itertools.count(1)

    def interrupt(_receipt_id: str) -> None:
        if next(creations) == 3:  # of two runs
            raise KeyboardInterrupt

    harness.before_create = interrupt


def _publish_until_killed(harness: PublishingHarness, *invoices: Any) -> None:
    try:
        harness.publish_receipts(*invoices)
    except KeyboardInterrupt:
        return


def _publish_until_nothing_waits(harness: PublishingHarness, *invoices: Any) -> None:
    """Run again and again, each time after the minimum time by the vendor's clock."""
    for run in range(1, MAX_RUNS):
        harness.update_sandbox_settings(clock_shift_seconds=run * (REPEAT_AFTER.total_seconds() + 5))
        harness.publish_receipts(*invoices)
        if {harness.get_receipt_status(invoice)[0] for invoice in invoices} == {"published"}:
            return
    pytest.fail(f"something still waits: {[harness.get_receipt_status(invoice) for invoice in invoices]}")
