"""Lists whose shape no vendor documents: one complete list of objects, or nothing at all.

A list read in part would make a job that is on the next page look like one that never was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invoices.clients.transport import Reply

_PAGES = ("totalPages", "total_pages", "pageCount")
_ENTRIES = ("total", "total_count", "totalCount")
_MORE = ("has_more", "hasMore", "hasNext", "next", "next_cursor", "nextCursor")


def complete_list(value: Any, names: Sequence[str], reply: Reply) -> list[Any]:
    """Return the list in ``value``, bare or under the first of ``names`` that is there.

    Raises ContractError where there is none, and where the answer says that there is more of it.
    """
    listed = next((value[name] for name in names if name in value), None) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise reply.unreadable("it holds no list")
    if isinstance(value, dict):
        _check_complete(value, len(listed), reply)
    return listed


def _check_complete(listed: Mapping[str, Any], length: int, reply: Reply) -> None:
    """Refuse a list that says there is more of it: we do not know how to ask for the rest."""
    for place in [listed, *(p for p in map(listed.get, ("metadata", "pagination", "meta")) if isinstance(p, dict))]:
        is_more = any(place.get(name) for name in _MORE)
        if is_more or _number(place, _PAGES) > 1 or _number(place, _ENTRIES) > length:
            raise reply.unreadable("it shows only a part of the list")


def _number(place: Mapping[str, Any], names: Sequence[str]) -> int:
    return next((place[name] for name in names if isinstance(place.get(name), int)), 0)
