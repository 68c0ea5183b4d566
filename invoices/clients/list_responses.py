"""Lists whose shape no vendor documents: one complete list of objects, or nothing at all.

A list read in part would make a job that is on the next page look like one that never was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invoices.clients.http_client import ApiResponse

_PAGE_COUNT_KEYS = ("totalPages", "total_pages", "pageCount")
_ENTRY_COUNT_KEYS = ("total", "total_count", "totalCount")
_HAS_MORE_KEYS = ("has_more", "hasMore", "hasNext", "next", "next_cursor", "nextCursor")


def get_complete_list(value: Any, list_keys: Sequence[str], response: ApiResponse) -> list[Any]:
    """Return the list in ``value``, bare or under the first of ``names`` that is there.

    Raises ContractError where there is none, and where the answer says that there is more of it.
    """
    entries = next((value[name] for name in list_keys if name in value), None) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise response.build_unreadable_error("it holds no list")
    if isinstance(value, dict):
        _check_list_is_complete(value, len(entries), response)
    return entries


def _check_list_is_complete(response_object: Mapping[str, Any], entry_count: int, response: ApiResponse) -> None:
    """Refuse a list that says there is more of it: we do not know how to ask for the rest."""
    for section in [
        response_object,
        *(
            nested_object
            for nested_object in map(response_object.get, ("metadata", "pagination", "meta"))
            if isinstance(nested_object, dict)
        ),
    ]:
        has_more = any(section.get(name) for name in _HAS_MORE_KEYS)
        if (
            has_more
            or _get_first_integer(section, _PAGE_COUNT_KEYS) > 1
            or _get_first_integer(section, _ENTRY_COUNT_KEYS) > entry_count
        ):
            raise response.build_unreadable_error("it shows only a part of the list")


def _get_first_integer(section: Mapping[str, Any], keys: Sequence[str]) -> int:
    return next((section[name] for name in keys if isinstance(section.get(name), int)), 0)
