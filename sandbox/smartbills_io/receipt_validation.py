"""Validates the bodies of receipt requests: required properties and their types (sheet 05, section 4)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

MONEY_PROPERTIES = (
    "totalDiscounts", "totalFees", "subTotal", "totalTip", "totalDuties", "totalShipping", "totalTaxes", "total",
    "totalPayments",
)  # fmt: skip
"""The nine required properties that are money."""

DATE_PROPERTIES = ("date", "dueDate", "cancelledAt", "billingPeriodStartDate", "billingPeriodEndDate")
TEXT_PROPERTIES = (
    "receiptId",
    "currency",
    "orderNumber",
    "paymentStatus",
    "source",
    "cancelReason",
    "originalReceiptUrl",
)
ITEM_MONEY_PROPERTIES = ("price", "subTotal", "totalDiscounts", "totalDuties", "totalTaxes", "total")
MAX_ITEMS = 10_000
TENANT_ID_PATTERN = re.compile("[A-Za-z0-9_-]{1,40}")
"""The id of a business, as header and in the path."""

ErrorDetail = dict[str, str]


def validate_receipt_creation(body: Any, *, is_business_route: bool) -> list[ErrorDetail]:
    """Return the errors of a ReceiptCreateRequest; empty if it is valid.

    The business route uses the SDK's dialect, in which ``totalPayments`` does not exist and lines are ``lineItems``.
    """
    if not isinstance(body, dict):
        return [_build_error_detail("", "INVALID_PARAMETER", "the body is a JSON object")]
    required = [name for name in MONEY_PROPERTIES if not (is_business_route and name == "totalPayments")]
    required += ["taxesIncluded", "type"]
    errors = [
        _build_error_detail(name, "MISSING_REQUIRED_FIELD", f"{name} is required")
        for name in required
        if _is_missing(body, name)
    ]
    if not isinstance(body.get("taxesIncluded", False), bool | None):
        errors.append(_build_error_detail("taxesIncluded", "INVALID_PARAMETER", "taxesIncluded is true or false"))
    if not isinstance(body.get("type", ""), str | None):
        errors.append(_build_error_detail("type", "INVALID_PARAMETER", "type is text"))
    for name in MONEY_PROPERTIES:
        errors += _validate_money(name, body.get(name))
    for name in TEXT_PROPERTIES:
        if not isinstance(body.get(name), str | None):
            errors.append(_build_error_detail(name, "INVALID_PARAMETER", f"{name} is text"))
    errors += [
        _build_error_detail(name, "INVALID_DATE", f"{name} is an ISO 8601 date")
        for name in DATE_PROPERTIES
        if _has_invalid_date(body, name)
    ]
    errors += _validate_items("lineItems" if is_business_route and "lineItems" in body else "items", body)
    return errors


def validate_receipt_update(body: Any) -> list[ErrorDetail]:
    """Return the errors of a ReceiptUpdateRequest, whose six properties are all required (sheet 05, section 7)."""
    if not isinstance(body, dict):
        return [_build_error_detail("", "INVALID_PARAMETER", "the body is a JSON object")]
    expected_types: dict[str, type | tuple[type, ...]] = {
        "merchantId": int, "totalAmount": (int, Decimal), "currency": str, "items": list, "paymentMethod": str,
        "date": str,
    }  # fmt: skip
    errors = []
    for name, expected_type in expected_types.items():
        if _is_missing(body, name):
            errors.append(_build_error_detail(name, "MISSING_REQUIRED_FIELD", f"{name} is required"))
        elif not isinstance(body[name], expected_type) or isinstance(body[name], bool):
            errors.append(_build_error_detail(name, "INVALID_PARAMETER", f"{name} has the wrong type"))
    return errors or list(_validate_update_values(body))


def _validate_update_values(body: dict[str, Any]) -> Iterator[ErrorDetail]:
    """Yield the errors in the values of an update whose six properties have the right types."""
    if not _is_currency_code(body["currency"]):
        yield _build_error_detail("currency", "INVALID_CURRENCY", "currency is an ISO 4217 code")
    if _has_invalid_date(body, "date"):
        yield _build_error_detail("date", "INVALID_DATE", "date is an ISO 8601 date")
    if not all(isinstance(item, dict) for item in body["items"]):
        yield _build_error_detail("items", "INVALID_PARAMETER", "an item is an object")


def _validate_items(name: str, body: dict[str, Any]) -> Iterator[ErrorDetail]:
    items = body.get(name)
    if items is None:
        return
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        yield _build_error_detail(name, "INVALID_PARAMETER", f"{name} is a list of at most {MAX_ITEMS}")
        return
    for index, item in enumerate(items):
        item_path = f"{name}[{index}]"
        if not isinstance(item, dict):
            yield _build_error_detail(item_path, "INVALID_PARAMETER", "an item is an object")
            continue
        for key in ITEM_MONEY_PROPERTIES:
            yield from _validate_money(f"{item_path}.{key}", item.get(key))
        if not is_json_number(item.get("quantity", 0)):
            yield _build_error_detail(f"{item_path}.quantity", "INVALID_PARAMETER", "quantity is a number")
        if not isinstance(item.get("description"), dict | None) and name == "items":
            yield _build_error_detail(
                f"{item_path}.description", "INVALID_PARAMETER", "description is a map of languages"
            )


def _validate_money(name: str, value: Any) -> Iterator[ErrorDetail]:
    if value is None:
        return
    if not isinstance(value, dict) or not is_json_number(value.get("amount")):
        yield _build_error_detail(name, "INVALID_AMOUNT", f"{name} is {{amount: number, currency: text}}")
    elif not _is_currency_code(value.get("currency")):
        yield _build_error_detail(name, "INVALID_CURRENCY", f"{name}.currency is an ISO 4217 code")


def is_json_number(value: Any) -> bool:
    """Return whether a JSON value is a number."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _is_currency_code(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() and value.isupper()


def _has_invalid_date(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    try:
        dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return True
    return False


def _is_missing(body: dict[str, Any], name: str) -> bool:
    return body.get(name) is None


def _build_error_detail(field: str, code: str, message: str) -> ErrorDetail:
    return {"field": field, "code": code, "message": message}
