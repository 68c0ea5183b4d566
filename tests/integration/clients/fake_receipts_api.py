"""A receipts API in memory, for the tests of the smartbills.io client."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.servers.scripted_http_server import ReceivedRequest, Response

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def build_receipt(number: int, receipt_id: str | None = None, created: dt.datetime | None = NOON) -> dict[str, Any]:
    return {
        "id": number,
        "receiptId": receipt_id or f"r{number}",
        "total": {"amount": 1.5, "currency": "EUR"},
        "createdAt": created.isoformat().replace("+00:00", "Z") if created else None,
    }


class FakeReceiptsApi:
    """A receipts API that stores receipts; it can return wrong pages, or change while a client reads it."""

    def __init__(
        self, *receipts: dict[str, Any], max_page_size: int = 100, pagination_style: str | None = "metadata"
    ) -> None:
        self.receipts = list(receipts)
        self.max_page_size, self.pagination_style = max_page_size, pagination_style
        self.ignores_order = False
        self.actions_before_request: dict[int, Any] = {}  # number of the request (from 1) → what happens before it
        self.request_count = 0

    def __call__(self, request: ReceivedRequest) -> Response:
        self.request_count += 1
        self.actions_before_request.get(self.request_count, lambda: None)()
        query = request.query
        page, size = int(query["page"]), min(int(query["pageSize"]), self.max_page_size)
        is_reversed = query["sortOrder"] == "desc" and not self.ignores_order
        ordered = sorted(self.receipts, key=lambda r: (r["createdAt"] or "", r["id"]), reverse=is_reversed)
        data = ordered[(page - 1) * size : page * size]
        pages = -(-len(ordered) // size)
        position = {
            "metadata": {"metadata": {"page": page, "pageSize": size, "totalPages": pages, "count": len(ordered)}},
            "pagination": {
                "pagination": {"count": len(ordered), "pageCount": pages, "currentPage": page, "limit": size}
            },
            "flat": {"page": page, "pageSize": size, "totalPages": pages, "totalCount": len(ordered)},
            None: {},
        }[self.pagination_style]
        return Response.from_json({"data": data, **position})
