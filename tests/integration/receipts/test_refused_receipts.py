"""Receipts that the vendor refuses: one is about the receipt, several in a row are about the settings."""

from __future__ import annotations

import pytest

from invoices.ledger.outbox import release_receipts
from invoices.model import Invoice
from invoices.receipts.publisher import REFUSALS_IN_A_ROW_TO_STOP
from tests.integration.receipts.publishing_harness import (
    PublishingHarness,
    build_invoice,
    build_invoices,
    list_receipt_ids,
)

STATUSES = {400: "request_refused", 404: "route_refused", 405: "route_refused", 413: "document_too_large",
            422: "content_refused"}  # fmt: skip


def list_statuses(harness: PublishingHarness, invoices: list[Invoice]) -> list[tuple[str, str | None]]:
    return [harness.get_receipt_status(invoice) for invoice in invoices]


@pytest.mark.parametrize("status", STATUSES)
def test_a_refusal_of_one_receipt_is_a_problem_and_does_not_stop_the_others(
    harness: PublishingHarness, status: int
) -> None:
    invoices = build_invoices(8)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(refused_creations=1, refusal_status=status)
    assert harness.publish_receipts(*invoices)
    assert harness.get_receipt_status(invoices[0]) == ("failed", STATUSES[status])
    assert len(harness.result.problems) == 1
    assert str(status) in harness.result.problems[0]
    assert harness.list_created_receipts() == list_receipt_ids(*invoices[1:])
    assert harness.publish_receipts(*invoices)
    assert (harness.result.problems, harness.result.status_counts.total()) == ([], 0)


@pytest.mark.parametrize("status", sorted(STATUSES.keys() - {413}))
def test_refusals_of_all_receipts_stop_the_stage_and_all_are_sent_once_the_settings_change(
    harness: PublishingHarness, status: int
) -> None:
    invoices = build_invoices(9)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(refused_creations=1000, refusal_status=status)
    assert not harness.publish_receipts(*invoices)
    assert len(harness.result.problems) == 1
    assert "invoices receipts retry" in harness.result.problems[0]
    assert harness.result.status_counts["waiting"] == REFUSALS_IN_A_ROW_TO_STOP
    assert harness.result.status_counts["failed"] == 0
    statuses = list_statuses(harness, invoices)
    assert statuses == [("waiting", "all_refused")] * REFUSALS_IN_A_ROW_TO_STOP + [("pending", None)] * 4
    harness.settings_sha256 = "b" * 64
    harness.update_sandbox_settings(refused_creations=0)
    assert harness.publish_receipts(*invoices)
    assert harness.result.problems == []
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_refused_receipts_are_not_sent_again_and_stay_a_problem_until_something_changes(
    harness: PublishingHarness,
) -> None:
    invoices = build_invoices(REFUSALS_IN_A_ROW_TO_STOP)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(refused_creations=1000)
    assert not harness.publish_receipts(*invoices)
    requests = harness.count_requests("POST")
    for _ in range(2):
        assert harness.publish_receipts(*invoices)
        assert len(harness.result.problems) == 1
        assert f"{REFUSALS_IN_A_ROW_TO_STOP} receipts are not sent" in harness.result.problems[0]
    assert harness.count_requests("POST") == requests


def test_refused_receipts_are_sent_again_when_the_vendor_accepts_another_one(harness: PublishingHarness) -> None:
    invoices = build_invoices(REFUSALS_IN_A_ROW_TO_STOP + 1)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(refused_creations=REFUSALS_IN_A_ROW_TO_STOP)
    assert not harness.publish_receipts(*invoices)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_bad_receipts_in_a_row_do_not_block_the_good_ones_behind_them(harness: PublishingHarness) -> None:
    bad_invoices, good_invoices = build_invoices(2 * REFUSALS_IN_A_ROW_TO_STOP), [build_invoice("50")]
    harness.accept_invoices(*bad_invoices, *good_invoices)
    bad_ids = set(list_receipt_ids(*bad_invoices))
    harness.before_create = lambda receipt_id: harness.update_sandbox_settings(
        refused_creations=int(receipt_id in bad_ids)
    )
    runs = 0
    while harness.get_receipt_status(good_invoices[0])[0] != "published":
        harness.publish_receipts(*bad_invoices, *good_invoices)
        runs += 1
    assert runs == 3
    assert set(list_statuses(harness, bad_invoices)) == {("failed", "request_refused")}
    assert harness.list_created_receipts() == list_receipt_ids(*good_invoices)


def test_receipts_that_are_too_large_never_stop_the_stage(harness: PublishingHarness) -> None:
    large_invoices, good_invoice = build_invoices(REFUSALS_IN_A_ROW_TO_STOP + 1), build_invoice("50")
    harness.accept_invoices(*large_invoices, good_invoice)
    harness.update_sandbox_settings(refused_creations=len(large_invoices), refusal_status=413)
    assert harness.publish_receipts(*large_invoices, good_invoice)
    assert set(list_statuses(harness, large_invoices)) == {("failed", "document_too_large")}
    assert len(harness.result.problems) == len(large_invoices)
    assert harness.list_created_receipts() == list_receipt_ids(good_invoice)


@pytest.mark.parametrize("changes_settings", [True, False])
def test_few_refused_receipts_are_sent_again_too(harness: PublishingHarness, changes_settings: bool) -> None:
    invoices = build_invoices(2)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(refused_customer="books@example.org")
    assert harness.publish_receipts(*invoices)
    assert set(list_statuses(harness, invoices)) == {("failed", "request_refused")}
    assert len(harness.result.problems) == 2
    harness.update_sandbox_settings(refused_customer="")
    if changes_settings:
        harness.settings_sha256 = "b" * 64
    else:
        with harness.ledger.begin_transaction() as tx:
            assert release_receipts(tx, None) == list_receipt_ids(*invoices)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_a_refused_receipt_that_was_unclear_before_is_still_looked_up(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.update_sandbox_settings(lost_response=1, list_lag=1000)
    harness.publish_receipts(invoice)
    harness.update_sandbox_settings(refused_creations=1, clock_shift_seconds=3600)
    harness.publish_receipts(invoice)
    assert harness.get_receipt_status(invoice) == ("failed", "request_refused")
    harness.settings_sha256 = "b" * 64
    harness.update_sandbox_settings(list_lag=0)
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)
    assert harness.get_receipt_status(invoice) == ("published", None)


def test_a_list_that_is_refused_stops_the_stage_at_once(harness: PublishingHarness) -> None:
    invoices = build_invoices(3)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(max_page_size=10)
    assert not harness.publish_receipts(*invoices)
    assert len(harness.result.problems) == 1
    assert set(list_statuses(harness, invoices)) == {("pending", None)}
