"""The client of api.smartbills.io: create, fetch, list and delete receipts, with the vendor's own field names.

Each call is one request. Creating is not safe to repeat (contract sheet 05 §9): an unclear outcome is an
UnknownOutcome, to be looked up in the list.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import requests

from invoices.clients.error_mapping import Conflict, NotFound
from invoices.clients.http_client import ApiResponse, HttpClient, Timeouts
from invoices.clients.json_fields import find_money, find_text, find_timestamp, find_whole_number
from invoices.clients.rate_limit_headers import try_parse_timestamp
from invoices.clients.strict_json import render_json
from invoices.errors import ConfigurationError

PAGE_SIZE = 100  # the vendor's maximum (contract sheet 05 §6)


class DuplicateReceipt(Conflict):
    """The API already has the receipt, or another one under the same key: look it up and compare."""


@dataclass(frozen=True, slots=True)
class RemoteReceipt:
    """A receipt as the API returns it; ``raw`` is its whole JSON. The API does not echo customer and order data."""

    id: int
    receipt_id: str | None
    total: Decimal | None
    currency: str | None
    created_at: dt.datetime | None
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    """One page of the list; ``total_pages`` and ``total_count`` (of all receipts) are the API's own, if it has them.

    ``server_time`` is the API's clock, from the header Date, if it is there.
    """

    receipts: tuple[RemoteReceipt, ...]
    page_number: int
    total_pages: int | None
    total_count: int | None
    is_last: bool
    server_time: dt.datetime | None = None


class SmartBillsIoClient:
    """The receipts API for one account; ``base_url`` ends in ``/v1``, and ``path`` is the route below it."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        tenant_id: str | None,
        session: requests.Session,
        path: str = "receipts",
        deadline: float = 60.0,
    ) -> None:
        """Use a session from ``make_session``; one call takes at most ``deadline`` seconds.

        Raises ConfigurationError for an unusable URL, key, tenant or path.
        """
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        if tenant_id is not None:
            headers["x-tenant-id"] = tenant_id
        self._http_client = HttpClient(base_url, session, headers, (api_key,), Timeouts.from_deadline(deadline))
        self._path = path.strip("/")
        if not all(part.isalnum() and part.isascii() for part in self._path.split("/")):
            raise ConfigurationError(
                f"{path!r} is not a valid route for receipts: use one such as 'receipts' or 'businesses/7/receipts'"
            )

    def __repr__(self) -> str:
        """Return the URL without any secret."""
        return f"SmartBillsIoClient({self._http_client.base_url!r}, path={self._path!r})"

    def create_receipt(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        """Create one receipt with exactly one POST; the field names and decimals of ``body`` are sent unchanged.

        Raises DuplicateReceipt (409: look it up), UnknownOutcome (5xx, a broken connection, an unreadable 2xx),
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
            raise response.build_unreadable_error(f"it is for another receipt, {receipt.receipt_id!r}")
        return receipt

    def fetch_receipt(self, remote_id: int) -> RemoteReceipt:
        """Return a receipt by the API's own id; raises NotFound if there is none."""
        response = self._http_client.send_request("GET", f"{self._path}/{remote_id:d}")
        receipt = _parse_receipt(response.parse_json(), response)
        if receipt.id != remote_id:
            raise response.build_unreadable_error(f"it is for the receipt {receipt.id}, not {remote_id}")
        return receipt

    def delete_receipt(self, remote_id: int) -> bool:
        """Delete a receipt permanently; return False if it was already gone."""
        try:
            self._http_client.send_request("DELETE", f"{self._path}/{remote_id:d}")
        except NotFound:
            return False
        return True

    def fetch_receipt_page(
        self, page_number: int = 1, page_size: int = PAGE_SIZE, order_by: str = "createdAt", sort_order: str = "desc"
    ) -> ReceiptPage:
        """Return one page, counted from 1; its position comes from ``metadata``, ``pagination`` or flat keys."""
        params = {"page": str(page_number), "pageSize": str(page_size), "orderBy": order_by, "sortOrder": sort_order}
        response = self._http_client.send_request("GET", self._path, params=params)
        value = response.parse_json()
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise response.build_unreadable_error("it is not a list of receipts")
        receipts = tuple(_parse_receipt(entry, response) for entry in value["data"])
        pagination_keys = ("metadata", "pagination")
        pagination = next((value[key] for key in pagination_keys if isinstance(value.get(key), dict)), value)
        server_time = try_parse_timestamp(response.headers.get("Date"))
        return replace(_build_receipt_page(receipts, pagination, page_number, page_size), server_time=server_time)


def _parse_receipt(value: Any, response: ApiResponse) -> RemoteReceipt:
    remote_id = find_whole_number(value, "id") if isinstance(value, dict) else None
    if remote_id is None:
        raise response.build_unreadable_error("it has no receipt with an id")
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


def _build_receipt_page(
    receipts: tuple[RemoteReceipt, ...], pagination: Mapping[str, Any], page_number: int, page_size: int
) -> ReceiptPage:
    """Return the page and whether it is the last: if it is empty, or short, or the last by the API's own count.

    A short page proves nothing if the API counts more receipts or pages, or does not say how long its pages are.
    """
    total_pages = find_whole_number(pagination, "totalPages") or find_whole_number(pagination, "pageCount") or None
    total_count = next(
        (number for name in ("count", "totalCount") if (number := find_whole_number(pagination, name)) is not None),
        None,
    )
    served_page_size = find_whole_number(pagination, "pageSize") or find_whole_number(pagination, "limit")
    expected_length = min(page_size, served_page_size or page_size)
    if total_pages is not None:
        read_count = (page_number - 1) * expected_length + len(receipts)
        is_last = page_number >= total_pages and read_count >= (total_count or 0)
    else:
        is_last = served_page_size is not None and len(receipts) < expected_length
    return ReceiptPage(receipts, page_number, total_pages, total_count, is_last or not receipts)
