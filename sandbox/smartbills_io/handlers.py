"""One handler per route of the receipts API."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from sandbox.exact_json import JsonError, parse_json
from sandbox.request_context import ExactJsonResponse, LostResponse, RequestContext
from sandbox.request_parsing import parse_positive_or_none
from sandbox.settings import SandboxSettings
from sandbox.smartbills_io.error_responses import build_error_response
from sandbox.smartbills_io.receipt_store import DuplicateReceiptError, IdempotencyMismatchError, Receipt, ReceiptStore
from sandbox.smartbills_io.receipt_validation import (
    MONEY_PROPERTIES,
    ErrorDetail,
    validate_receipt_creation,
    validate_receipt_update,
)


@dataclass(frozen=True)
class AuthorizedCall:
    """An authorized call: its owner (API key and tenant), and whether its route uses the SDK's dialect."""

    receipt_store: ReceiptStore
    settings: SandboxSettings
    context: RequestContext
    owner: tuple[str, str]
    uses_sdk_dialect: bool

    def get_setting(self, name: str) -> Any:
        """Return the value of this vendor's setting for the caller's API key."""
        return self.settings.get_value(f"smartbills_io.{name}", self.owner[0])

    def consume_fault(self, name: str) -> bool:
        """Return whether a counting fault setting applies to this call, and count it down."""
        return self.settings.consume_fault(f"smartbills_io.{name}", self.owner[0])

    def build_error_response(
        self, status: int, code: str, message: str, details: Sequence[ErrorDetail] = ()
    ) -> Response:
        """Return an error in the envelope that is set for the caller."""
        return build_error_response(
            self.get_setting("error_envelope"), status, code, message, self.context.request_id, details
        )


def create_receipt(call: AuthorizedCall, request: Request, raw_body: bytes) -> Response:
    """Create a receipt; every accepted call creates another one, unless a setting prevents it."""
    try:
        body = parse_json(raw_body)
    except JsonError as error:
        return call.build_error_response(400, "VALIDATION_ERROR", str(error))
    if details := validate_receipt_creation(body, is_business_route=call.uses_sdk_dialect):
        return call.build_error_response(400, "VALIDATION_ERROR", "The receipt is not valid.", details[:50])
    if refusal := _find_refusal(call, body):
        return refusal
    idempotency_key = request.headers.get("idempotency-key") if call.get_setting("idempotency_key") else None
    try:
        receipt = call.receipt_store.create_receipt(
            call.owner,
            raw_body,
            body,
            require_unique_id=call.get_setting("unique_receipt_id"),
            idempotency_key=idempotency_key,
            clock_shift_seconds=call.context.clock_shift_seconds,
        )
    except DuplicateReceiptError:
        return call.build_error_response(409, "DUPLICATE_RECEIPT", "A receipt with this receiptId exists.")
    except IdempotencyMismatchError:
        return call.build_error_response(409, "CONFLICT", "The Idempotency-Key came with another body before.")
    if call.consume_fault("lost_response"):
        return LostResponse()
    if call.consume_fault("http_500_after_work"):
        return call.build_error_response(500, "INTERNAL_ERROR", "Something went wrong.")
    if call.consume_fault("garbled_create"):
        return _build_garbled_response(call, receipt)
    return ExactJsonResponse(_convert_to_dialect(call, receipt), int(call.get_setting("create_status")))


def get_receipt(call: AuthorizedCall, request: Request, _raw_body: bytes) -> Response:
    """Return one receipt."""
    receipt = _find_requested_receipt(call, request)
    return ExactJsonResponse(_convert_to_dialect(call, receipt)) if receipt else _build_not_found_response(call)


def list_receipts(call: AuthorizedCall, request: Request, _raw_body: bytes) -> Response:
    """Return one page, newest first by default; a page past the end is empty."""
    query = request.query_params
    page_number = parse_positive_or_none(query.get("page", "1"))
    page_size = parse_positive_or_none(query.get("pageSize", query.get("limit", "100")))
    direction = query.get("sortOrder", query.get("sortDirection", "desc")).lower()
    order_by = query.get("orderBy", query.get("sortBy", "createdAt"))
    if page_number is None or page_size is None or page_size > call.get_setting("max_page_size"):
        return call.build_error_response(
            400, "INVALID_PARAMETER", f"page from 1, pageSize from 1 to {call.get_setting('max_page_size')}."
        )
    if direction not in {"asc", "desc"} or not re.fullmatch(r"[A-Za-z]{1,40}", order_by):
        return call.build_error_response(
            400, "INVALID_PARAMETER", "sortOrder is asc or desc, orderBy a key of SBReceipt."
        )
    search_setting = call.get_setting("search")
    can_search = search_setting == "on" or (search_setting == "by_path" and call.uses_sdk_dialect)
    search = query.get("ReceiptNumber", query.get("Query")) if can_search else None
    receipts, total_count = call.receipt_store.list_receipts_and_count(
        call.owner,
        order_by=order_by,
        direction=direction,
        limit=page_size,
        offset=(page_number - 1) * page_size,
        search=search,
        lag=call.get_setting("list_lag"),
    )
    if call.consume_fault("garbled_list"):
        return _build_garbled_response(call, receipts)
    if call.consume_fault("empty_list"):
        receipts, total_count = [], 0
    if call.consume_fault("page_shift"):
        _insert_foreign_receipt(call)
    page_count = math.ceil(total_count / page_size)
    data = [_convert_to_dialect(call, receipt) for receipt in receipts]
    if call.uses_sdk_dialect:
        pagination = {"count": total_count, "pageCount": page_count, "currentPage": page_number, "limit": page_size}
        return ExactJsonResponse({"data": data, "pagination": pagination})
    return ExactJsonResponse(
        {
            "data": data,
            "metadata": {"page": page_number, "pageSize": page_size, "totalPages": page_count, "count": total_count},
        }
    )


def update_receipt(call: AuthorizedCall, request: Request, raw_body: bytes) -> Response:
    """Set total, currency, items and date of a receipt from the six required properties of an update."""
    receipt = _find_requested_receipt(call, request)
    if receipt is None:
        return _build_not_found_response(call)
    try:
        body = parse_json(raw_body)
    except JsonError as error:
        return call.build_error_response(400, "VALIDATION_ERROR", str(error))
    if details := validate_receipt_update(body):
        return call.build_error_response(400, "VALIDATION_ERROR", "The update is not valid.", details[:50])
    changes = {
        "total": {"amount": body["totalAmount"], "currency": body["currency"]},
        "items": body["items"],
        "date": body["date"],
    }
    call.receipt_store.update_receipt(receipt["id"], changes)
    return ExactJsonResponse(_convert_to_dialect(call, {**receipt, **changes}))


def delete_receipt(call: AuthorizedCall, request: Request, _raw_body: bytes) -> Response:
    """Delete a receipt; a second call answers 404."""
    receipt = _find_requested_receipt(call, request)
    if receipt is None:
        return _build_not_found_response(call)
    call.receipt_store.delete_receipt(receipt["id"])
    response_form = call.get_setting("delete")
    if response_form == "204" or (response_form == "by_path" and call.uses_sdk_dialect):
        return Response(status_code=204)
    return ExactJsonResponse(_convert_to_dialect(call, receipt))


def _find_refusal(call: AuthorizedCall, body: dict[str, Any]) -> Response | None:
    """Return the refusal of a valid creation if a setting demands one; nothing is created then."""
    customer = body.get("customer")
    email = customer.get("email") if isinstance(customer, dict) else None
    if email and email == call.get_setting("refused_customer"):
        return call.build_error_response(400, "VALIDATION_ERROR", "There is no customer with this e-mail.")
    if call.consume_fault("refused_creations"):
        return call.build_error_response(int(call.get_setting("refusal_status")), "REFUSED", "Refused by a setting.")
    return None


def _build_garbled_response(call: AuthorizedCall, content: Any) -> Response:
    """Return a successful response whose body cannot be used, in the form that is set."""
    bodies = {
        "html": b"<html><body>It works!</body></html>",
        "cut": ExactJsonResponse({"data": content}).body[:-20],
        "no_list": b'{"data": {"receipts": "none"}}',
        "entry_without_id": b'{"data": [{"receiptId": "x", "total": 1}], "metadata": {"totalPages": 1, "count": 1}}',
        "null": b"null",
        "id_only": b'{"id": 7}',
        "empty": b"",
    }
    return Response(bodies[call.get_setting("garbled_form")], media_type="application/json")


def _find_requested_receipt(call: AuthorizedCall, request: Request) -> Receipt | None:
    id_text = request.path_params["number"]
    return call.receipt_store.find_receipt(call.owner, int(id_text)) if re.fullmatch(r"[0-9]{1,18}", id_text) else None


def _build_not_found_response(call: AuthorizedCall) -> Response:
    return call.build_error_response(404, "NOT_FOUND", "No such receipt.")


def _convert_to_dialect(call: AuthorizedCall, receipt: Receipt) -> Receipt:
    """Return the receipt in the caller's dialect: prices as numbers if set, lines also under the SDK's name."""
    converted = dict(receipt)
    if call.get_setting("price_form") == "number":
        converted["items"] = [
            {**item, "price": item["price"]["amount"]} if isinstance(item.get("price"), dict) else item
            for item in receipt["items"]
        ]
    return {**converted, "lineItems": converted["items"]} if call.uses_sdk_dialect else converted


def _insert_foreign_receipt(call: AuthorizedCall) -> None:
    zero = {"amount": 0, "currency": "EUR"}
    body = {"receiptId": f"foreign-{call.context.request_id}", "type": "OFFICIAL", "taxesIncluded": False}
    body.update(dict.fromkeys(MONEY_PROPERTIES, zero))
    call.receipt_store.create_receipt(
        call.owner, b"", body, require_unique_id=False, idempotency_key=None, is_from_caller=False
    )
