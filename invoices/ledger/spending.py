"""Spending: pages charged by each vendor, or reserved for it, by day, month and run; caps are checked at the intent."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from invoices.errors import InvoicesError
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import spending


class CapReached(InvoicesError):
    """A cap leaves no room for what was about to be asked; nothing was asked."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most pages that a vendor may be asked for; None is no cap."""

    run: int | None = None
    day: int | None = None
    month: int | None = None


NO_CAPS = Caps()


def reserve(tx: Transaction, vendor: str, pages: int, caps: Caps, run: str) -> None:
    """Count pages that may be charged from now on, in the transaction that writes the intent.

    Raises CapReached, and then counts nothing, where a cap would be passed.
    """
    for period, key, cap in _periods(day_of(tx.at), run, caps):
        spent = _spent(tx.connection, vendor, key)
        if cap is not None and spent + pages > cap:
            left = max(cap - spent, 0)
            setting = f"INVOICES_{vendor.upper()}__PAGES_PER_{period.upper()}"
            later = "run again" if period == "run" else f"wait until the {period} ends (UTC)"
            told = f"the cap of {cap:,} pages per {period} leaves {left:,}, and a document of {pages:,} waits"
            raise CapReached(f"{vendor}: {told}: raise {setting}, or {later}")
    adjust(tx, vendor, pages, day_of(tx.at), run)


def adjust(tx: Transaction, vendor: str, difference: int, counted_on: str, run: str | None) -> None:
    """Add to (or take from) the periods in which something was reserved: a day, its month, and a run."""
    if difference == 0:
        return
    for _, key, _ in _periods(counted_on, run, NO_CAPS):
        row = (spending.c.vendor == vendor) & (spending.c.period == key)
        raised = update(spending).where(row).values(pages=spending.c.pages + difference)
        if tx.connection.execute(raised).rowcount == 0:
            tx.connection.execute(insert(spending).values(vendor=vendor, period=key, pages=difference))


def room(connection: Connection, vendor: str, caps: Caps, now: dt.datetime, run: str | None) -> int | None:
    """Return how many pages the caps still allow, or None without any cap."""
    left = [
        cap - _spent(connection, vendor, key) for _, key, cap in _periods(day_of(now), run, caps) if cap is not None
    ]
    return max(min(left), 0) if left else None


def day_of(at: dt.datetime) -> str:
    """Return the day, UTC, on which something counts that is reserved at this instant."""
    return at.astimezone(dt.UTC).date().isoformat()


def _periods(day: str, run: str | None, caps: Caps) -> list[tuple[str, str, int | None]]:
    periods = [("day", f"day:{day}", caps.day), ("month", f"month:{day[:7]}", caps.month)]
    return periods if run is None else [("run", f"run:{run}", caps.run), *periods]


def _spent(connection: Connection, vendor: str, key: str) -> int:
    pages = select(spending.c.pages).where(spending.c.vendor == vendor, spending.c.period == key)
    return connection.scalar(pages) or 0
