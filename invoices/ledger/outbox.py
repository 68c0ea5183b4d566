"""The outbox: receipts to publish, and the state of each."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select, text, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import UNPUBLISHED_RECEIPT_CONDITION, receipts

ReceiptStatus = Literal["pending", "waiting", "sending", "held", "published", "failed"]  # held: a person has to decide


@dataclass(frozen=True, slots=True)
class UnpublishedReceipt:
    """A receipt that is not published yet; ``sending`` means that an earlier try may have reached the publisher."""

    invoice_id: str
    publisher: str
    receipt_id: str
    status: ReceiptStatus
    reason_code: str | None
    reason: str | None
    first_sent_at: dt.datetime | None


_RECEIPT_COLUMNS = [receipts.c[name] for name in UnpublishedReceipt.__slots__]


def list_unpublished_receipts(
    connection: Connection, publisher: str, limit: int, after_invoice_id: str = ""
) -> list[UnpublishedReceipt]:
    """Return up to ``limit`` receipts that are still to publish, ordered by invoice id."""
    rows = connection.execute(
        select(*_RECEIPT_COLUMNS)
        .where(
            text(UNPUBLISHED_RECEIPT_CONDITION),
            receipts.c.publisher == publisher,
            receipts.c.invoice_id > after_invoice_id,
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
