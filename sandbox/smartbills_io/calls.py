"""One function per call on the receipts API: what it demands, and what it answers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from sandbox.exact_json import JsonError, loads
from sandbox.knobs import Knobs
from sandbox.smartbills_io.receipts import DuplicateReceipt, IdempotencyMismatch, Receipt, Receipts
from sandbox.smartbills_io.refusals import refusal
from sandbox.smartbills_io.shapes import MONEY, Detail, faults_of_creation, faults_of_update
from sandbox.visits import Json, Lost, Visit


@dataclass(frozen=True)
class Call:
    """A call that was let in: whose it is (API key and tenant), and which dialect its route speaks."""

    receipts: Receipts
    knobs: Knobs
    visit: Visit
    owner: tuple[str, str]
    speaks_sdk: bool

    def knob(self, name: str) -> Any:
        """Return the value of this vendor's knob for the caller."""
        return self.knobs.get(f"smartbills_io.{name}", self.owner[0])

    def take(self, name: str) -> bool:
        """Return whether a counting knob strikes now."""
        return self.knobs.take(f"smartbills_io.{name}", self.owner[0])

    def refuse(self, status: int, code: str, message: str, details: Sequence[Detail] = ()) -> Response:
        """Return an error answer in the caller's envelope."""
        return refusal(self.knob("error_envelope"), status, code, message, self.visit.request_id, details)


def create(call: Call, request: Request, raw: bytes) -> Response:
    """Create a receipt; every accepted call makes another one, unless a knob says otherwise."""
    try:
        body = loads(raw)
    except JsonError as error:
        return call.refuse(400, "VALIDATION_ERROR", str(error))
    if details := faults_of_creation(body, is_business_route=call.speaks_sdk):
        return call.refuse(400, "VALIDATION_ERROR", "The receipt is not valid.", details[:50])
    key = request.headers.get("idempotency-key") if call.knob("idempotency_key") else None
    try:
        receipt = call.receipts.create(
            call.owner, raw, body, is_unique=call.knob("unique_receipt_id"), idempotency_key=key
        )
    except DuplicateReceipt:
        return call.refuse(409, "DUPLICATE_RECEIPT", "A receipt with this receiptId exists.")
    except IdempotencyMismatch:
        return call.refuse(409, "CONFLICT", "The Idempotency-Key came with another body before.")
    if call.take("lost_response"):
        return Lost()
    if call.take("http_500_after_work"):
        return call.refuse(500, "INTERNAL_ERROR", "Something went wrong.")
    return Json(_told(call, receipt), int(call.knob("create_status")))


def retrieve(call: Call, request: Request, _raw: bytes) -> Response:
    """Return one receipt."""
    receipt = _found(call, request)
    return Json(_told(call, receipt)) if receipt else _missing(call)


def listing(call: Call, request: Request, _raw: bytes) -> Response:
    """Return one page, newest first by default; a page past the end is empty."""
    query = request.query_params
    page, size = _positive(query.get("page", "1")), _positive(query.get("pageSize", query.get("limit", "100")))
    direction = query.get("sortOrder", query.get("sortDirection", "desc")).lower()
    order = query.get("orderBy", query.get("sortBy", "createdAt"))
    if page is None or size is None or size > call.knob("max_page_size"):
        return call.refuse(400, "INVALID_PARAMETER", f"page from 1, pageSize from 1 to {call.knob('max_page_size')}.")
    if direction not in {"asc", "desc"} or not re.fullmatch(r"[A-Za-z]{1,40}", order):
        return call.refuse(400, "INVALID_PARAMETER", "sortOrder is asc or desc, orderBy a key of SBReceipt.")
    search = query.get("ReceiptNumber", query.get("Query")) if _is_searching(call) else None
    rows, count = call.receipts.page(
        call.owner, order=order, direction=direction, limit=size, offset=(page - 1) * size, search=search
    )
    if call.take("page_shift"):
        _insert_stranger(call)
    pages = math.ceil(count / size)
    data = [_told(call, receipt) for receipt in rows]
    if call.speaks_sdk:
        meta = {"count": count, "pageCount": pages, "currentPage": page, "limit": size}
        return Json({"data": data, "pagination": meta})
    return Json({"data": data, "metadata": {"page": page, "pageSize": size, "totalPages": pages, "count": count}})


def update(call: Call, request: Request, raw: bytes) -> Response:
    """Set total, currency, items and date of a receipt, from the six properties an update must have."""
    receipt = _found(call, request)
    if receipt is None:
        return _missing(call)
    try:
        body = loads(raw)
    except JsonError as error:
        return call.refuse(400, "VALIDATION_ERROR", str(error))
    if details := faults_of_update(body):
        return call.refuse(400, "VALIDATION_ERROR", "The update is not valid.", details[:50])
    changes = {
        "total": {"amount": body["totalAmount"], "currency": body["currency"]},
        "items": body["items"],
        "date": body["date"],
    }
    call.receipts.update(receipt["id"], changes)
    return Json(_told(call, {**receipt, **changes}))


def delete(call: Call, request: Request, _raw: bytes) -> Response:
    """Delete a receipt for good; a second time it is not there."""
    receipt = _found(call, request)
    if receipt is None:
        return _missing(call)
    call.receipts.delete(receipt["id"])
    form = call.knob("delete")
    if form == "204" or (form == "by_path" and call.speaks_sdk):
        return Response(status_code=204)
    return Json(_told(call, receipt))


def _found(call: Call, request: Request) -> Receipt | None:
    text = request.path_params["number"]
    return call.receipts.find(call.owner, int(text)) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _missing(call: Call) -> Response:
    return call.refuse(404, "NOT_FOUND", "No such receipt.")


def _positive(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and int(text) > 0 else None


def _is_searching(call: Call) -> bool:
    search = call.knob("search")
    return bool(search == "on" or (search == "by_path" and call.speaks_sdk))


def _told(call: Call, receipt: Receipt) -> Receipt:
    """Return the receipt in the caller's dialect: prices as numbers on demand, lines under the SDK's name too."""
    told = dict(receipt)
    if call.knob("price_form") == "number":
        told["items"] = [_with_plain_price(item) for item in receipt["items"]]
    return {**told, "lineItems": told["items"]} if call.speaks_sdk else told


def _with_plain_price(item: dict[str, Any]) -> dict[str, Any]:
    price = item.get("price")
    return {**item, "price": price["amount"]} if isinstance(price, dict) else item


def _insert_stranger(call: Call) -> None:
    zero = {"amount": 0, "currency": "EUR"}
    body = {"receiptId": f"stranger-{call.visit.request_id}", "type": "OFFICIAL", "taxesIncluded": False}
    body.update(dict.fromkeys(MONEY, zero))
    call.receipts.create(call.owner, b"", body, is_unique=False, idempotency_key=None, is_ours=False)
