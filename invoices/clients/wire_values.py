"""Reading single fields of a vendor's JSON object: the typed value, or None for what is missing or of another type."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from invoices.clients.throttling import instant

LARGEST_ID = 2**63 - 1  # the vendors' long
_OPAQUE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,199}")  # may stand in a path as it is


def text(fields: Mapping[str, Any], name: str, longest: int = 10_000) -> str | None:
    """Return a non-empty string of at most ``longest`` characters."""
    value = fields.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def moment(fields: Mapping[str, Any], name: str) -> dt.datetime | None:
    """Return an aware UTC instant; without a zone it is read as UTC."""
    return instant(fields.get(name))


def opaque_id(fields: Mapping[str, Any], name: str) -> str | None:
    """Return an id that can stand in a path without changing it."""
    value = fields.get(name)
    return value if isinstance(value, str) and is_opaque_id(value) else None


def is_opaque_id(value: str) -> bool:
    """Return whether ``value`` can stand in a path without changing it."""
    return _OPAQUE_ID.fullmatch(value) is not None


def whole(fields: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number from 0 to 2⁶³-1, also when it was sent as digits in a string."""
    value = fields.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID
    return value if is_whole else None


def money(fields: Mapping[str, Any], name: str) -> tuple[Decimal | None, str | None]:
    """Return (amount, currency) of a money object, or (amount, None) of a bare number."""
    value = fields.get(name)
    if isinstance(value, Mapping):
        return _number(value.get("amount")), text(value, "currency", 8)
    return _number(value), None


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    return Decimal(value)
