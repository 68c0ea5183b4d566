"""Reading single fields of a vendor's JSON object: the typed value, or None if it is missing or has another type."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from invoices.clients.rate_limit_headers import try_parse_timestamp

MAX_ID = 2**63 - 1  # the vendors' ids are 64-bit integers
_PATH_SAFE_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,199}")
_LONE_SURROGATE_PATTERN = re.compile(r"[\ud800-\udfff]")


def find_text(fields: Mapping[str, Any], name: str, max_chars: int = 10_000) -> str | None:
    """Return a non-empty string of at most ``max_chars`` characters that UTF-8 can encode (no lone surrogates)."""
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= max_chars or _LONE_SURROGATE_PATTERN.search(value):
        return None
    return value


def find_timestamp(fields: Mapping[str, Any], name: str) -> dt.datetime | None:
    """Return an aware UTC timestamp; one without a time zone counts as UTC."""
    return try_parse_timestamp(fields.get(name))


def find_path_safe_id(fields: Mapping[str, Any], name: str) -> str | None:
    """Return an id that can be put into a path as it is."""
    value = fields.get(name)
    return value if isinstance(value, str) and is_path_safe_id(value) else None


def is_path_safe_id(value: str) -> bool:
    """Return whether ``value`` can be put into a path as it is, without changing the path."""
    return _PATH_SAFE_ID_PATTERN.fullmatch(value) is not None


def find_whole_number(fields: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number from 0 to 2⁶³-1, also if it was sent as a string of digits."""
    value = fields.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID
    return value if is_whole else None


def find_money(fields: Mapping[str, Any], name: str) -> tuple[Decimal | None, str | None]:
    """Return (amount, currency) for a money object, or (amount, None) for a plain number."""
    value = fields.get(name)
    if isinstance(value, Mapping):
        return _to_decimal(value.get("amount")), find_text(value, "currency", 8)
    return _to_decimal(value), None


def list_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list, or nothing if ``value`` is not a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def list_texts(value: object) -> tuple[str, ...]:
    """Return the strings in a list, or nothing if ``value`` is not a list."""
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, list) else ()


def _to_decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    return Decimal(value)
