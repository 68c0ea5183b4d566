"""Receipts that the vendor may have: lists that lag, wrong clocks, ledgers that are behind. None is created twice."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from invoices.ledger import tables
from invoices.ledger.identity import RecoveryReason, begin_recovery, find_recovery
from invoices.model import Invoice, format_receipt_id
from tests.integration.receipts.publishing_harness import (
    REPEAT_AFTER,
    PublishingHarness,
    build_invoice,
    build_invoices,
    list_receipt_ids,
)

AFTER_REPEAT_SECONDS = REPEAT_AFTER.total_seconds() + 60
UNCLEAR_FAULTS = ("lost_response", "http_500_after_work", "garbled_create")
NO_LAG, LONG_LAG = 0, 1000


def change_receipt(harness: PublishingHarness, invoice: Invoice, **values: Any) -> None:
    with harness.ledger.begin_transaction() as tx:
        tx.connection.execute(
            update(tables.receipts).where(tables.receipts.c.invoice_id == invoice.invoice_id).values(**values)
        )


def interrupt_after_intent(harness: PublishingHarness, *invoices: Invoice) -> None:
    """Let a run die when it is about to send the first receipt."""

    def interrupt(_receipt_id: str) -> None:
        raise KeyboardInterrupt

    harness.before_create = interrupt
    with pytest.raises(KeyboardInterrupt):
        harness.publish_receipts(*invoices)
    harness.before_create = lambda _receipt_id: None


@pytest.mark.parametrize("fault", UNCLEAR_FAULTS)
def test_a_receipt_that_the_list_shows_late_is_never_created_again(harness: PublishingHarness, fault: str) -> None:
    invoice, other_invoice = build_invoices(2)
    harness.accept_invoices(invoice, other_invoice)
    harness.update_sandbox_settings(**{fault: 1, "list_lag": LONG_LAG})
    for _ in range(3):
        harness.publish_receipts(invoice, other_invoice)
        assert harness.get_receipt_status(invoice) == ("sending", "not_found_yet")
        assert harness.get_receipt_status(other_invoice) == ("published", None)
    harness.update_sandbox_settings(list_lag=NO_LAG, clock_shift_seconds=AFTER_REPEAT_SECONDS)
    assert harness.publish_receipts(invoice, other_invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice, other_invoice)
    assert harness.get_receipt_status(invoice) == ("published", None)


def test_a_receipt_that_was_never_created_is_created_after_the_minimum_time_and_two_looks(
    harness: PublishingHarness,
) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    interrupt_after_intent(harness, invoice)
    assert harness.publish_receipts(invoice)
    assert harness.get_receipt_status(invoice) == ("sending", "not_found_yet")
    assert harness.result.status_counts["waiting"] == 1
    row = harness.get_receipt_row(invoice)
    harness.publish_receipts(invoice)
    assert harness.get_receipt_row(invoice) == row
    harness.update_sandbox_settings(clock_shift_seconds=REPEAT_AFTER.total_seconds() - 60)
    harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == []
    harness.update_sandbox_settings(clock_shift_seconds=AFTER_REPEAT_SECONDS)
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)


def test_without_a_time_of_the_vendor_our_clock_is_used(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    interrupt_after_intent(harness, invoice)
    harness.vendor_has_clock = False
    harness.update_sandbox_settings(clock_shift_seconds=AFTER_REPEAT_SECONDS)
    for _ in range(2):
        harness.publish_receipts(invoice)
        assert harness.get_receipt_status(invoice) == ("sending", "not_found_yet")
    change_receipt(harness, invoice, first_missed_at=dt.datetime.now(dt.UTC) - REPEAT_AFTER)
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)


def test_without_a_minimum_time_one_look_is_enough(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    interrupt_after_intent(harness, invoice)
    harness.repeat_after = dt.timedelta(0)
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)


@pytest.mark.parametrize("days", [-4000, -30, -2, 2, 30, 4000])
def test_a_clock_that_was_wrong_when_the_receipt_was_sent_causes_no_second_one(
    harness: PublishingHarness, days: int
) -> None:
    invoice, *others = build_invoices(3)
    harness.accept_invoices(invoice)
    harness.update_sandbox_settings(lost_response=1, list_lag=LONG_LAG)
    real_now = harness.ledger.now
    harness.ledger.now = lambda: real_now() + dt.timedelta(days=days)
    harness.publish_receipts(invoice)
    harness.ledger.now = real_now
    harness.publish_receipts(invoice)
    harness.update_sandbox_settings(list_lag=NO_LAG)
    harness.accept_invoices(*others)
    assert harness.publish_receipts(invoice, *others)
    assert harness.list_created_receipts() == list_receipt_ids(invoice, *others)


def test_a_time_of_the_vendor_that_turns_out_too_late_delays_a_receipt_and_does_not_block_it(
    harness: PublishingHarness,
) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    interrupt_after_intent(harness, invoice)
    change_receipt(harness, invoice, first_missed_at=dt.datetime(2999, 1, 1, tzinfo=dt.UTC))
    harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == []
    harness.update_sandbox_settings(clock_shift_seconds=AFTER_REPEAT_SECONDS)
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)


@pytest.mark.parametrize("form", ["html", "cut", "no_list", "entry_without_id", "null", "empty"])
def test_garbled_lists_are_read_again_and_stop_nothing(harness: PublishingHarness, form: str) -> None:
    invoices = build_invoices(3)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(garbled_list=3, garbled_form=form)
    assert harness.publish_receipts(*invoices)
    assert harness.result.problems == []
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_a_garbled_list_after_an_unclear_answer_stops_nothing(harness: PublishingHarness) -> None:
    invoices = build_invoices(8)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(http_500_after_work=2)
    harness.before_create = lambda _receipt_id: harness.update_sandbox_settings(garbled_list=2)
    assert harness.publish_receipts(*invoices)
    assert harness.result.problems == []
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_lists_that_stay_garbled_stop_the_stage_and_nothing_is_created(harness: PublishingHarness) -> None:
    invoices = build_invoices(8)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(garbled_list=1000)
    assert not harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == []
    harness.update_sandbox_settings(garbled_list=0)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def forget_publishing(harness: PublishingHarness, *invoices: Invoice) -> None:
    """Leave the ledger as a backup from before these receipts were sent."""
    for invoice in invoices:
        change_receipt(
            harness, invoice, status="pending", remote_id=None, first_sent_at=None, first_missed_at=None,
            published_at=None,
        )  # fmt: skip


@pytest.mark.parametrize("empty_lists", [0, 1])
def test_a_ledger_behind_the_vendor_adopts_what_is_there(harness: PublishingHarness, empty_lists: int) -> None:
    invoices = build_invoices(6)
    harness.accept_invoices(*invoices[:4])
    harness.publish_receipts(*invoices[:4])
    forget_publishing(harness, *invoices[1:4])
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(empty_list=empty_lists)
    harness.publish_receipts(*invoices)
    assert {harness.get_receipt_status(invoice) for invoice in invoices[:4]} == {("published", None)}
    assert harness.list_created_receipts() == list_receipt_ids(*invoices[:4])
    assert {harness.get_receipt_status(invoice) for invoice in invoices[4:]} == {("waiting", "not_found_yet")}
    harness.update_sandbox_settings(clock_shift_seconds=AFTER_REPEAT_SECONDS)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_receipts_of_invoices_that_come_back_later_are_adopted_too(harness: PublishingHarness) -> None:
    """The documents of a restored ledger may be collected again long after other receipts were published."""
    lost_invoices, new_invoices = build_invoices(20)[:3], [build_invoice(str(number)) for number in range(30, 150)]
    harness.repeat_after = dt.timedelta(0)
    harness.accept_invoices(*lost_invoices)
    harness.publish_receipts(*lost_invoices)
    with harness.ledger.begin_transaction() as tx:
        tx.connection.execute(delete(tables.receipts))
        tx.connection.execute(delete(tables.candidates))
    harness.accept_invoices(*new_invoices)
    for _ in range(2):
        harness.publish_receipts(*new_invoices)  # a hundred at a time
    harness.accept_invoices(*lost_invoices)
    assert harness.publish_receipts(*lost_invoices, *new_invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*lost_invoices, *new_invoices)
    assert {harness.get_receipt_status(invoice) for invoice in lost_invoices} == {("published", None)}


def test_receipts_of_others_in_the_account_do_not_hide_ours(harness: PublishingHarness) -> None:
    invoices = build_invoices(2)
    harness.accept_invoices(*invoices)
    harness.publish_receipts(invoices[0])
    forget_publishing(harness, invoices[0])
    harness.update_sandbox_settings(page_shift=1, max_page_size=100)
    for _ in range(2):
        harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(invoices[0])


def test_a_restored_ledger_looks_up_each_receipt_and_lets_it_wait(harness: PublishingHarness) -> None:
    invoices = build_invoices(2)
    harness.accept_invoices(*invoices)
    with harness.ledger.begin_transaction() as tx:
        begin_recovery(tx, "restored")
    harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == []
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("waiting", "not_found_yet")}
    harness.update_sandbox_settings(clock_shift_seconds=AFTER_REPEAT_SECONDS)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_a_restored_ledger_creates_nothing_again_although_the_list_lags(harness: PublishingHarness) -> None:
    invoices = build_invoices(4)
    harness.accept_invoices(*invoices[:3])
    harness.update_sandbox_settings(list_lag=LONG_LAG)
    harness.publish_receipts(*invoices[:3])
    forget_publishing(harness, *invoices[:3])
    with harness.ledger.begin_transaction() as tx:
        begin_recovery(tx, "restored")
    harness.accept_invoices(*invoices)
    harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices[:3])
    harness.update_sandbox_settings(list_lag=NO_LAG, clock_shift_seconds=AFTER_REPEAT_SECONDS)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


@pytest.mark.parametrize(("reason", "days", "is_complete"), [
    ("new", 0, True), ("joined", 0, True), ("restored", 0, False), ("restored", 2, True),
])  # fmt: skip
def test_a_recovery_ends_when_the_list_was_read(
    harness: PublishingHarness, reason: RecoveryReason, days: int, is_complete: bool
) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    with harness.ledger.begin_transaction() as tx:
        begin_recovery(replace(tx, timestamp=tx.timestamp - dt.timedelta(days=days)), reason)
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == ([] if reason == "restored" else list_receipt_ids(invoice))
    with harness.ledger.open_snapshot() as connection:
        assert (find_recovery(connection, "receipts") is None) == is_complete


def test_a_receipt_that_the_ledger_has_as_never_sent_shows_that_it_was_restored(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.publish_receipts(invoice)
    forget_publishing(harness, invoice)
    harness.publish_receipts(invoice)
    with harness.ledger.open_snapshot() as connection:
        recovery = find_recovery(connection, "extractions")
    assert recovery is not None
    assert recovery.reason == "restored"


def test_a_lookup_costs_one_reading_of_the_list_however_many_receipts_are_unclear(harness: PublishingHarness) -> None:
    invoices = build_invoices(8)
    harness.accept_invoices(*invoices)
    with harness.ledger.begin_transaction() as tx:
        tx.connection.execute(text("update receipts set status = 'sending', first_sent_at = changed_at"))
    harness.publish_receipts(*invoices)
    assert harness.count_requests("GET") == 2 + 2
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("sending", "not_found_yet")}


def test_an_ordinary_run_costs_one_look_and_one_request_per_receipt(harness: PublishingHarness) -> None:
    invoices = build_invoices(8)
    harness.accept_invoices(*invoices[:4])
    harness.publish_receipts(*invoices[:4])
    before = harness.count_requests("GET")
    harness.accept_invoices(*invoices)
    assert harness.publish_receipts(*invoices)
    assert harness.count_requests("GET") - before == 1
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)
    assert format_receipt_id(invoices[0].invoice_id) in harness.list_created_receipts()
