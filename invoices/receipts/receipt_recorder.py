"""Recording in the ledger what happened to a receipt: the intent before a request, and its outcome after it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection

from invoices.clients.smartbills_io import RemoteReceipt
from invoices.clients.strict_json import render_json
from invoices.ledger import Transaction
from invoices.ledger.outbox import (
    ALL_REFUSED,
    ReceiptStatus,
    UnpublishedReceipt,
    count_refused_receipts,
    has_receipts_refused_under_other_settings,
    release_refused_receipts,
    update_receipt,
)
from invoices.receipts.publish_settings import PublishSettings

PUBLISHER = "smartbills_io"
VENDOR = "smartbills.io"
REHEARSAL_ID_PREFIX = "rehearsal-"  # of the remote id of a receipt that only the sandbox has
NOT_FOUND_YET_MESSAGE = (
    f"{VENDOR} may have this receipt, but its list did not show it at {{missed_at:%Y-%m-%d %H:%M:%S}} UTC (its clock). "
    "It is created when the list does not show it {minutes:g} minutes after that either."
)
ALL_REFUSED_MESSAGE = (
    f"{VENDOR} refused this receipt and others in a row: {{error}}. It is sent again when the settings below "
    "[smartbills_io] have changed, when another receipt is accepted, or after: invoices receipts retry"
)


class ReceiptRecorder:
    """The rows of the outbox that one publisher writes."""

    def __init__(
        self,
        begin_transaction: Callable[[], AbstractContextManager[Transaction]],
        open_snapshot: Callable[[], AbstractContextManager[Connection]],
        settings: PublishSettings,
    ) -> None:
        """Write nothing yet."""
        self._begin_transaction, self._open_snapshot, self._settings = begin_transaction, open_snapshot, settings
        # The last created receipt is recorded with the next intent, or at the end: one transaction less per receipt.
        self._unrecorded_receipt: tuple[UnpublishedReceipt, RemoteReceipt] | None = None

    def record_intent(self, receipt: UnpublishedReceipt, body: dict[str, Any]) -> None:
        """Record that the receipt is about to be sent."""
        body_sha256 = hashlib.sha256(render_json(body)).hexdigest()
        with self._begin_transaction() as tx:
            self._record_published_receipt(tx)
            sent_at = receipt.first_sent_at or tx.timestamp
            update_receipt(tx, receipt, "sending", body_sha256=body_sha256, first_sent_at=sent_at, first_missed_at=None)

    def withdraw_intent(self, receipt: UnpublishedReceipt) -> None:
        """Record that the last request has created nothing: the receipt is as it was before it."""
        with self._begin_transaction() as tx:
            update_receipt(
                tx, receipt, receipt.status, reason_code=receipt.reason_code, reason=receipt.reason,
                **_get_times_before_intent(receipt),
            )  # fmt: skip

    def keep_published_receipt(self, receipt: UnpublishedReceipt, remote_receipt: RemoteReceipt) -> None:
        """Keep a created or found receipt, to be recorded as published with the next intent or ``flush``."""
        self.flush()
        self._unrecorded_receipt = (receipt, remote_receipt)

    def flush(self) -> None:
        """Record the last receipt as published, if it is not yet."""
        if self._unrecorded_receipt is not None:
            with self._begin_transaction() as tx:
                self._record_published_receipt(tx)

    def record_status(self, receipt: UnpublishedReceipt, status: ReceiptStatus, reason_code: str, reason: str) -> None:
        """Record the status with its reason."""
        with self._begin_transaction() as tx:
            update_receipt(tx, receipt, status, reason_code=reason_code, reason=reason)

    def record_not_found(self, receipt: UnpublishedReceipt, missed_at: dt.datetime, *, was_sent: bool) -> None:
        """Record since when the vendor's list does not show a receipt that the vendor may have."""
        minutes = self._settings.repeat_after.total_seconds() / 60
        with self._begin_transaction() as tx:
            update_receipt(
                tx, receipt, "sending" if was_sent else "waiting", reason_code="not_found_yet",
                reason=NOT_FOUND_YET_MESSAGE.format(missed_at=missed_at, minutes=minutes), first_missed_at=missed_at,
            )  # fmt: skip

    def record_refusal(self, receipt: UnpublishedReceipt, reason_code: str, reason: str) -> None:
        """Record that the vendor refused the receipt and created nothing."""
        with self._begin_transaction() as tx:
            update_receipt(
                tx, receipt, "failed", reason_code=reason_code, reason=reason, refused_under=self._settings.sha256,
                **_get_times_before_intent(receipt),
            )  # fmt: skip

    def let_refused_receipts_wait(self, refusals: Sequence[tuple[UnpublishedReceipt, Exception]]) -> None:
        """Record that refused receipts wait: the settings or the vendor are the reason, and not the receipts."""
        with self._begin_transaction() as tx:
            for receipt, refusal in refusals:
                reason = ALL_REFUSED_MESSAGE.format(error=refusal)
                update_receipt(tx, receipt, "waiting", reason_code=ALL_REFUSED, reason=reason)

    def release_refused_receipts(self) -> None:
        """Make the receipts pending again that the vendor refused under other settings than those of today."""
        with self._open_snapshot() as connection:
            if not has_receipts_refused_under_other_settings(connection, PUBLISHER, self._settings.sha256):
                return
        with self._begin_transaction() as tx:
            release_refused_receipts(tx, PUBLISHER, self._settings.sha256)

    def describe_refused_receipts(self) -> str | None:
        """Return a sentence if receipts wait because the vendor refused them and all others."""
        with self._open_snapshot() as connection:
            receipt_count, reason = count_refused_receipts(connection, PUBLISHER)
        return f"{receipt_count} receipts are not sent. {reason}" if receipt_count else None

    def _record_published_receipt(self, tx: Transaction) -> None:
        """Record the last receipt as published; after a kill before this, the next run looks it up."""
        if self._unrecorded_receipt is not None:
            receipt, remote_receipt = self._unrecorded_receipt
            remote_id = f"{REHEARSAL_ID_PREFIX if self._settings.is_rehearsal else ''}{remote_receipt.id}"
            update_receipt(tx, receipt, "published", remote_id=remote_id, published_at=tx.timestamp)
            self._unrecorded_receipt = None


def _get_times_before_intent(receipt: UnpublishedReceipt) -> dict[str, dt.datetime | None]:
    return {"first_sent_at": receipt.first_sent_at, "first_missed_at": receipt.first_missed_at}
