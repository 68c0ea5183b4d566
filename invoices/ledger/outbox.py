"""The outbox: receipts that we intend to publish, and what became of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select, text, update

from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import IS_OPEN, receipts

Status = Literal["pending", "waiting", "sending", "held", "published", "failed"]  # held: a person has to decide


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A receipt that is not published yet; ``sending`` means that an earlier try may have reached the other side."""

    invoice_id: str
    publisher: str
    receipt_id: str
    status: Status
    reason_code: str | None
    reason: str | None
    first_sent_at: dt.datetime | None


_OUTGOING = [receipts.c[name] for name in Outgoing.__slots__]


def outgoing(connection: Connection, publisher: str, limit: int, after: str = "") -> list[Outgoing]:
    """Return up to ``limit`` receipts that are not published yet, by invoice id."""
    rows = connection.execute(
        select(*_OUTGOING)
        .where(text(IS_OPEN), receipts.c.publisher == publisher, receipts.c.invoice_id > after)
        .order_by(receipts.c.invoice_id)
        .limit(limit)
    )
    return [Outgoing(*row) for row in rows]


def outgoing_count(connection: Connection) -> int:
    """Return how many receipts are not published yet."""
    return connection.scalar(select(func.count()).select_from(receipts).where(text(IS_OPEN))) or 0


def move(tx: Transaction, receipt: Outgoing, status: Status, **values: Any) -> bool:
    """Move a receipt to ``status``; return False, and write nothing, if nothing would change."""
    mine = (receipts.c.invoice_id == receipt.invoice_id) & (receipts.c.publisher == receipt.publisher)
    values = {"status": status, "reason_code": None, "reason": None} | values
    now = tx.connection.execute(select(*(receipts.c[name] for name in values)).where(mine)).mappings().one()
    if dict(now) == values:
        return False
    tx.connection.execute(update(receipts).where(mine).values(**values, changed_at=tx.at, revision=tx.revision))
    return True


def receipts_by_status(connection: Connection) -> dict[tuple[str, str | None, str | None], int]:
    """Return how many receipts there are by (status, reason code, an example of the reason)."""
    rows = connection.execute(
        select(receipts.c.status, receipts.c.reason_code, func.min(receipts.c.reason), func.count()).group_by(
            receipts.c.status, receipts.c.reason_code
        )
    )
    return {(status, code, reason): count for status, code, reason, count in rows}
