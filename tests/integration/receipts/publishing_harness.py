"""A ledger with accepted invoices and a publisher for each run, against the sandbox, for the tests of publishing."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pyrate_limiter import InMemoryBucket

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import ReceiptPage, RemoteReceipt, SmartBillsIoClient
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.ledger import Ledger
from invoices.ledger.outbox import ReceiptGroup, list_unpublished_receipts
from invoices.ledger.validations import Candidate, list_receipt_rows, record_validation
from invoices.model import Invoice, Line, Party, Tax, format_receipt_id
from invoices.receipts.mapping import Customer
from invoices.receipts.publish_settings import PublishSettings
from invoices.receipts.publisher import PublishResult, ReceiptPublisher
from invoices.receipts.receipt_recorder import PUBLISHER
from sandbox.process import Sandbox

CUSTOMER_WITH_EMAIL = Customer(email="books@example.org")
REPEAT_AFTER = dt.timedelta(minutes=15)
GROUPS: tuple[ReceiptGroup, ...] = ("unclear", "unsent", "refused")
_NUMBERS = itertools.count(1)


class HookedClient:
    """A client whose calls first run a hook, which may raise an error or change the vendor."""

    def __init__(self, client: SmartBillsIoClient) -> None:
        self.client = client
        self.before_create: Callable[[str], object] = lambda _receipt_id: None
        self.before_page: Callable[[int], object] = lambda _page_number: None
        self.has_clock = True  # the vendor states its time

    def create_receipt(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        self.before_create(idempotency_key)
        return self.client.create_receipt(body, idempotency_key)

    def fetch_receipt_page(self, page_number: int) -> ReceiptPage:
        self.before_page(page_number)
        page = self.client.fetch_receipt_page(page_number)
        return page if self.has_clock else replace(page, server_time=None)


class PublishingHarness:
    """A ledger with accepted invoices, and a new publisher for each call of ``publish_receipts``, as in a new run."""

    def __init__(self, ledger: Ledger, sandbox: Sandbox) -> None:
        self.ledger, self.sandbox = ledger, sandbox
        self.api_key = f"sk_test_publishing_{next(_NUMBERS)}"
        self.result = PublishResult()
        self.client: HookedClient | None = None  # of the last run
        self.port = sandbox.port
        self.default_customer: Customer | None = CUSTOMER_WITH_EMAIL
        self.repeat_after, self.settings_sha256 = REPEAT_AFTER, "a" * 64
        self.before_create: Callable[[str], object] = lambda _receipt_id: None
        self.before_page: Callable[[int], object] = lambda _page_number: None
        self.vendor_has_clock = True

    def accept_invoices(self, *invoices: Invoice) -> None:
        candidates = [
            Candidate(i.invoice_id, i.document_sha256, i.ordinal, "accepted", i.invoice_number, "{}") for i in invoices
        ]
        with self.ledger.begin_transaction() as tx:
            record_validation(tx, candidates, [], "rules", (PUBLISHER,))

    def publish_receipts(self, *invoices: Invoice) -> bool:
        """Publish all receipts as the stage does; return False if publishing stopped."""
        publisher = self._build_publisher()
        publisher.release_refused_receipts()
        self.result, may_continue = PublishResult(), True
        invoices_by_id = {invoice.invoice_id: invoice for invoice in invoices}
        for group in GROUPS:
            if may_continue and (group != "refused" or publisher.has_created_receipt):
                with self.ledger.open_snapshot() as connection:
                    receipts = list_unpublished_receipts(connection, PUBLISHER, 100, group=group)
                is_final = group == "refused"
                may_continue = publisher.publish_receipts(
                    receipts, invoices_by_id, self.result, is_refusal_final=is_final
                )
        publisher.finish(self.result)
        return may_continue

    def _build_publisher(self) -> ReceiptPublisher:
        base_url = f"http://127.0.0.1:{self.port}/smartbills_io/v1"
        client = HookedClient(SmartBillsIoClient(base_url, self.api_key, "1", make_session()))
        client.before_create, client.before_page, self.client = self.before_create, self.before_page, client
        client.has_clock = self.vendor_has_clock
        settings = PublishSettings({}, self.default_customer, self.repeat_after, self.settings_sha256)
        return ReceiptPublisher(
            self.ledger.begin_transaction, self.ledger.open_snapshot, lambda: None, client, settings,
            build_unlimited_rate_limiter(), sleep=lambda _: None,
        )  # fmt: skip

    def list_created_receipts(self) -> list[str]:
        """Return the receipt ids that the vendor has, each as often as it was created."""
        return sorted(receipt["receiptId"] for receipt in self.sandbox.read_journal(self.api_key)["receipts"])

    def count_requests(self, method: str) -> int:
        """Return how many receipts were sent (POST), or pages of the list read (GET)."""
        return int(self.sandbox.read_journal(self.api_key)["requests"].get(f"{method} /smartbills_io/v1/receipts", 0))

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        """Change settings of the receipts API."""
        self.sandbox.update_settings(
            self.api_key, **{f"smartbills_io__{name}": value for name, value in sandbox_settings.items()}
        )

    def get_receipt_row(self, invoice: Invoice) -> Mapping[str, Any]:
        with self.ledger.open_snapshot() as connection:
            (row,) = list_receipt_rows(connection, invoice.invoice_id)
        return row

    def get_receipt_status(self, invoice: Invoice) -> tuple[str, str | None]:
        row = self.get_receipt_row(invoice)
        return row["status"], row["reason_code"]


def build_unlimited_rate_limiter() -> RateLimiter:
    """Return a rate limiter that never makes a call wait."""
    limit = RateWindow(10_000, 60)
    return RateLimiter((limit,), InMemoryBucket([limit.to_rate(0.001)]), time_scale=0.001)


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


def build_invoices(count: int) -> list[Invoice]:
    return [build_invoice(str(number)) for number in range(1, count + 1)]


def list_receipt_ids(*invoices: Invoice) -> list[str]:
    return sorted(format_receipt_id(invoice.invoice_id) for invoice in invoices)
