"""Spending: the pages charged or reserved for each vendor by day, month and run; an intent checks the caps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from invoices.errors import InvoicesError
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import spending


class CapReached(InvoicesError):
    """A cap leaves too few pages for a request; nothing was submitted."""


@dataclass(frozen=True, slots=True)
class PageCaps:
    """The most pages that may be submitted to a vendor; None means no cap."""

    run: int | None = None
    day: int | None = None
    month: int | None = None


NO_PAGE_CAPS = PageCaps()


def reserve_pages(tx: Transaction, vendor: str, pages: int, caps: PageCaps, run_id: str) -> None:
    """Count pages that may be charged from now on, in the transaction that records the intent.

    Raises:
        CapReached: a cap would be exceeded; nothing is counted.
    """
    for period, period_key, cap in _list_spending_periods(format_utc_day(tx.timestamp), run_id, caps):
        spent_pages = _get_spent_pages(tx.connection, vendor, period_key)
        if cap is not None and spent_pages + pages > cap:
            remaining_pages = max(cap - spent_pages, 0)
            setting_name = f"INVOICES_{vendor.upper()}__PAGES_PER_{period.upper()}"
            alternative = "run again" if period == "run" else f"wait until the {period} ends (UTC)"
            unit = "page" if cap == 1 else "pages"
            problem = f"the cap of {cap:,} {unit} per {period} leaves {remaining_pages:,}, but {pages:,} are needed"
            raise CapReached(f"{vendor}: {problem}; raise {setting_name}, or {alternative}")
    adjust_spending(tx, vendor, pages, format_utc_day(tx.timestamp), run_id)


def adjust_spending(tx: Transaction, vendor: str, page_difference: int, counted_on: str, run_id: str | None) -> None:
    """Add pages (or subtract them) for a day, its month, and a run."""
    if page_difference == 0:
        return
    for _, period_key, _ in _list_spending_periods(counted_on, run_id, NO_PAGE_CAPS):
        condition = (spending.c.vendor == vendor) & (spending.c.period == period_key)
        statement = update(spending).where(condition).values(pages=spending.c.pages + page_difference)
        if tx.connection.execute(statement).rowcount == 0:
            tx.connection.execute(insert(spending).values(vendor=vendor, period=period_key, pages=page_difference))


def compute_remaining_pages(
    connection: Connection, vendor: str, caps: PageCaps, now: dt.datetime, run_id: str | None
) -> int | None:
    """Return how many pages the caps still allow; None without a cap."""
    remaining_pages = [
        cap - _get_spent_pages(connection, vendor, period_key)
        for _, period_key, cap in _list_spending_periods(format_utc_day(now), run_id, caps)
        if cap is not None
    ]
    return max(min(remaining_pages), 0) if remaining_pages else None


def format_utc_day(instant: dt.datetime) -> str:
    """Return the UTC day of an instant, as in ``2026-11-21``; pages reserved then count for this day."""
    return instant.astimezone(dt.UTC).date().isoformat()


def _list_spending_periods(day: str, run_id: str | None, caps: PageCaps) -> list[tuple[str, str, int | None]]:
    periods = [("day", f"day:{day}", caps.day), ("month", f"month:{day[:7]}", caps.month)]
    return periods if run_id is None else [("run", f"run:{run_id}", caps.run), *periods]


def _get_spent_pages(connection: Connection, vendor: str, period_key: str) -> int:
    query = select(spending.c.pages).where(spending.c.vendor == vendor, spending.c.period == period_key)
    return connection.scalar(query) or 0
