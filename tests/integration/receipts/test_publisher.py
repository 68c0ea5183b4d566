"""Publishing receipts from the outbox, checked against the sandbox's journal: each is created at most once."""

from __future__ import annotations

import pytest

from invoices.clients.error_mapping import ApiCall, build_connection_error
from invoices.errors import UnknownOutcome
from invoices.extraction.resilience.circuit_breaker import CONSECUTIVE_FAILURES_TO_OPEN
from invoices.ledger.outbox import list_unpublished_receipts
from invoices.model import Invoice, format_receipt_id
from invoices.receipts.receipt_recorder import PUBLISHER
from tests.integration.receipts.publishing_harness import (
    CUSTOMER_WITH_EMAIL,
    PublishingHarness,
    build_invoice,
    build_invoices,
    list_receipt_ids,
)


def fail_on(harness: PublishingHarness, *invoices: Invoice) -> None:
    """Let the server fail on the receipts of these invoices, every time."""

    def raise_if_failing(receipt_id: str) -> None:
        if receipt_id in {format_receipt_id(invoice.invoice_id) for invoice in invoices}:
            raise UnknownOutcome("POST receipts answered 500")

    harness.before_create = raise_if_failing


def break_connection(_page_number: int) -> None:
    raise build_connection_error(ApiCall("GET", "receipts"), "broken", was_sent=True)


def test_each_accepted_invoice_becomes_exactly_one_receipt(harness: PublishingHarness) -> None:
    invoices = build_invoices(2)
    harness.accept_invoices(*invoices)
    assert harness.publish_receipts(*invoices)
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)
    assert harness.get_receipt_status(invoices[0]) == ("published", None)


@pytest.mark.parametrize("form", ["html", "cut", "no_list", "entry_without_id", "null", "id_only", "empty"])
def test_an_answer_that_does_not_name_the_receipt_is_no_proof_of_its_creation(
    harness: PublishingHarness, form: str
) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.update_sandbox_settings(garbled_create=1, garbled_form=form, list_lag=2)
    harness.publish_receipts(invoice)
    assert harness.get_receipt_status(invoice) == ("sending", "not_found_yet")
    harness.update_sandbox_settings(list_lag=0)
    assert harness.publish_receipts(invoice)
    assert harness.get_receipt_status(invoice) == ("published", None)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)


@pytest.mark.parametrize("fault", ["lost_response", "http_500_after_work", "garbled_create"])
def test_a_receipt_created_before_an_unclear_answer_is_found_and_not_created_again(
    harness: PublishingHarness, fault: str
) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.update_sandbox_settings(**{fault: 1})
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)
    assert harness.get_receipt_status(invoice) == ("published", None)


def test_an_error_of_this_program_over_one_receipt_stops_no_other(harness: PublishingHarness) -> None:
    invoices = build_invoices(3)
    harness.accept_invoices(*invoices)

    def raise_for_first(receipt_id: str) -> None:
        if receipt_id == format_receipt_id(invoices[0].invoice_id):
            raise ValueError("offset must be strictly between")

    harness.before_create = raise_for_first
    assert harness.publish_receipts(*invoices)
    assert [type(error) for _, error in harness.result.failures] == [ValueError]
    assert harness.list_created_receipts() == list_receipt_ids(*invoices[1:])


def test_nothing_is_sent_again_while_lookups_fail(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.update_sandbox_settings(lost_response=1)
    harness.before_create = lambda _receipt_id: setattr(harness.client, "before_page", break_connection)
    harness.publish_receipts(invoice)
    assert harness.result.problems
    assert harness.get_receipt_status(invoice) == ("sending", None)
    harness.before_create = lambda _receipt_id: pytest.fail("it is sent again")
    harness.before_page = break_connection
    harness.publish_receipts(invoice)
    assert harness.get_receipt_status(invoice) == ("sending", None)
    harness.before_page = lambda _page_number: None
    assert harness.publish_receipts(invoice)
    assert harness.list_created_receipts() == list_receipt_ids(invoice)
    assert harness.get_receipt_status(invoice) == ("published", None)


def test_a_receipt_with_our_id_and_another_total_fails(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.update_sandbox_settings(lost_response=1, list_lag=2)
    harness.publish_receipts(invoice)
    harness.update_sandbox_settings(list_lag=0)
    assert harness.publish_receipts(build_invoice("1", total="219.00"))
    assert harness.get_receipt_status(invoice) == ("failed", "receipt_differs")
    assert harness.list_created_receipts() == list_receipt_ids(invoice)


def test_without_a_customer_the_receipt_waits_and_names_the_setting(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.default_customer = None
    assert harness.publish_receipts(invoice)
    row = harness.get_receipt_row(invoice)
    assert (row["status"], row["reason_code"]) == ("waiting", "no_customer")
    assert "INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL" in row["reason"]
    assert harness.list_created_receipts() == []
    harness.default_customer = CUSTOMER_WITH_EMAIL
    assert harness.publish_receipts(invoice)
    assert harness.get_receipt_status(invoice) == ("published", None)


def test_waiting_again_for_the_same_reason_writes_nothing(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    harness.default_customer = None
    harness.publish_receipts(invoice)
    previous = harness.get_receipt_row(invoice)
    harness.publish_receipts(invoice)
    assert harness.get_receipt_row(invoice) == previous


def test_a_credit_note_is_held_and_not_tried_again(harness: PublishingHarness) -> None:
    credit_note = build_invoice("1", kind="credit_note")
    harness.accept_invoices(credit_note)
    assert harness.publish_receipts(credit_note)
    assert harness.get_receipt_status(credit_note) == ("held", "credit_note_not_published")
    with harness.ledger.open_snapshot() as connection:
        assert list_unpublished_receipts(connection, PUBLISHER, 100) == []


def test_one_receipt_that_cannot_be_built_does_not_stop_the_others(harness: PublishingHarness) -> None:
    incomplete_invoice, valid_invoice = build_invoice("1", tax_amount=None), build_invoice("2")
    harness.accept_invoices(incomplete_invoice, valid_invoice)
    assert harness.publish_receipts(incomplete_invoice, valid_invoice)
    assert harness.get_receipt_status(incomplete_invoice) == ("failed", "receipt_incomplete")
    assert harness.list_created_receipts() == list_receipt_ids(valid_invoice)


def test_one_receipt_that_the_server_fails_on_does_not_stop_the_others(harness: PublishingHarness) -> None:
    failing_invoice, valid_invoice = build_invoices(2)
    harness.accept_invoices(failing_invoice, valid_invoice)
    fail_on(harness, failing_invoice)
    assert harness.publish_receipts(failing_invoice, valid_invoice)
    assert harness.get_receipt_status(failing_invoice) == ("sending", "not_found_yet")
    assert harness.list_created_receipts() == list_receipt_ids(valid_invoice)
    assert len(harness.result.problems) == 1


def test_a_server_that_fails_on_every_receipt_stops_the_stage_after_a_few(harness: PublishingHarness) -> None:
    invoices = build_invoices(9)
    harness.accept_invoices(*invoices)
    fail_on(harness, *invoices)
    assert not harness.publish_receipts(*invoices)
    assert len(harness.result.problems) == CONSECUTIVE_FAILURES_TO_OPEN
    assert harness.get_receipt_status(invoices[-1]) == ("pending", None)


def test_a_refused_key_stops_the_stage_at_once(harness: PublishingHarness) -> None:
    invoices = build_invoices(2)
    harness.accept_invoices(*invoices)
    harness.api_key = "sk_live_unknown_there"
    assert not harness.publish_receipts(*invoices)
    assert len(harness.result.problems) == 1
    assert "sk_live" not in harness.result.problems[0]
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("pending", None)}


@pytest.mark.parametrize("scopes", [["receipts.read"], ["receipts.write"]])
def test_a_key_without_a_scope_leaves_the_receipts_as_they_are(harness: PublishingHarness, scopes: list[str]) -> None:
    invoices = build_invoices(2)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(scopes=scopes)
    assert not harness.publish_receipts(*invoices)
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("pending", None)}
    assert all(harness.get_receipt_row(invoice)["first_sent_at"] is None for invoice in invoices)
    harness.update_sandbox_settings(scopes=["receipts.read", "receipts.write"])
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_receipts_wait_for_a_later_run_while_the_server_is_down(harness: PublishingHarness) -> None:
    invoices = build_invoices(9)
    harness.accept_invoices(*invoices)
    harness.port = 9
    assert not harness.publish_receipts(*invoices)
    assert harness.result.problems
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("pending", None)}
    harness.port = harness.sandbox.port
    assert harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_receipts_are_published_although_every_third_call_fails(harness: PublishingHarness) -> None:
    invoices = build_invoices(7)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(http_500_every=3)
    harness.publish_receipts(*invoices)
    harness.update_sandbox_settings(http_500_every=0, clock_shift_seconds=3600)
    harness.publish_receipts(*invoices)
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)


def test_a_receipt_waits_until_its_invoice_is_in_the_warehouse(harness: PublishingHarness) -> None:
    invoice = build_invoice("1")
    harness.accept_invoices(invoice)
    assert harness.publish_receipts()
    assert harness.get_receipt_status(invoice) == ("waiting", "not_loaded")


def test_found_and_created_receipts_are_all_recorded(harness: PublishingHarness) -> None:
    invoices = build_invoices(4)
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(lost_response=2, list_lag=5)
    harness.publish_receipts(*invoices)
    harness.update_sandbox_settings(list_lag=0)
    assert harness.publish_receipts(*invoices)
    assert {harness.get_receipt_status(invoice) for invoice in invoices} == {("published", None)}
    assert harness.list_created_receipts() == list_receipt_ids(*invoices)
    assert harness.result.status_counts["published"] == 2
