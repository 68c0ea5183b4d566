"""Publishing through the outbox: the intent before each request, a look before any repetition.

The receipts API has no idempotency key in its documentation (contract sheet 05 §9). What was sent under ``sending`` is
looked up by its receipt id before it is ever sent again, so a receipt is created at most once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from invoices.clients.json_text import render
from invoices.clients.smartbills_io import RemoteReceipt
from invoices.errors import ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.patience.breaker import FAILURES_TO_OPEN
from invoices.extraction.patience.budget import Budget
from invoices.extraction.patience.pacing import CALLS, Pacing, VendorStopped
from invoices.ledger import Ledger, Transaction
from invoices.ledger.outbox import Outgoing, move
from invoices.model import Invoice
from invoices.receipts.mapping import Customer, check_receipt, find_customer, receipt_body

PUBLISHER = "smartbills_io"
VENDOR = "smartbills.io"
NO_CUSTOMER = (
    "No customer is known for the buyer {buyer!r}: map it in invoices.toml under [smartbills_io.customers], "
    "or set INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL."
)


class Client(Protocol):
    """What is spoken with the receipts API."""

    def create(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create a receipt."""
        ...

    def find(self, receipt_id: str, created_after: dt.datetime | None) -> list[RemoteReceipt]:
        """Return the receipts with our id."""
        ...


@dataclass(slots=True)
class Published:
    """What publishing came to; ``problems`` are sentences for a person and make the run end with an error."""

    receipts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class ReceiptPublisher:
    """Publishes receipts one by one until the outbox is empty or the vendor has to be left alone."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        customers: Mapping[str, Customer],
        default_customer: Customer | None,
        budget: Budget,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Take what is needed; nothing is sent yet."""
        self._ledger, self._client, self._pacing = ledger, client, Pacing(VENDOR, {CALLS: budget}, sleep)
        self._customers, self._default_customer = customers, default_customer
        self._created: tuple[Outgoing, RemoteReceipt] | None = None  # written with the next intent, or at the end
        self._unclear = 0  # outcomes in a row: one receipt at which the server fails must not hold up the others

    def publish(self, receipts: Sequence[Outgoing], invoices: Mapping[str, Invoice], published: Published) -> bool:
        """Publish the receipts whose invoices are given; return False when the vendor has to be left alone."""
        try:
            return all(
                self._publish_known(receipt, invoices.get(receipt.invoice_id), published) for receipt in receipts
            )
        finally:
            self._conclude_alone()

    def _publish_known(self, receipt: Outgoing, invoice: Invoice | None, published: Published) -> bool:
        if invoice is not None:
            return self._publish_one(receipt, invoice, published)
        self._move(receipt, "waiting", published, "not_loaded", "The invoice is not in the warehouse yet.")
        return True

    def _publish_one(self, receipt: Outgoing, invoice: Invoice, published: Published) -> bool:
        """Publish one receipt; return False when the vendor is to be left alone."""
        try:
            body = self._body(receipt, invoice, published)
            if body is not None:
                remote = self._find_or_send(receipt, body)
                self._conclude_alone()
                self._created = (receipt, remote)
                published.receipts["published"] += 1
                self._unclear = 0
        except DocumentError as error:
            status = "held" if error.reason_code == "credit_note_not_published" else "failed"
            self._move(receipt, status, published, error.reason_code, str(error))
        except VendorStopped as stop:
            return self._stop(published, stop.reason if stop.is_problem else None)
        except (UnknownOutcome, TransientError) as error:
            self._unclear += 1
            self._stop(published, f"invoice {invoice.invoice_number!r}: {VENDOR}: {error}")
            return self._unclear < FAILURES_TO_OPEN
        except ContractError as error:
            return self._stop(published, f"invoice {invoice.invoice_number!r}: {VENDOR}: {error}")
        return True

    def _body(self, receipt: Outgoing, invoice: Invoice, published: Published) -> dict[str, Any] | None:
        """Return what is to be sent, checked; None after leaving the receipt waiting for a customer."""
        customer = find_customer(invoice, self._customers, self._default_customer)
        if customer is None:
            reason = NO_CUSTOMER.format(buyer=invoice.customer.tax_id or invoice.customer.name)
            self._move(receipt, "waiting", published, "no_customer", reason)
            return None
        body = receipt_body(invoice, customer, receipt.receipt_id)
        check_receipt(body)
        return body

    def _find_or_send(self, receipt: Outgoing, body: dict[str, Any]) -> RemoteReceipt:
        """Return the receipt as the other side has it: looked up if it may be there, else sent, once."""
        if receipt.first_sent_at is not None:
            found = self._find(receipt, receipt.first_sent_at)
            if found:
                return _same(found, body)
        sent_at = receipt.first_sent_at or dt.datetime.now(dt.UTC)
        with self._ledger.transaction() as tx:
            self._conclude(tx)
            digest = hashlib.sha256(render(body)).hexdigest()
            move(tx, receipt, "sending", body_sha256=digest, first_sent_at=sent_at)
        try:
            return self._pacing.call(partial(self._client.create, body, receipt.receipt_id))
        except UnknownOutcome:
            found = self._find(receipt, sent_at)
            if not found:
                raise
            return _same(found, body)

    def _find(self, receipt: Outgoing, sent_at: dt.datetime) -> list[RemoteReceipt]:
        return self._pacing.call(partial(self._client.find, receipt.receipt_id, sent_at))

    def _conclude(self, tx: Transaction) -> None:
        """Write that the last created receipt is published; killed before that, the next run looks it up."""
        if self._created is not None:
            receipt, remote = self._created
            move(tx, receipt, "published", remote_id=str(remote.id), published_at=tx.at)
            self._created = None

    def _conclude_alone(self) -> None:
        if self._created is not None:
            with self._ledger.transaction() as tx:
                self._conclude(tx)

    def _move(self, receipt: Outgoing, status: Any, published: Published, reason_code: str, reason: str) -> None:
        with self._ledger.transaction() as tx:
            move(tx, receipt, status, reason_code=reason_code, reason=reason)
        published.receipts[status] += 1

    def _stop(self, published: Published, problem: str | None) -> bool:
        if problem is not None:
            published.problems.append(problem)
        return False


def _same(found: Sequence[RemoteReceipt], body: Mapping[str, Any]) -> RemoteReceipt:
    """Return the one receipt that was found under our id, if it states our total (contract sheet 05 §8, 409)."""
    total = body["total"]["amount"]
    if len(found) > 1:
        ids = [receipt.id for receipt in found]
        raise DocumentError(
            f"{body['receiptId']!r} exists more than once at smartbills.io: {ids!r}", reason_code="receipt_twice"
        )
    if found[0].total is not None and found[0].total != total:
        raise DocumentError(
            f"{body['receiptId']!r} exists at smartbills.io as {found[0].id} with another total: "
            f"{found[0].total}, ours is {total}",
            reason_code="receipt_differs",
        )
    return found[0]
