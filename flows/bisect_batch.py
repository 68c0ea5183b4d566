"""Work on a batch that fails as a whole, done again in halves, so that one document never harms another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from invoices.errors import ContractError

MAX_FAILURES_WITHOUT_SUCCESS = 5  # items that fail alone before any part succeeds: then it is not their fault

Item = TypeVar("Item")


def process_with_bisection(
    items: Sequence[Item], process_items: Callable[[Sequence[Item]], None]
) -> list[tuple[Item, ContractError]]:
    """Call ``work`` with all items, or with ever smaller parts of them in order; return those that fail even alone.

    Raises:
        ContractError: everything fails; ``work``'s own error about a single item.
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
