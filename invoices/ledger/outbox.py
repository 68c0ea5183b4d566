"""The outbox: receipts to publish, and the state of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, func, insert, not_, or_, select, text, update

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import UNPUBLISHED_RECEIPT_CONDITION, candidates, receipts, remote_receipts

ReceiptStatus = Literal["pending", "waiting", "sending", "held", "published", "failed"]  # held: a person has to decide
ReceiptGroup = Literal["unclear", "unsent", "refused"]
ALL_REFUSED = "all_refused"  # reason code: the vendor refused this receipt and the ones before and after it

# unclear: it may exist at the vendor; refused: the vendor refused it and others, so the settings may be wrong
_IS_UNCLEAR = or_(receipts.c.status == "sending", receipts.c.first_missed_at.is_not(None))
_IS_REFUSED = func.coalesce(receipts.c.reason_code, "") == ALL_REFUSED
_GROUP_CONDITIONS: Mapping[ReceiptGroup, ColumnElement[bool]] = {
    "unclear": and_(_IS_UNCLEAR, not_(_IS_REFUSED)),
    "unsent": and_(not_(_IS_UNCLEAR), not_(_IS_REFUSED)),
    "refused": _IS_REFUSED,
}


@dataclass(frozen=True, slots=True)
class UnpublishedReceipt:
    """A receipt that is not published yet; ``sending`` means that an earlier try may have reached the publisher.

    ``first_missed_at`` is a time of the publisher: of its first list since the last try that did not have the receipt.
    """

    invoice_id: str
    publisher: str
    receipt_id: str
    status: ReceiptStatus
    reason_code: str | None
    reason: str | None
    first_sent_at: dt.datetime | None
    first_missed_at: dt.datetime | None


_RECEIPT_COLUMNS = [receipts.c[name] for name in UnpublishedReceipt.__slots__]


def list_unpublished_receipts(
    connection: Connection,
    publisher: str,
    limit: int,
    after_invoice_id: str = "",
    group: ReceiptGroup | None = None,
) -> list[UnpublishedReceipt]:
    """Return up to ``limit`` receipts that are still to publish, of one group or all, ordered by invoice id."""
    rows = connection.execute(
        select(*_RECEIPT_COLUMNS)
        .where(
            text(UNPUBLISHED_RECEIPT_CONDITION),
            receipts.c.publisher == publisher,
            receipts.c.invoice_id > after_invoice_id,
            *([] if group is None else [_GROUP_CONDITIONS[group]]),
        )
        .order_by(receipts.c.invoice_id)
        .limit(limit)
    )
    return [UnpublishedReceipt(*row) for row in rows]


def count_unpublished_receipts(connection: Connection) -> int:
    """Return how many receipts are still to publish."""
    return connection.scalar(select(func.count()).select_from(receipts).where(text(UNPUBLISHED_RECEIPT_CONDITION))) or 0


def update_receipt(tx: Transaction, receipt: UnpublishedReceipt, status: ReceiptStatus, **values: Any) -> bool:
    """Set the status and these columns of a receipt; return False, and write nothing, if nothing would change."""
    condition = (receipts.c.invoice_id == receipt.invoice_id) & (receipts.c.publisher == receipt.publisher)
    values = {"status": status, "reason_code": None, "reason": None} | values
    current_row = (
        tx.connection.execute(select(*(receipts.c[name] for name in values)).where(condition)).mappings().one()
    )
    if dict(current_row) == values:
        return False
    tx.connection.execute(
        update(receipts).where(condition).values(**values, changed_at=tx.timestamp, revision=tx.revision)
    )
    return True


def count_receipts_by_status(connection: Connection) -> dict[tuple[str, str | None, str | None], int]:
    """Return the number of receipts by (status, reason code, an example of the reason)."""
    rows = connection.execute(
        select(receipts.c.status, receipts.c.reason_code, func.min(receipts.c.reason), func.count()).group_by(
            receipts.c.status, receipts.c.reason_code
        )
    )
    return {(status, reason_code, reason): count for status, reason_code, reason, count in rows}


def release_refused_receipts(tx: Transaction, publisher: str, settings_sha256: str) -> int:
    """Make receipts pending again that the publisher refused under other settings; return how many."""
    return tx.connection.execute(
        update(receipts)
        .where(_is_refused_under_other_settings(publisher, settings_sha256))
        .values(_build_pending_values(tx))
    ).rowcount


def has_receipts_refused_under_other_settings(connection: Connection, publisher: str, settings_sha256: str) -> bool:
    """Return whether the publisher has refused receipts under other settings."""
    condition = _is_refused_under_other_settings(publisher, settings_sha256)
    return connection.execute(select(receipts.c.invoice_id).where(condition).limit(1)).first() is not None


def release_receipts(tx: Transaction, invoice_ids: Sequence[str] | None, reason_codes: Sequence[str] = ()) -> list[str]:
    """Make receipts pending again that failed, are held, or were refused with all others; return their receipt ids.

    ``invoice_ids`` None means all but those that are held; ``reason_codes`` limits it to these, if any are given.
    """
    statuses = ("failed",) if invoice_ids is None and not reason_codes else ("failed", "held")
    condition = or_(receipts.c.status.in_(statuses), and_(receipts.c.status == "waiting", _IS_REFUSED))
    if reason_codes:
        condition = and_(condition, receipts.c.reason_code.in_(reason_codes))
    conditions = (
        [condition]
        if invoice_ids is None
        else [and_(condition, receipts.c.invoice_id.in_(chunk)) for chunk in iter_chunks(invoice_ids)]
    )
    receipt_ids: list[str] = []
    for condition in conditions:
        receipt_ids += tx.connection.scalars(select(receipts.c.receipt_id).where(condition))
        tx.connection.execute(update(receipts).where(condition).values(_build_pending_values(tx)))
    return sorted(receipt_ids)


def find_receipt_invoice_ids(connection: Connection, identity: str) -> list[str]:
    """Return the invoice ids of the receipts that an invoice id or number, receipt id or document's hash names."""
    names = (
        receipts.c.invoice_id, receipts.c.receipt_id, candidates.c.invoice_number, candidates.c.document_sha256,
    )  # fmt: skip
    rows = connection.scalars(
        select(receipts.c.invoice_id)
        .outerjoin(candidates, candidates.c.invoice_id == receipts.c.invoice_id)
        .where(or_(*(name == identity for name in names)))
        .distinct()
    )
    return sorted(rows)


def count_refused_receipts(connection: Connection, publisher: str) -> tuple[int, str | None]:
    """Return how many receipts wait because the publisher refused all, and one of the reasons."""
    row = connection.execute(
        select(func.count(), func.min(receipts.c.reason)).where(
            receipts.c.publisher == publisher, receipts.c.status == "waiting", _IS_REFUSED
        )
    ).one()
    return row[0], row[1]


def list_unaccounted_receipt_ids(connection: Connection, publisher: str, receipt_ids: Iterable[str]) -> list[str]:
    """Return those receipt ids that this ledger has neither sent nor found at the publisher before."""
    receipt_ids = list(receipt_ids)
    accounted_ids: set[str] = set()
    for chunk in iter_chunks(receipt_ids):
        accounted_ids.update(
            connection.scalars(
                select(receipts.c.receipt_id).where(
                    receipts.c.publisher == publisher,
                    receipts.c.receipt_id.in_(chunk),
                    or_(receipts.c.first_sent_at.is_not(None), receipts.c.status == "published"),
                )
            )
        )
    return sorted(set(receipt_ids) - accounted_ids - find_remote_receipt_ids(connection, publisher, receipt_ids))


def has_receipts(connection: Connection, publisher: str, receipt_ids: Iterable[str]) -> bool:
    """Return whether the outbox has one of these receipts, in any status."""
    return any(
        connection.execute(
            select(receipts.c.invoice_id)
            .where(receipts.c.publisher == publisher, receipts.c.receipt_id.in_(chunk))
            .limit(1)
        ).first()
        for chunk in iter_chunks(receipt_ids)
    )


def find_remote_receipt_ids(connection: Connection, publisher: str, receipt_ids: Iterable[str]) -> set[str]:
    """Return those receipt ids that were found at the publisher and that this ledger did not send."""
    found_ids: set[str] = set()
    for chunk in iter_chunks(receipt_ids):
        found_ids.update(
            connection.scalars(
                select(remote_receipts.c.receipt_id).where(
                    remote_receipts.c.publisher == publisher, remote_receipts.c.receipt_id.in_(chunk)
                )
            )
        )
    return found_ids


def record_remote_receipts(tx: Transaction, publisher: str, remote_ids: Mapping[str, str]) -> None:
    """Record receipts that were found at the publisher, by receipt id with the publisher's own id."""
    rows = [
        {"publisher": publisher, "receipt_id": receipt_id, "remote_id": remote_id, "found_at": tx.timestamp}
        for receipt_id, remote_id in remote_ids.items()
    ]
    if rows:
        tx.connection.execute(insert(remote_receipts), rows)


def _is_refused_under_other_settings(publisher: str, settings_sha256: str) -> ColumnElement[bool]:
    return and_(
        receipts.c.publisher == publisher,
        receipts.c.status.in_(("failed", "waiting")),
        receipts.c.refused_under != settings_sha256,
    )


def _build_pending_values(tx: Transaction) -> dict[str, Any]:
    return {
        "status": "pending", "reason_code": None, "reason": None, "refused_under": None, "changed_at": tx.timestamp,
        "revision": tx.revision,
    }  # fmt: skip
