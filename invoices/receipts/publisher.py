"""Publishing receipts from the outbox: the intent is recorded before each request, and repeated only after a lookup.

The receipts API documents no idempotency key (contract sheet 05 §9). A receipt that the vendor may have is looked up
by its receipt id before it is sent again, so a receipt is created at most once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection

from invoices.clients.error_mapping import DOCUMENT_REFUSAL_REASONS, RequestRefused
from invoices.clients.smartbills_io import ReceiptPage, RemoteReceipt
from invoices.errors import (
    PROGRAM_ERRORS,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
    UnreadableResponse,
)
from invoices.extraction.resilience.circuit_breaker import CONSECUTIVE_FAILURES_TO_OPEN
from invoices.extraction.resilience.rate_limit import RateLimiter
from invoices.extraction.resilience.retry import ALL_ROUTES, RetryingCaller, VendorSuspended
from invoices.ledger import Transaction
from invoices.ledger.outbox import ReceiptStatus, UnpublishedReceipt
from invoices.model import Invoice
from invoices.receipts.mapping import build_receipt_body, find_customer, validate_receipt_body
from invoices.receipts.publish_settings import PublishSettings
from invoices.receipts.receipt_recorder import VENDOR, ReceiptRecorder
from invoices.receipts.remote_lookup import RemoteLookup

REFUSALS_IN_A_ROW_TO_STOP = 5  # then the settings or the vendor are the reason, and not the receipts
NO_CUSTOMER_MESSAGE = (
    "No customer is configured for {buyer}: add it to invoices.toml under [smartbills_io.customers], "
    "or set INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL."
)


class ReceiptsClient(Protocol):
    """The calls of the receipts API that publishing needs."""

    def create_receipt(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create a receipt."""
        ...

    def fetch_receipt_page(self, page_number: int) -> ReceiptPage:
        """Return a page of the list, newest receipt first."""
        ...


@dataclass(slots=True)
class PublishResult:
    """Counts by status, and ``problems``: sentences for a person, which make the run end with an error."""

    status_counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)  # receipts over which this program failed


class ReceiptRefused(InvoicesError):
    """The vendor refused a receipt and created nothing; ``reason_code`` is the reason in one word."""

    def __init__(self, message: str, reason_code: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class ReceiptPublisher:
    """Publishes the receipts of one run one by one, until publishing has to stop for this run."""

    def __init__(
        self,
        begin_transaction: Callable[[], AbstractContextManager[Transaction]],
        open_snapshot: Callable[[], AbstractContextManager[Connection]],
        require_valid_lease: Callable[[], None],
        client: ReceiptsClient,
        settings: PublishSettings,
        rate_limiter: RateLimiter,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Keep the dependencies; nothing is sent yet.

        Two callables raise an error if another worker has taken over: ``begin_transaction`` before something is
        recorded, ``require_valid_lease`` just before a receipt is created.
        """
        self._require_valid_lease, self._client, self._settings = require_valid_lease, client, settings
        self._caller = RetryingCaller(VENDOR, {ALL_ROUTES: rate_limiter}, sleep)
        self._recorder = ReceiptRecorder(begin_transaction, open_snapshot, settings)
        self._lookup = RemoteLookup(begin_transaction, open_snapshot, self._fetch_page, settings.repeat_after)
        # Only failures in a row stop the run: one receipt that the server fails on must not block the others.
        self._consecutive_failures = 0
        self._refusals_in_a_row: list[tuple[UnpublishedReceipt, ReceiptRefused]] = []
        self._refusal_problems: list[str] = []
        self.has_created_receipt = False

    def release_refused_receipts(self) -> None:
        """Make the receipts pending again that the vendor refused under other settings than those of today."""
        self._recorder.release_refused_receipts()

    def finish(self, result: PublishResult) -> None:
        """Add the problems that only the whole run shows; call it once, at its end.

        If the vendor refused all receipts of an earlier run, and this run had none accepted, the same reason is assumed
        for those that it refused in this run: they wait too.
        """
        if self._refusals_in_a_row and not self.has_created_receipt and self._recorder.describe_refused_receipts():
            self._let_refused_receipts_wait(result)
        self._report_single_refusals(result)
        problem = self._recorder.describe_refused_receipts()
        result.problems += [problem] if problem else []

    def publish_receipts(
        self,
        receipts: Sequence[UnpublishedReceipt],
        invoices: Mapping[str, Invoice],
        result: PublishResult,
        *,
        is_refusal_final: bool = False,
    ) -> bool:
        """Publish the receipts whose invoices are given; return False if publishing has to stop for this run.

        ``is_refusal_final``: several refusals in a row are the receipts' own fault, because others were accepted.
        """
        self._lookup.prepare_batch(receipts)
        try:
            return all(
                self._publish_if_loaded(receipt, invoices.get(receipt.invoice_id), result, is_refusal_final)
                for receipt in receipts
            )
        finally:
            self._recorder.flush()

    def _publish_if_loaded(
        self, receipt: UnpublishedReceipt, invoice: Invoice | None, result: PublishResult, is_refusal_final: bool
    ) -> bool:
        if invoice is not None:
            return self._publish_receipt(receipt, invoice, result, is_refusal_final)
        if receipt.status == "sending":
            result.status_counts["waiting"] += 1
        else:
            self._record_status(receipt, "waiting", result, "not_loaded", "The invoice is not in the warehouse yet.")
        return True

    def _publish_receipt(
        self, receipt: UnpublishedReceipt, invoice: Invoice, result: PublishResult, is_refusal_final: bool
    ) -> bool:
        """Publish one receipt; return False if publishing has to stop for this run."""
        try:
            body = self._build_body_or_defer(receipt, invoice, result)
            remote_receipt = None if body is None else self._find_or_create_receipt(receipt, body, result)
            if remote_receipt is not None:
                self._recorder.keep_published_receipt(receipt, remote_receipt)
                result.status_counts["published"] += 1
                self._consecutive_failures = 0
        except DocumentError as error:
            status: ReceiptStatus = "held" if error.reason_code == "credit_note_not_published" else "failed"
            self._record_status(receipt, status, result, error.reason_code, str(error))
        except ReceiptRefused as refusal:
            return self._record_refusal(receipt, refusal, result, is_final=is_refusal_final)
        except VendorSuspended as suspension:
            if suspension.is_problem:
                result.problems.append(suspension.reason)
            return False
        except PROGRAM_ERRORS as error:  # what was sent is ``sending`` in the ledger, and is looked up by the next run
            result.failures.append((f"the receipt of invoice {invoice.invoice_number!r}", error))
        except (UnknownOutcome, TransientError, ContractError) as error:
            result.problems.append(f"invoice {invoice.invoice_number!r}: {VENDOR}: {error}")
            if isinstance(error, ContractError) and not isinstance(error, UnreadableResponse):
                return False
            self._consecutive_failures += 1
            return self._consecutive_failures < CONSECUTIVE_FAILURES_TO_OPEN
        return True

    def _build_body_or_defer(
        self, receipt: UnpublishedReceipt, invoice: Invoice, result: PublishResult
    ) -> dict[str, Any] | None:
        """Return the validated body; or None, after recording that the receipt waits for a customer."""
        customer = find_customer(invoice, self._settings.customers, self._settings.default_customer)
        if customer is None:
            key = invoice.customer.tax_id or invoice.customer.name
            buyer = f"the buyer {key!r}" if key else "a buyer without tax id and name"
            self._record_status(receipt, "waiting", result, "no_customer", NO_CUSTOMER_MESSAGE.format(buyer=buyer))
            return None
        body = build_receipt_body(invoice, customer, receipt.receipt_id, is_rehearsal=self._settings.is_rehearsal)
        validate_receipt_body(body)
        return body

    def _find_or_create_receipt(
        self, receipt: UnpublishedReceipt, body: dict[str, Any], result: PublishResult
    ) -> RemoteReceipt | None:
        """Return the receipt of the API: found, if the vendor may have it; else created, with one request.

        Returns None, after recording why, if the receipt may still appear in the vendor's list.
        """
        self._lookup.look_at_newest_once()
        if self._lookup.must_look_up(receipt):
            remote_receipts = self._lookup.find_receipts(receipt.receipt_id)
            if remote_receipts:
                return _get_single_matching_receipt(remote_receipts, body)
            if not self._lookup.may_create_again(receipt):
                missed_at, was_sent = self._lookup.get_first_missed_at(receipt), receipt.first_sent_at is not None
                self._recorder.record_not_found(receipt, missed_at, was_sent=was_sent)
                result.status_counts["waiting"] += 1
                return None
        remote_receipt = self._create_receipt(receipt, body)
        self._refusals_in_a_row.clear()
        self._report_single_refusals(result)
        return remote_receipt

    def _create_receipt(self, receipt: UnpublishedReceipt, body: dict[str, Any]) -> RemoteReceipt:
        self._recorder.record_intent(receipt, body)
        try:
            remote_receipt = self._caller.send_with_retries(partial(self._send_receipt, body, receipt.receipt_id))
        except UnknownOutcome:
            remote_receipts = self._lookup.find_new_receipts(receipt.receipt_id)
            if not remote_receipts:
                self._recorder.record_not_found(receipt, self._lookup.server_time, was_sent=True)
                raise
            return _get_single_matching_receipt(remote_receipts, body)
        except (DocumentError, RequestRefused) as error:
            raise ReceiptRefused(str(error), getattr(error, "reason_code", "route_refused")) from error
        except (TransientError, VendorSuspended):  # nothing was sent, or the vendor has done nothing with it
            self._recorder.withdraw_intent(receipt)
            raise
        self.has_created_receipt = True
        return remote_receipt

    def _send_receipt(self, body: dict[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create the receipt; raises UnknownOutcome if the answer does not say that it is ours, with our total."""
        self._require_valid_lease()
        remote_receipt = self._client.create_receipt(body, idempotency_key)
        if remote_receipt.receipt_id is None or remote_receipt.total != body["total"]["amount"]:
            raise UnknownOutcome(
                f"the receipt {idempotency_key!r} was sent, but the answer is about receipt "
                f"{remote_receipt.receipt_id!r} with the total {remote_receipt.total}"
            )
        return remote_receipt

    def _fetch_page(self, page_number: int) -> ReceiptPage:
        return self._caller.send_with_retries(partial(self._client.fetch_receipt_page, page_number))

    def _record_refusal(
        self, receipt: UnpublishedReceipt, refusal: ReceiptRefused, result: PublishResult, *, is_final: bool
    ) -> bool:
        """Record a refused receipt as failed; after several in a row (not too large), let all wait and return False."""
        self._recorder.record_refusal(receipt, refusal.reason_code, str(refusal))
        result.status_counts["failed"] += 1
        problem = f"receipt {receipt.receipt_id!r} failed: {VENDOR} refused it: {refusal}"
        if refusal.reason_code == DOCUMENT_REFUSAL_REASONS[413]:
            result.problems.append(problem)
            return True
        self._refusal_problems.append(problem)
        if is_final:
            return True
        self._refusals_in_a_row.append((receipt, refusal))
        if len(self._refusals_in_a_row) < REFUSALS_IN_A_ROW_TO_STOP:
            return True
        self._let_refused_receipts_wait(result)
        return False

    def _let_refused_receipts_wait(self, result: PublishResult) -> None:
        self._recorder.let_refused_receipts_wait(self._refusals_in_a_row)
        result.status_counts["failed"] -= len(self._refusals_in_a_row)
        result.status_counts["waiting"] += len(self._refusals_in_a_row)
        self._refusals_in_a_row.clear()
        self._refusal_problems.clear()

    def _report_single_refusals(self, result: PublishResult) -> None:
        """Add the problems of refused receipts; they are kept back until it is clear that not all are refused."""
        result.problems += self._refusal_problems
        self._refusal_problems.clear()

    def _record_status(
        self, receipt: UnpublishedReceipt, status: ReceiptStatus, result: PublishResult, reason_code: str, reason: str
    ) -> None:
        self._recorder.record_status(receipt, status, reason_code, reason)
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
