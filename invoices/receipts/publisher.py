"""Publishing receipts from the outbox: the intent is recorded before each request, and repeated only after a lookup.

The receipts API documents no idempotency key (contract sheet 05 §9). A receipt with the status ``sending`` is looked
up by its receipt id before it is sent again, so a receipt is created at most once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from invoices.clients.smartbills_io import RemoteReceipt
from invoices.clients.strict_json import render_json
from invoices.errors import ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.resilience.circuit_breaker import CONSECUTIVE_FAILURES_TO_OPEN
from invoices.extraction.resilience.rate_limit import RateLimiter
from invoices.extraction.resilience.retry import ALL_ROUTES, RetryingCaller, VendorSuspended
from invoices.ledger import Transaction
from invoices.ledger.outbox import UnpublishedReceipt, update_receipt
from invoices.model import Invoice
from invoices.receipts.mapping import Customer, build_receipt_body, find_customer, validate_receipt_body

PUBLISHER = "smartbills_io"
VENDOR = "smartbills.io"
NO_CUSTOMER_MESSAGE = (
    "No customer is configured for {buyer}: add it to invoices.toml under [smartbills_io.customers], "
    "or set INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL."
)


class ReceiptsClient(Protocol):
    """The calls of the receipts API that publishing needs."""

    def create_receipt(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create a receipt."""
        ...

    def find_receipts(self, receipt_id: str, created_after: dt.datetime | None) -> list[RemoteReceipt]:
        """Return the receipts with our ``receipt_id``."""
        ...


@dataclass(slots=True)
class PublishResult:
    """Counts by status, and ``problems``: sentences for a person, which make the run end with an error."""

    status_counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class ReceiptPublisher:
    """Publishes receipts one by one, until the outbox is empty or publishing has to stop for this run."""

    def __init__(
        self,
        begin_transaction: Callable[[], AbstractContextManager[Transaction]],
        require_valid_lease: Callable[[], None],
        client: ReceiptsClient,
        customers: Mapping[str, Customer],
        default_customer: Customer | None,
        rate_limiter: RateLimiter,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Keep the dependencies; nothing is sent yet.

        Both callables raise an error if another worker has taken over: ``begin_transaction`` before something is
        recorded, ``require_valid_lease`` just before a receipt is created.
        """
        self._begin_transaction, self._require_valid_lease = begin_transaction, require_valid_lease
        self._client = client
        self._caller = RetryingCaller(VENDOR, {ALL_ROUTES: rate_limiter}, sleep)
        self._customers, self._default_customer = customers, default_customer
        # The last created receipt is recorded with the next intent, or at the end: one transaction less per receipt.
        self._unrecorded_receipt: tuple[UnpublishedReceipt, RemoteReceipt] | None = None
        # Only failures in a row stop the run: one receipt that the server fails on must not block the others.
        self._consecutive_failures = 0

    def publish_receipts(
        self, receipts: Sequence[UnpublishedReceipt], invoices: Mapping[str, Invoice], result: PublishResult
    ) -> bool:
        """Publish the receipts whose invoices are given; return False if publishing has to stop for this run."""
        try:
            return all(
                self._publish_if_loaded(receipt, invoices.get(receipt.invoice_id), result) for receipt in receipts
            )
        finally:
            self._flush_unrecorded_receipt()

    def _publish_if_loaded(self, receipt: UnpublishedReceipt, invoice: Invoice | None, result: PublishResult) -> bool:
        if invoice is not None:
            return self._publish_receipt(receipt, invoice, result)
        self._record_status(receipt, "waiting", result, "not_loaded", "The invoice is not in the warehouse yet.")
        return True

    def _publish_receipt(self, receipt: UnpublishedReceipt, invoice: Invoice, result: PublishResult) -> bool:
        """Publish one receipt; return False if publishing has to stop for this run."""
        try:
            body = self._build_body_or_defer(receipt, invoice, result)
            if body is not None:
                remote_receipt = self._find_or_create_receipt(receipt, body)
                self._flush_unrecorded_receipt()
                self._unrecorded_receipt = (receipt, remote_receipt)
                result.status_counts["published"] += 1
                self._consecutive_failures = 0
        except DocumentError as error:
            status = "held" if error.reason_code == "credit_note_not_published" else "failed"
            self._record_status(receipt, status, result, error.reason_code, str(error))
        except VendorSuspended as suspension:
            if suspension.is_problem:
                result.problems.append(suspension.reason)
            return False
        except (UnknownOutcome, TransientError, ContractError) as error:
            result.problems.append(f"invoice {invoice.invoice_number!r}: {VENDOR}: {error}")
            if isinstance(error, ContractError):
                return False
            self._consecutive_failures += 1
            return self._consecutive_failures < CONSECUTIVE_FAILURES_TO_OPEN
        return True

    def _build_body_or_defer(
        self, receipt: UnpublishedReceipt, invoice: Invoice, result: PublishResult
    ) -> dict[str, Any] | None:
        """Return the validated body; or None, after recording that the receipt waits for a customer."""
        customer = find_customer(invoice, self._customers, self._default_customer)
        if customer is None:
            key = invoice.customer.tax_id or invoice.customer.name
            buyer = f"the buyer {key!r}" if key else "a buyer without tax id and name"
            self._record_status(receipt, "waiting", result, "no_customer", NO_CUSTOMER_MESSAGE.format(buyer=buyer))
            return None
        body = build_receipt_body(invoice, customer, receipt.receipt_id)
        validate_receipt_body(body)
        return body

    def _find_or_create_receipt(self, receipt: UnpublishedReceipt, body: dict[str, Any]) -> RemoteReceipt:
        """Return the receipt of the API: found, if it may have been created before; else created, with one request."""
        if receipt.first_sent_at is not None:
            remote_receipts = self._find_remote_receipts(receipt, receipt.first_sent_at)
            if remote_receipts:
                return _get_single_matching_receipt(remote_receipts, body)
        sent_at = receipt.first_sent_at or dt.datetime.now(dt.UTC)
        with self._begin_transaction() as tx:
            self._record_published_receipt(tx)
            body_sha256 = hashlib.sha256(render_json(body)).hexdigest()
            update_receipt(tx, receipt, "sending", body_sha256=body_sha256, first_sent_at=sent_at)
        try:
            return self._caller.send_with_retries(partial(self._create_receipt, body, receipt.receipt_id))
        except UnknownOutcome:
            remote_receipts = self._find_remote_receipts(receipt, sent_at)
            if not remote_receipts:
                raise
            return _get_single_matching_receipt(remote_receipts, body)

    def _create_receipt(self, body: dict[str, Any], idempotency_key: str) -> RemoteReceipt:
        self._require_valid_lease()
        return self._client.create_receipt(body, idempotency_key)

    def _find_remote_receipts(self, receipt: UnpublishedReceipt, sent_at: dt.datetime) -> list[RemoteReceipt]:
        return self._caller.send_with_retries(partial(self._client.find_receipts, receipt.receipt_id, sent_at))

    def _record_published_receipt(self, tx: Transaction) -> None:
        """Record the last created receipt as published; after a kill before this, the next run looks it up."""
        if self._unrecorded_receipt is not None:
            receipt, remote_receipt = self._unrecorded_receipt
            update_receipt(tx, receipt, "published", remote_id=str(remote_receipt.id), published_at=tx.timestamp)
            self._unrecorded_receipt = None

    def _flush_unrecorded_receipt(self) -> None:
        if self._unrecorded_receipt is not None:
            with self._begin_transaction() as tx:
                self._record_published_receipt(tx)

    def _record_status(
        self, receipt: UnpublishedReceipt, status: Any, result: PublishResult, reason_code: str, reason: str
    ) -> None:
        with self._begin_transaction() as tx:
            update_receipt(tx, receipt, status, reason_code=reason_code, reason=reason)
        result.status_counts[status] += 1


def _get_single_matching_receipt(remote_receipts: Sequence[RemoteReceipt], body: Mapping[str, Any]) -> RemoteReceipt:
    """Return the receipt found with our id; raises DocumentError for two, or another total (contract sheet 05 §8, 409).

    Reason codes: ``receipt_twice``, ``receipt_differs``.
    """
    total = body["total"]["amount"]
    if len(remote_receipts) > 1:
        ids = [receipt.id for receipt in remote_receipts]
        raise DocumentError(
            f"{VENDOR} has the receipt {body['receiptId']!r} more than once: ids {ids!r}", reason_code="receipt_twice"
        )
    [remote_receipt] = remote_receipts
    if remote_receipt.total is not None and remote_receipt.total != total:
        raise DocumentError(
            f"{VENDOR} has the receipt {body['receiptId']!r} as {remote_receipt.id} with another total: "
            f"{remote_receipt.total}, but ours is {total}",
            reason_code="receipt_differs",
        )
    return remote_receipt
