"""Speaking with api.smartbills.io: create, read, list, find and delete receipts, in the vendor's own dialect.

One call here is one request on the wire, except ``receipts`` and ``find``, which read pages. Creating is not safe to
repeat (contract sheet 05 §9): an unclear outcome is an UnknownOutcome, and ``find`` is how to look it up.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import requests

from invoices.clients.classification import Conflict, NotFound
from invoices.clients.json_text import render
from invoices.clients.transport import Origin, Patience, Reply
from invoices.clients.wire_values import moment, money, text, whole
from invoices.errors import ConfigurationError, ContractError, UnknownOutcome

PAGE_SIZE = 100  # the vendor's largest (contract sheet 05 §6)
MOST_PAGES = 100_000
CLOCK_SLACK = dt.timedelta(days=1)


class DuplicateReceipt(UnknownOutcome):
    """The API says the receipt, or one under the same key, is already there: look it up and compare."""


@dataclass(frozen=True, slots=True)
class RemoteReceipt:
    """A receipt as the API shows it; ``raw`` is the whole answer. Customer and order data are not echoed."""

    id: int
    receipt_id: str | None
    total: Decimal | None
    currency: str | None
    created_at: dt.datetime | None
    raw: Mapping[str, Any] = field(repr=False)


FoundReceipts = list[RemoteReceipt]


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    """One page of the list; ``total_pages`` and ``count`` (of all receipts) are what the API claims, if it does."""

    items: tuple[RemoteReceipt, ...]
    page: int
    total_pages: int | None
    count: int | None
    is_last: bool


class SmartBillsIo:
    """The receipts API for one account; ``base_url`` ends in ``/v1``, ``path`` is the route of receipts below it."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        tenant_id: str | None,
        session: requests.Session,
        path: str = "receipts",
        deadline: float = 60.0,
    ) -> None:
        """Take a session from ``make_session`` and the seconds one call may take altogether.

        Raises ConfigurationError for an unusable address, key, tenant or path.
        """
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        if tenant_id is not None:
            headers["x-tenant-id"] = tenant_id
        self._origin = Origin(base_url, session, headers, (api_key,), Patience.within(deadline))
        self._path = path.strip("/")
        if not all(part.isalnum() and part.isascii() for part in self._path.split("/")):
            raise ConfigurationError(f"{path!r} is not a route such as 'receipts' or 'businesses/7/receipts'")

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"SmartBillsIo({self._origin.base_url!r}, path={self._path!r})"

    def create(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create one receipt with exactly one POST; ``body`` travels with its spelling and its decimals as they are.

        Raises DuplicateReceipt (409: look it up), UnknownOutcome (5xx, a broken line, a success that cannot be read),
        DocumentError (refused), TransientError, AccountError, ContractError.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        try:
            reply = self._origin.exchange("POST", self._path, headers=headers, data=render(body))
        except Conflict as error:
            raise DuplicateReceipt(str(error)) from None
        if not reply.body.strip():
            raise reply.unreadable("its body is empty")
        created = _receipt(reply.json(), reply)
        if created.receipt_id not in (None, body.get("receiptId")):
            raise reply.unreadable(f"it shows another receipt, {created.receipt_id!r}")
        return created

    def get(self, remote_id: int) -> RemoteReceipt:
        """Return a receipt by the API's own id; raises NotFound when there is none."""
        reply = self._origin.exchange("GET", f"{self._path}/{remote_id:d}")
        found = _receipt(reply.json(), reply)
        if found.id != remote_id:
            raise reply.unreadable(f"it shows the receipt {found.id}, not {remote_id}")
        return found

    def delete(self, remote_id: int) -> bool:
        """Delete a receipt for good; return False when it was already gone."""
        try:
            self._origin.exchange("DELETE", f"{self._path}/{remote_id:d}")
        except NotFound:
            return False
        return True

    def list(
        self, page: int = 1, page_size: int = PAGE_SIZE, order_by: str = "createdAt", sort_order: str = "asc"
    ) -> ReceiptPage:
        """Return one page, counted from 1; its position is read from ``metadata``, ``pagination`` or flat keys."""
        params = {"page": str(page), "pageSize": str(page_size), "orderBy": order_by, "sortOrder": sort_order}
        reply = self._origin.exchange("GET", self._path, params=params)
        value = reply.json()
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise reply.unreadable("it is no list of receipts")
        items = tuple(_receipt(entry, reply) for entry in value["data"])
        return _page(items, _position(value), page, page_size)

    def receipts(self, since: dt.datetime | None = None) -> Iterator[RemoteReceipt]:
        """Yield each receipt once, oldest first, from ``since`` on; the end is read again for those that came late."""
        seen: set[int] = set()
        last = 1
        for page in self._pages("asc"):
            last = page.page
            yield from _new(page, seen, since)
        for number in range(last, MOST_PAGES):
            page = self.list(number)
            yield from _new(page, seen, since)
            if page.is_last:
                return

    def find(self, receipt_id: str, created_after: dt.datetime | None = None) -> FoundReceipts:
        """Return the receipts under our key, newest first: none, one, or the two that must never be.

        Reads the pages newest first and stops early only where the pages prove to be sorted and a receipt is a day
        older than ``created_after``. Then the first page is read again, and all pages if the list has shrunk meanwhile,
        because a deletion moves receipts onto pages already read.
        """
        found: dict[int, RemoteReceipt] = {}
        for _ in range(3):
            first_count = self._scan(receipt_id, created_after, found)
            newest = self.list(1, sort_order="desc")
            found.update((item.id, item) for item in newest.items if item.receipt_id == receipt_id)
            if first_count is None or newest.count is None or newest.count >= first_count:
                return sorted(found.values(), key=lambda item: -item.id)
        raise UnknownOutcome(f"the list of receipts keeps shrinking while {receipt_id!r} is looked up")

    def _scan(self, receipt_id: str, created_after: dt.datetime | None, found: dict[int, RemoteReceipt]) -> int | None:
        """Add the matching receipts to ``found`` and return how many receipts the first page said there are."""
        until = None if created_after is None else created_after - CLOCK_SLACK
        newest_allowed: dt.datetime | None = None
        is_sorted, count = True, None
        for page in self._pages("desc"):
            count = page.count if page.page == 1 else count
            found.update((item.id, item) for item in page.items if item.receipt_id == receipt_id)
            for item in page.items:
                if item.created_at is None or (newest_allowed is not None and item.created_at > newest_allowed):
                    is_sorted = False
                newest_allowed = item.created_at or newest_allowed
            if until is not None and is_sorted and newest_allowed is not None and newest_allowed < until:
                break
        return count

    def _pages(self, sort_order: str) -> Iterator[ReceiptPage]:
        """Yield pages until the last; a full page that shows nothing new is a ContractError: paging is broken."""
        seen: set[int] = set()
        for number in range(1, MOST_PAGES):
            try:
                page = self.list(number, sort_order=sort_order)
            except NotFound:
                if number == 1:
                    raise
                return
            ids = {item.id for item in page.items}
            if ids and ids <= seen and len(page.items) < PAGE_SIZE:
                return
            if ids and ids <= seen:
                raise ContractError(f"page {number} of the receipts shows only what earlier pages showed")
            seen |= ids
            yield page
            if page.is_last:
                return
        raise ContractError(f"the list of receipts has more than {MOST_PAGES} pages")


def _new(page: ReceiptPage, seen: set[int], since: dt.datetime | None) -> Iterator[RemoteReceipt]:
    for item in page.items:
        if item.id in seen:
            continue
        seen.add(item.id)
        if since is None or item.created_at is None or item.created_at >= since:
            yield item


def _receipt(value: Any, reply: Reply) -> RemoteReceipt:
    remote_id = whole(value, "id") if isinstance(value, dict) else None
    if remote_id is None:
        raise reply.unreadable("it shows no receipt with an id")
    total, currency = money(value, "total")
    receipt_id = text(value, "receiptId")
    return RemoteReceipt(
        remote_id, receipt_id, total, currency or text(value, "currency", 8), moment(value, "createdAt"), value
    )


def _position(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((value[name] for name in ("metadata", "pagination") if isinstance(value.get(name), dict)), value)


def _page(items: tuple[RemoteReceipt, ...], position: Mapping[str, Any], page: int, page_size: int) -> ReceiptPage:
    """Return the page and whether it is the last: an empty one is; so is a short one, or the last by the API's count.

    A short page proves nothing where the API counts more receipts or pages, or does not say how long its pages are.
    """
    total_pages = whole(position, "totalPages") or whole(position, "pageCount") or None
    count = next((n for name in ("count", "totalCount") if (n := whole(position, name)) is not None), None)
    served = whole(position, "pageSize") or whole(position, "limit")
    length = min(page_size, served or page_size)
    if total_pages is not None:
        is_last = page >= total_pages and (page - 1) * length + len(items) >= (count or 0)
    else:
        is_last = served is not None and len(items) < length
    return ReceiptPage(items, page, total_pages, count, is_last or not items)
