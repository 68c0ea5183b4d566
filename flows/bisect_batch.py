"""Process a batch that fails as a whole again in halves, so that one bad document does not block the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from invoices.errors import ContractError

MAX_FAILURES_WITHOUT_SUCCESS = 5  # items that fail alone before any part succeeds: then the items are not the cause

Item = TypeVar("Item")


def process_with_bisection(
    items: Sequence[Item], process_items: Callable[[Sequence[Item]], None]
) -> list[tuple[Item, ContractError]]:
    """Call ``process_items`` with all items, or with ever smaller parts of them in order.

    Returns the items that fail even alone, each with its error.

    Raises:
        ContractError: everything fails; the error of ``process_items`` about a single item.
    """
    parts, failures, has_succeeded = [items], list[tuple[Item, ContractError]](), False
    while parts:
        part = parts.pop(0)
        try:
            process_items(part)
            has_succeeded = True
        except ContractError as error:
            middle = len(part) // 2
            if middle:
                parts = [part[:middle], part[middle:], *parts]
                continue
            failures.append((part[0], error))
            if not has_succeeded and (len(failures) == len(items) or len(failures) > MAX_FAILURES_WITHOUT_SUCCESS):
                raise
    return failures
