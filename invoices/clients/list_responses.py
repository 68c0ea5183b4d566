"""Lists in shapes that no vendor documents: one complete list of objects, or an error.

With a partial list, a job on the next page would look as if it had never existed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invoices.clients.http_client import ApiResponse
from invoices.errors import ContractError

_PAGE_COUNT_KEYS = ("totalPages", "total_pages", "pageCount")
_ENTRY_COUNT_KEYS = ("total", "total_count", "totalCount")
_HAS_MORE_KEYS = ("has_more", "hasMore", "hasNext", "next", "next_cursor", "nextCursor")


def get_complete_list(value: Any, list_keys: Sequence[str], response: ApiResponse) -> list[Any]:
    """Return the list that ``value`` is, or that it holds under the first of ``list_keys`` that is there.

    Raises ContractError if there is none, and if the response says that the list has more entries.
    """
    entries = next((value[name] for name in list_keys if name in value), None) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise response.build_unreadable_error("it holds no list")
    if isinstance(value, dict):
        _check_list_is_complete(value, len(entries), response)
    return entries


def _check_list_is_complete(response_object: Mapping[str, Any], entry_count: int, response: ApiResponse) -> None:
    """Raise ContractError for a list with more entries: how to get the rest is not documented."""
    nested_objects = [response_object.get(name) for name in ("metadata", "pagination", "meta")]
    for section in (response_object, *(value for value in nested_objects if isinstance(value, dict))):
        if (
            any(section.get(name) for name in _HAS_MORE_KEYS)
            or _get_first_integer(section, _PAGE_COUNT_KEYS) > 1
            or _get_first_integer(section, _ENTRY_COUNT_KEYS) > entry_count
        ):
            raise ContractError(f"{response.call} succeeded, but its response holds only a part of the list")


def _get_first_integer(section: Mapping[str, Any], keys: Sequence[str]) -> int:
    return next((section[name] for name in keys if isinstance(section.get(name), int)), 0)
