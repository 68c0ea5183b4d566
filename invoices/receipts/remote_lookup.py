"""What the vendor of receipts may have already, and when a receipt that is not there may be created again.

A receipt is looked up before it is created if it may exist: because an earlier try had an unclear outcome, or because
the ledger is behind the vendor (restored from a backup, new, or not the only one for the account). What the list does
not show may still appear, because the list may lag. So such a receipt is created only if the list has not shown it
twice, with a minimum time in between. Both times are the vendor's: our clock may be wrong.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from invoices.clients.smartbills_io import ReceiptPage, RemoteReceipt
from invoices.ledger import Transaction
from invoices.ledger.identity import Recovery, begin_recovery, complete_recovery, find_recovery
from invoices.ledger.outbox import (
    UnpublishedReceipt,
    find_remote_receipt_ids,
    has_receipts,
    list_unaccounted_receipt_ids,
    record_remote_receipts,
)
from invoices.model import is_receipt_id
from invoices.receipts.receipt_recorder import PUBLISHER
from invoices.receipts.remote_receipts import NewestReceipts, RemoteReceiptIndex, RemoteReceiptList

RECOVERY_DURATION = dt.timedelta(days=1)


class RemoteLookup:
    """The vendor's receipts in one run; the whole list is read at most once, and only if a receipt may exist."""

    def __init__(
        self,
        begin_transaction: Callable[[], AbstractContextManager[Transaction]],
        open_snapshot: Callable[[], AbstractContextManager[Connection]],
        fetch_page: Callable[[int], ReceiptPage],
        repeat_after: dt.timedelta,
    ) -> None:
        """Read nothing yet."""
        self._begin_transaction, self._open_snapshot = begin_transaction, open_snapshot
        self._receipt_list, self._repeat_after = RemoteReceiptList(fetch_page), repeat_after
        self._is_ledger_behind = False
        self._newest: NewestReceipts | None = None
        self._index: RemoteReceiptIndex | None = None
        self._batch_remote_ids: set[str] = set()

    @property
    def server_time(self) -> dt.datetime:
        """The vendor's time of the last look at the list."""
        return self._receipt_list.server_time

    def prepare_batch(self, receipts: Sequence[UnpublishedReceipt]) -> None:
        """Read from the ledger which of these receipts an earlier run has found at the vendor; ask the vendor nothing.

        ``must_look_up`` is valid for these receipts until the next batch.
        """
        with self._open_snapshot() as connection:
            self._batch_remote_ids = find_remote_receipt_ids(
                connection, PUBLISHER, [receipt.receipt_id for receipt in receipts]
            )

    def look_at_newest_once(self) -> None:
        """Find out, once in a run, whether the ledger is behind: then each receipt is looked up before it is sent.

        It is behind if it was restored, or if the vendor has a receipt of ours that the ledger does not account for. To
        see that, the newest receipts are enough, unless the ledger is new, was restored, or the list is not sorted.
        """
        if self._newest is not None:
            return
        newest = self._receipt_list.read_newest(_is_ours)
        with self._open_snapshot() as connection:
            recovery = find_recovery(connection, "receipts")
        unaccounted_ids = self._list_unaccounted_ids(newest.receipts)
        if unaccounted_ids or recovery is not None or not newest.is_sorted:
            index = self._read_index()
            unaccounted_ids = self._list_unaccounted_ids([receipts[0] for receipts in index.receipts.values()])
            self._record_recovery(recovery, {name: str(index.receipts[name][0].id) for name in unaccounted_ids})
        was_restored = recovery is not None and recovery.reason == "restored"
        self._is_ledger_behind = was_restored or bool(unaccounted_ids)
        self._newest = newest

    def must_look_up(self, receipt: UnpublishedReceipt) -> bool:
        """Return whether the vendor may have the receipt already."""
        return (
            self._is_ledger_behind
            or receipt.first_sent_at is not None
            or receipt.first_missed_at is not None
            or receipt.receipt_id in self._batch_remote_ids
        )

    def find_receipts(self, receipt_id: str) -> list[RemoteReceipt]:
        """Return the receipts with our ``receipt_id`` in the whole list: none, one, or two, which must never happen."""
        return self._read_index().receipts.get(receipt_id, [])

    def find_new_receipts(self, receipt_id: str) -> list[RemoteReceipt]:
        """Return the receipts with our ``receipt_id`` that were created since the first look of this run."""
        return self._receipt_list.find_new_receipts(receipt_id, self._newest or NewestReceipts([], is_sorted=False))

    def get_first_missed_at(self, receipt: UnpublishedReceipt) -> dt.datetime:
        """Return the vendor's time of the first look that did not show the receipt: an earlier one, or this run's.

        A time after the look of this run is not believed: the clock that measured it was wrong.
        """
        read_at = self._read_index().read_at
        return read_at if receipt.first_missed_at is None else min(receipt.first_missed_at, read_at)

    def may_create_again(self, receipt: UnpublishedReceipt) -> bool:
        """Return whether the minimum time has passed between the first look without the receipt and this run's."""
        return self._read_index().read_at - self.get_first_missed_at(receipt) >= self._repeat_after

    def _read_index(self) -> RemoteReceiptIndex:
        if self._index is None:
            self._index = self._receipt_list.read_all()
        return self._index

    def _list_unaccounted_ids(self, remote_receipts: Sequence[RemoteReceipt]) -> list[str]:
        receipt_ids = [receipt.receipt_id for receipt in remote_receipts if receipt.receipt_id and _is_ours(receipt)]
        with self._open_snapshot() as connection:
            return list_unaccounted_receipt_ids(connection, PUBLISHER, receipt_ids)

    def _record_recovery(self, recovery: Recovery | None, unaccounted_receipts: Mapping[str, str]) -> None:
        """Record the vendor's receipts that this ledger does not account for, and what that says about the ledger.

        A receipt that the ledger has as never sent shows that it was restored. What was sent before that may appear in
        the list late, so a recovery ends when the list was read a day later.
        """
        with self._begin_transaction() as tx:
            record_remote_receipts(tx, PUBLISHER, unaccounted_receipts)
            was_restored = recovery is not None and recovery.reason == "restored"
            if not was_restored and has_receipts(tx.connection, PUBLISHER, list(unaccounted_receipts)):
                begin_recovery(tx, "restored")
            elif recovery is not None and (
                not was_restored or not self._repeat_after or tx.timestamp - recovery.since >= RECOVERY_DURATION
            ):
                complete_recovery(tx, "receipts")


def _is_ours(receipt: RemoteReceipt) -> bool:
    return receipt.receipt_id is not None and is_receipt_id(receipt.receipt_id)
