"""Publishing receipts from the outbox, checked against the sandbox's journal: each is created at most once."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyrate_limiter import InMemoryBucket

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import RemoteReceipt, SmartBillsIoClient
from invoices.errors import UnknownOutcome
from invoices.extraction.resilience.circuit_breaker import CONSECUTIVE_FAILURES_TO_OPEN
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.ledger import Ledger
from invoices.ledger.outbox import list_unpublished_receipts
from invoices.ledger.validations import Candidate, list_receipt_rows, record_validation
from invoices.model import Invoice, Line, Party, Tax, format_receipt_id
from invoices.receipts.mapping import Customer
from invoices.receipts.publisher import PUBLISHER, PublishResult, ReceiptPublisher
from sandbox.process import Sandbox, start_sandbox

CUSTOMER_WITH_EMAIL = Customer(email="books@example.org")
WRITE_ONLY_SCOPES = ["receipts.write"]  # a lookup needs receipts.read
READ_WRITE_SCOPES = ["receipts.read", "receipts.write"]
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox; each test has its own key, and so its own journal."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=1) as running_sandbox:
        yield running_sandbox


def build_unlimited_rate_limiter() -> RateLimiter:
    """Return a rate limiter that never makes a call wait."""
    limit = RateWindow(10_000, 60)
    return RateLimiter((limit,), InMemoryBucket([limit.to_rate(0.001)]), time_scale=0.001)


class PublishingHarness:
    """A ledger with accepted invoices, and a new publisher for each call of ``publish_receipts``."""

    def __init__(self, ledger: Ledger, sandbox: Sandbox) -> None:
        self.ledger, self.sandbox = ledger, sandbox
        self.api_key = f"sk_test_publishing_{next(numbers)}"
        self.result = PublishResult()

    def accept_invoices(self, *invoices: Invoice) -> None:
        candidates = [
            Candidate(i.invoice_id, i.document_sha256, i.ordinal, "accepted", None, None, i.invoice_number, "{}")
            for i in invoices
        ]
        with self.ledger.begin_transaction() as tx:
            record_validation(tx, candidates, [], "rules", (PUBLISHER,))

    def publish_receipts(
        self,
        *invoices: Invoice,
        default_customer: Customer | None = CUSTOMER_WITH_EMAIL,
        port: int | None = None,
        failing_invoices: tuple[Invoice, ...] = (),
    ) -> bool:
        base_url = f"http://127.0.0.1:{port or self.sandbox.port}/smartbills_io/v1"
        client = FailingClient(SmartBillsIoClient(base_url, self.api_key, "1", make_session()), *failing_invoices)
        publisher = ReceiptPublisher(
            self.ledger.begin_transaction, lambda: None, client, {}, default_customer,
            build_unlimited_rate_limiter(), sleep=lambda _: None,
        )  # fmt: skip
        with self.ledger.open_snapshot() as connection:
            unpublished_receipts = list_unpublished_receipts(connection, PUBLISHER, 100)
        self.result = PublishResult()
        return publisher.publish_receipts(unpublished_receipts, {i.invoice_id: i for i in invoices}, self.result)

    def list_created_receipts(self) -> list[str]:
        return [receipt["receiptId"] for receipt in self.sandbox.read_journal(self.api_key)["receipts"]]

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        self.sandbox.update_settings(self.api_key, **sandbox_settings)

    def get_receipt_status(self, invoice: Invoice) -> tuple[str, str | None]:
        with self.ledger.open_snapshot() as connection:
            (row,) = list_receipt_rows(connection, invoice.invoice_id)
        return row["status"], row["reason_code"]


@pytest.fixture
def harness(ledger: Ledger, sandbox: Sandbox) -> PublishingHarness:
    """A harness without accepted invoices."""
    return PublishingHarness(ledger, sandbox)


def build_invoice(name: str, total: str = "119.00", **values: object) -> Invoice:
    net = Decimal(total) - Decimal("19.00")
    overridable_values = {"kind": "invoice", "tax_amount": Decimal("19.00")} | values
    return Invoice(
        invoice_id=name.rjust(32, "0"), document_sha256=name.rjust(64, "0"), ordinal=1, direction="expense",
        invoice_number=f"R-{name}", issued_on=dt.date(2026, 3, 1), currency="EUR", total_amount=Decimal(total),
        net_amount=net, customer=Party("Us"),
        lines=(Line(1, "Work", Decimal(1), "C62", net, net, Decimal(19)),),
        taxes=(Tax("S", Decimal(19), net, Decimal("19.00")),), **overridable_values,  # type: ignore[arg-type]
    )  # fmt: skip


def test_each_accepted_invoice_becomes_exactly_one_receipt(harness: PublishingHarness) -> None:
    first_invoice, second_invoice = build_invoice("1"), build_invoice("2")
    harness.accept_invoices(first_invoice, second_invoice)
    assert harness.publish_receipts(first_invoice, second_invoice)
    assert harness.publish_receipts(first_invoice, second_invoice)
    assert harness.list_created_receipts() == [
        format_receipt_id(first_invoice.invoice_id),
        format_receipt_id(second_invoice.invoice_id),
    ]
    assert harness.get_receipt_status(first_invoice) == ("published", None)


@pytest.mark.parametrize("fault", ["lost_response", "http_500_after_work"])
def test_a_receipt_created_before_a_lost_response_is_found_and_not_created_again(
    harness: PublishingHarness, fault: str
) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    harness.update_sandbox_settings(**{f"smartbills_io__{fault}": 1})
    assert harness.publish_receipts(first_invoice)
    assert harness.list_created_receipts() == [format_receipt_id(first_invoice.invoice_id)]
    assert harness.get_receipt_status(first_invoice) == ("published", None)


def test_nothing_is_sent_again_while_lookups_fail(harness: PublishingHarness) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    harness.update_sandbox_settings(smartbills_io__lost_response=1, smartbills_io__scopes=WRITE_ONLY_SCOPES)
    assert not harness.publish_receipts(first_invoice)
    assert harness.result.problems
    assert harness.get_receipt_status(first_invoice)[0] == "sending"
    harness.update_sandbox_settings(smartbills_io__scopes=READ_WRITE_SCOPES)
    assert harness.publish_receipts(first_invoice)
    assert harness.list_created_receipts() == [format_receipt_id(first_invoice.invoice_id)]


def test_after_a_lost_response_the_next_run_looks_up_before_it_sends(harness: PublishingHarness) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    harness.update_sandbox_settings(smartbills_io__lost_response=1, smartbills_io__scopes=WRITE_ONLY_SCOPES)
    harness.publish_receipts(first_invoice)
    harness.update_sandbox_settings(smartbills_io__scopes=READ_WRITE_SCOPES)
    previous = harness.sandbox.read_journal(harness.api_key)["requests"].get("POST /v1/receipts", 0)
    assert harness.publish_receipts(first_invoice)
    assert harness.sandbox.read_journal(harness.api_key)["requests"].get("POST /v1/receipts", 0) == previous


def test_a_receipt_with_our_id_and_another_total_fails(harness: PublishingHarness) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    harness.update_sandbox_settings(smartbills_io__lost_response=1, smartbills_io__scopes=WRITE_ONLY_SCOPES)
    harness.publish_receipts(first_invoice)
    harness.update_sandbox_settings(smartbills_io__scopes=READ_WRITE_SCOPES)
    changed_invoice = build_invoice("1", total="219.00")
    assert harness.publish_receipts(changed_invoice)
    assert harness.get_receipt_status(first_invoice) == ("failed", "receipt_differs")
    assert len(harness.list_created_receipts()) == 1


def test_without_a_customer_the_receipt_waits_and_names_the_setting(harness: PublishingHarness) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    assert harness.publish_receipts(first_invoice, default_customer=None)
    with harness.ledger.open_snapshot() as connection:
        (row,) = list_receipt_rows(connection, first_invoice.invoice_id)
    assert (row["status"], row["reason_code"]) == ("waiting", "no_customer")
    assert "INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL" in row["reason"]
    assert harness.list_created_receipts() == []
    assert harness.publish_receipts(first_invoice)
    assert harness.get_receipt_status(first_invoice) == ("published", None)


def test_waiting_again_for_the_same_reason_writes_nothing(harness: PublishingHarness) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    harness.publish_receipts(first_invoice, default_customer=None)
    with harness.ledger.open_snapshot() as connection:
        (previous,) = list_receipt_rows(connection, first_invoice.invoice_id)
    harness.publish_receipts(first_invoice, default_customer=None)
    with harness.ledger.open_snapshot() as connection:
        assert list_receipt_rows(connection, first_invoice.invoice_id) == [previous]


def test_a_credit_note_is_held_and_not_tried_again(harness: PublishingHarness) -> None:
    credit_note = build_invoice("1", kind="credit_note")
    harness.accept_invoices(credit_note)
    assert harness.publish_receipts(credit_note)
    assert harness.get_receipt_status(credit_note) == ("held", "credit_note_not_published")
    with harness.ledger.open_snapshot() as connection:
        assert list_unpublished_receipts(connection, PUBLISHER, 100) == []


def test_one_receipt_that_is_refused_does_not_stop_the_others(harness: PublishingHarness) -> None:
    incomplete_invoice, valid_invoice = build_invoice("1", tax_amount=None), build_invoice("2")
    harness.accept_invoices(incomplete_invoice, valid_invoice)
    assert harness.publish_receipts(incomplete_invoice, valid_invoice)
    assert harness.get_receipt_status(incomplete_invoice) == ("failed", "receipt_incomplete")
    assert harness.list_created_receipts() == [format_receipt_id(valid_invoice.invoice_id)]


class FailingClient:
    """A client of a server that fails on the receipts of some invoices, every time."""

    def __init__(self, client: SmartBillsIoClient, *failing_invoices: Invoice) -> None:
        self._client, self._failing_receipt_ids = client, {format_receipt_id(i.invoice_id) for i in failing_invoices}
        self.find_receipts = client.find_receipts

    def create_receipt(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        if body["receiptId"] in self._failing_receipt_ids:
            raise UnknownOutcome("POST receipts answered 500")
        return self._client.create_receipt(body, idempotency_key)


def test_one_receipt_that_the_server_fails_on_does_not_stop_the_others(harness: PublishingHarness) -> None:
    failing_invoice, valid_invoice = build_invoice("1"), build_invoice("2")
    harness.accept_invoices(failing_invoice, valid_invoice)
    assert harness.publish_receipts(failing_invoice, valid_invoice, failing_invoices=(failing_invoice,))
    assert harness.get_receipt_status(failing_invoice) == ("sending", None)
    assert harness.list_created_receipts() == [format_receipt_id(valid_invoice.invoice_id)]
    assert len(harness.result.problems) == 1


def test_a_server_that_fails_on_every_receipt_stops_the_stage_after_a_few(harness: PublishingHarness) -> None:
    invoices = [build_invoice(str(number)) for number in range(1, 10)]
    harness.accept_invoices(*invoices)
    assert not harness.publish_receipts(*invoices, failing_invoices=tuple(invoices))
    assert len(harness.result.problems) == CONSECUTIVE_FAILURES_TO_OPEN
    assert harness.get_receipt_status(invoices[-1]) == ("pending", None)


def test_a_refused_key_stops_the_stage_at_once(harness: PublishingHarness) -> None:
    first_invoice, second_invoice = build_invoice("1"), build_invoice("2")
    harness.accept_invoices(first_invoice, second_invoice)
    harness.api_key = "sk_live_unknown_there"
    assert not harness.publish_receipts(first_invoice, second_invoice)
    assert len(harness.result.problems) == 1
    assert "sk_live" not in harness.result.problems[0]
    assert harness.get_receipt_status(second_invoice)[0] == "pending"


def test_receipts_wait_for_a_later_run_while_the_server_is_down(harness: PublishingHarness) -> None:
    invoices = [build_invoice(str(number)) for number in range(1, 10)]
    harness.accept_invoices(*invoices)
    assert not harness.publish_receipts(*invoices, port=9)
    assert harness.result.problems
    assert harness.get_receipt_status(invoices[-1]) == ("pending", None)
    assert harness.publish_receipts(*invoices)
    assert sorted(harness.list_created_receipts()) == sorted(format_receipt_id(i.invoice_id) for i in invoices)


def test_receipts_are_published_although_every_third_call_fails(harness: PublishingHarness) -> None:
    invoices = [build_invoice(str(number)) for number in range(1, 8)]
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(smartbills_io__http_500_every=3)
    harness.publish_receipts(*invoices)
    harness.update_sandbox_settings(smartbills_io__http_500_every=0)
    harness.publish_receipts(*invoices)
    assert sorted(harness.list_created_receipts()) == sorted(format_receipt_id(i.invoice_id) for i in invoices)


def test_a_receipt_waits_until_its_invoice_is_in_the_warehouse(harness: PublishingHarness, tmp_path: Path) -> None:
    first_invoice = build_invoice("1")
    harness.accept_invoices(first_invoice)
    assert harness.publish_receipts()
    assert harness.get_receipt_status(first_invoice) == ("waiting", "not_loaded")


def test_found_and_created_receipts_are_all_recorded(harness: PublishingHarness) -> None:
    invoices = [build_invoice(str(number)) for number in range(1, 5)]
    harness.accept_invoices(*invoices)
    harness.update_sandbox_settings(smartbills_io__lost_response=2, smartbills_io__scopes=WRITE_ONLY_SCOPES)
    harness.publish_receipts(*invoices)
    harness.update_sandbox_settings(smartbills_io__scopes=READ_WRITE_SCOPES)
    assert harness.publish_receipts(*invoices)
    assert {harness.get_receipt_status(i) for i in invoices} == {("published", None)}
    assert sorted(harness.list_created_receipts()) == sorted(format_receipt_id(i.invoice_id) for i in invoices)
    assert harness.result.status_counts["published"] == len(invoices)
