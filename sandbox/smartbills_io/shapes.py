"""What a receipt must look like on the wire: the required properties and their shapes (sheet 05, section 4)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

MONEY = (
    "totalDiscounts", "totalFees", "subTotal", "totalTip", "totalDuties", "totalShipping", "totalTaxes", "total",
    "totalPayments",
)  # fmt: skip
"""The nine required properties that are money."""

DATES = ("date", "dueDate", "cancelledAt", "billingPeriodStartDate", "billingPeriodEndDate")
TEXTS = ("receiptId", "currency", "orderNumber", "paymentStatus", "source", "cancelReason", "originalReceiptUrl")
ITEM_MONEY = ("price", "subTotal", "totalDiscounts", "totalDuties", "totalTaxes", "total")
MOST_ITEMS = 10_000
TENANT = re.compile("[A-Za-z0-9_-]{1,40}")
"""The id of a business, as header and in the path."""

Detail = dict[str, str]


def faults_of_creation(body: Any, *, is_business_route: bool) -> list[Detail]:
    """Return what is wrong with a ReceiptCreateRequest; empty where nothing is.

    The business route speaks the SDK's dialect, where ``totalPayments`` does not exist and lines are ``lineItems``.
    """
    if not isinstance(body, dict):
        return [_fault("", "INVALID_PARAMETER", "the body is a JSON object")]
    required = [name for name in MONEY if not (is_business_route and name == "totalPayments")]
    required += ["taxesIncluded", "type"]
    found = [_fault(name, "MISSING_REQUIRED_FIELD", f"{name} is required") for name in required if _lacks(body, name)]
    if not isinstance(body.get("taxesIncluded", False), bool | None):
        found.append(_fault("taxesIncluded", "INVALID_PARAMETER", "taxesIncluded is true or false"))
    if not isinstance(body.get("type", ""), str | None):
        found.append(_fault("type", "INVALID_PARAMETER", "type is text"))
    for name in MONEY:
        found += _faults_of_money(name, body.get(name))
    for name in TEXTS:
        if not isinstance(body.get(name), str | None):
            found.append(_fault(name, "INVALID_PARAMETER", f"{name} is text"))
    found += [_fault(name, "INVALID_DATE", f"{name} is an ISO 8601 date") for name in DATES if _is_no_date(body, name)]
    found += _faults_of_items("lineItems" if is_business_route and "lineItems" in body else "items", body)
    return found


def faults_of_update(body: Any) -> list[Detail]:
    """Return what is wrong with a ReceiptUpdateRequest, whose six properties are all required (sheet 05, section 7)."""
    if not isinstance(body, dict):
        return [_fault("", "INVALID_PARAMETER", "the body is a JSON object")]
    kinds: dict[str, type | tuple[type, ...]] = {
        "merchantId": int, "totalAmount": (int, Decimal), "currency": str, "items": list, "paymentMethod": str,
        "date": str,
    }  # fmt: skip
    found = []
    for name, kind in kinds.items():
        if _lacks(body, name):
            found.append(_fault(name, "MISSING_REQUIRED_FIELD", f"{name} is required"))
        elif not isinstance(body[name], kind) or isinstance(body[name], bool):
            found.append(_fault(name, "INVALID_PARAMETER", f"{name} has the wrong type"))
    return found or list(_faults_of_values(body))


def _faults_of_values(body: dict[str, Any]) -> Iterator[Detail]:
    """Yield what is wrong with an update whose six properties have the right types."""
    if not _is_currency(body["currency"]):
        yield _fault("currency", "INVALID_CURRENCY", "currency is an ISO 4217 code")
    if _is_no_date(body, "date"):
        yield _fault("date", "INVALID_DATE", "date is an ISO 8601 date")
    if not all(isinstance(item, dict) for item in body["items"]):
        yield _fault("items", "INVALID_PARAMETER", "an item is an object")


def _faults_of_items(name: str, body: dict[str, Any]) -> Iterator[Detail]:
    items = body.get(name)
    if items is None:
        return
    if not isinstance(items, list) or len(items) > MOST_ITEMS:
        yield _fault(name, "INVALID_PARAMETER", f"{name} is a list of at most {MOST_ITEMS}")
        return
    for number, item in enumerate(items):
        where = f"{name}[{number}]"
        if not isinstance(item, dict):
            yield _fault(where, "INVALID_PARAMETER", "an item is an object")
            continue
        for key in ITEM_MONEY:
            yield from _faults_of_money(f"{where}.{key}", item.get(key))
        if not is_number(item.get("quantity", 0)):
            yield _fault(f"{where}.quantity", "INVALID_PARAMETER", "quantity is a number")
        if not isinstance(item.get("description"), dict | None) and name == "items":
            yield _fault(f"{where}.description", "INVALID_PARAMETER", "description is a map of languages")


def _faults_of_money(name: str, value: Any) -> Iterator[Detail]:
    if value is None:
        return
    if not isinstance(value, dict) or not is_number(value.get("amount")):
        yield _fault(name, "INVALID_AMOUNT", f"{name} is {{amount: number, currency: text}}")
    elif not _is_currency(value.get("currency")):
        yield _fault(name, "INVALID_CURRENCY", f"{name}.currency is an ISO 4217 code")


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _is_currency(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() and value.isupper()


def _is_no_date(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    try:
        dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return True
    return False


def _lacks(body: dict[str, Any], name: str) -> bool:
    return body.get(name) is None


def _fault(field: str, code: str, message: str) -> Detail:
    return {"field": field, "code": code, "message": message}
