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

from invoices.clients.error_mapping import Conflict, NotFound
from invoices.clients.http_client import ApiResponse, HttpClient, Timeouts
from invoices.clients.json_fields import find_money, find_text, find_timestamp, find_whole_number
from invoices.clients.strict_json import render_json
from invoices.errors import ConfigurationError, ContractError, UnknownOutcome

PAGE_SIZE = 100  # the vendor's largest (contract sheet 05 §6)
MAX_PAGES = 100_000
MAX_CLOCK_SKEW = dt.timedelta(days=1)


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


RemoteReceiptList = list[RemoteReceipt]


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    """One page of the list; ``total_pages`` and ``count`` (of all receipts) are what the API claims, if it does."""

    receipts: tuple[RemoteReceipt, ...]
    page_number: int
    total_pages: int | None
    total_count: int | None
    is_last: bool


class SmartBillsIoClient:
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
        self._http_client = HttpClient(base_url, session, headers, (api_key,), Timeouts.from_deadline(deadline))
        self._path = path.strip("/")
        if not all(part.isalnum() and part.isascii() for part in self._path.split("/")):
            raise ConfigurationError(f"{path!r} is not a route such as 'receipts' or 'businesses/7/receipts'")

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"SmartBillsIo({self._http_client.base_url!r}, path={self._path!r})"

    def create_receipt(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create one receipt with exactly one POST; ``body`` travels with its spelling and its decimals as they are.

        Raises DuplicateReceipt (409: look it up), UnknownOutcome (5xx, a broken line, a success that cannot be read),
        DocumentError (refused), TransientError, AccountError, ContractError.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        try:
            response = self._http_client.send_request("POST", self._path, headers=headers, data=render_json(body))
        except Conflict as error:
            raise DuplicateReceipt(str(error)) from None
        if not response.body.strip():
            raise response.build_unreadable_error("its body is empty")
        receipt = _parse_receipt(response.parse_json(), response)
        if receipt.receipt_id not in (None, body.get("receiptId")):
            raise response.build_unreadable_error(f"it shows another receipt, {receipt.receipt_id!r}")
        return receipt

    def fetch_receipt(self, remote_id: int) -> RemoteReceipt:
        """Return a receipt by the API's own id; raises NotFound when there is none."""
        response = self._http_client.send_request("GET", f"{self._path}/{remote_id:d}")
        receipt = _parse_receipt(response.parse_json(), response)
        if receipt.id != remote_id:
            raise response.build_unreadable_error(f"it shows the receipt {receipt.id}, not {remote_id}")
        return receipt

    def delete_receipt(self, remote_id: int) -> bool:
        """Delete a receipt for good; return False when it was already gone."""
        try:
            self._http_client.send_request("DELETE", f"{self._path}/{remote_id:d}")
        except NotFound:
            return False
        return True

    def fetch_receipt_page(
        self, page_number: int = 1, page_size: int = PAGE_SIZE, order_by: str = "createdAt", sort_order: str = "asc"
    ) -> ReceiptPage:
        """Return one page, counted from 1; its position is read from ``metadata``, ``pagination`` or flat keys."""
        params = {"page": str(page_number), "pageSize": str(page_size), "orderBy": order_by, "sortOrder": sort_order}
        response = self._http_client.send_request("GET", self._path, params=params)
        value = response.parse_json()
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise response.build_unreadable_error("it is no list of receipts")
        receipts = tuple(_parse_receipt(entry, response) for entry in value["data"])
        return _build_receipt_page(receipts, _get_pagination_fields(value), page_number, page_size)

    def list_receipts(self, since: dt.datetime | None = None) -> Iterator[RemoteReceipt]:
        """Yield each receipt once, oldest first, from ``since`` on; the end is read again for those that came late."""
        seen_ids: set[int] = set()
        last_page_number = 1
        for page in self._iter_pages("asc"):
            last_page_number = page.page_number
            yield from _filter_new_receipts(page, seen_ids, since)
        for page_number in range(last_page_number, MAX_PAGES):
            page = self.fetch_receipt_page(page_number)
            yield from _filter_new_receipts(page, seen_ids, since)
            if page.is_last:
                return

    def find_receipts(self, receipt_id: str, created_after: dt.datetime | None = None) -> RemoteReceiptList:
        """Return the receipts under our key, newest first: none, one, or the two that must never be.

        Reads the pages newest first and stops early only where the pages prove to be sorted and a receipt is a day
        older than ``created_after``. Then the first page is read again, and all pages if the list has shrunk meanwhile,
        because a deletion moves receipts onto pages already read.
        """
        receipts_by_id: dict[int, RemoteReceipt] = {}
        for _ in range(3):
            first_count = self._collect_matching_receipts(receipt_id, created_after, receipts_by_id)
            newest_page = self.fetch_receipt_page(1, sort_order="desc")
            receipts_by_id.update(
                (receipt.id, receipt) for receipt in newest_page.receipts if receipt.receipt_id == receipt_id
            )
            if first_count is None or newest_page.total_count is None or newest_page.total_count >= first_count:
                return sorted(receipts_by_id.values(), key=lambda receipt: -receipt.id)
        raise UnknownOutcome(f"the list of receipts keeps shrinking while {receipt_id!r} is looked up")

    def _collect_matching_receipts(
        self, receipt_id: str, created_after: dt.datetime | None, receipts_by_id: dict[int, RemoteReceipt]
    ) -> int | None:
        """Add the matching receipts to ``found`` and return how many receipts the first page said there are."""
        oldest_relevant = None if created_after is None else created_after - MAX_CLOCK_SKEW
        previous_created_at: dt.datetime | None = None
        is_sorted, total_count = True, None
        for page in self._iter_pages("desc"):
            total_count = page.total_count if page.page_number == 1 else total_count
            receipts_by_id.update(
                (receipt.id, receipt) for receipt in page.receipts if receipt.receipt_id == receipt_id
            )
            for receipt in page.receipts:
                if receipt.created_at is None or (
                    previous_created_at is not None and receipt.created_at > previous_created_at
                ):
                    is_sorted = False
                previous_created_at = receipt.created_at or previous_created_at
            if (
                oldest_relevant is not None
                and is_sorted
                and previous_created_at is not None
                and previous_created_at < oldest_relevant
            ):
                break
        return total_count

    def _iter_pages(self, sort_order: str) -> Iterator[ReceiptPage]:
        """Yield pages until the last; a full page that shows nothing new is a ContractError: paging is broken."""
        seen_ids: set[int] = set()
        for page_number in range(1, MAX_PAGES):
            try:
                page = self.fetch_receipt_page(page_number, sort_order=sort_order)
            except NotFound:
                if page_number == 1:
                    raise
                return
            page_ids = {receipt.id for receipt in page.receipts}
            if page_ids and page_ids <= seen_ids and len(page.receipts) < PAGE_SIZE:
                return
            if page_ids and page_ids <= seen_ids:
                raise ContractError(f"page {page_number} of the receipts shows only what earlier pages showed")
            seen_ids |= page_ids
            yield page
            if page.is_last:
                return
        raise ContractError(f"the list of receipts has more than {MAX_PAGES} pages")


def _filter_new_receipts(page: ReceiptPage, seen_ids: set[int], since: dt.datetime | None) -> Iterator[RemoteReceipt]:
    for receipt in page.receipts:
        if receipt.id in seen_ids:
            continue
        seen_ids.add(receipt.id)
        if since is None or receipt.created_at is None or receipt.created_at >= since:
            yield receipt


def _parse_receipt(value: Any, response: ApiResponse) -> RemoteReceipt:
    remote_id = find_whole_number(value, "id") if isinstance(value, dict) else None
    if remote_id is None:
        raise response.build_unreadable_error("it shows no receipt with an id")
    total, currency = find_money(value, "total")
    receipt_id = find_text(value, "receiptId")
    return RemoteReceipt(
        remote_id,
        receipt_id,
        total,
        currency or find_text(value, "currency", 8),
        find_timestamp(value, "createdAt"),
        value,
    )


def _get_pagination_fields(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((value[name] for name in ("metadata", "pagination") if isinstance(value.get(name), dict)), value)


def _build_receipt_page(
    receipts: tuple[RemoteReceipt, ...], pagination: Mapping[str, Any], page_number: int, page_size: int
) -> ReceiptPage:
    """Return the page and whether it is the last: an empty one is; so is a short one, or the last by the API's count.

    A short page proves nothing where the API counts more receipts or pages, or does not say how long its pages are.
    """
    total_pages = find_whole_number(pagination, "totalPages") or find_whole_number(pagination, "pageCount") or None
    total_count = next(
        (number for name in ("count", "totalCount") if (number := find_whole_number(pagination, name)) is not None),
        None,
    )
    served_page_size = find_whole_number(pagination, "pageSize") or find_whole_number(pagination, "limit")
    expected_length = min(page_size, served_page_size or page_size)
    if total_pages is not None:
        is_last = page_number >= total_pages and (page_number - 1) * expected_length + len(receipts) >= (
            total_count or 0
        )
    else:
        is_last = served_page_size is not None and len(receipts) < expected_length
    return ReceiptPage(receipts, page_number, total_pages, total_count, is_last or not receipts)
