"""What opening one container may cost, however many are inside of it: bytes, parts and depth, counted in one place."""

from __future__ import annotations

from dataclasses import dataclass

from invoices.errors import DocumentError

MAX_UNPACKED_BYTES = 200 * 1000 * 1000  # over everything in one container; reliability B-41
MAX_CONTAINER_PARTS = 300
MAX_CONTAINER_ELEMENTS = 1_000_000  # structures of all kinds, of which each takes a few microseconds
MAX_NESTED_ARCHIVES = 2  # an archive, and one in it
MAX_CONTAINER_DEPTH = 20  # containers of any kind within each other; reliability B-09


@dataclass(slots=True)
class UnpackBudget:
    """What is left for everything in one container; what a failed attempt took is not given back."""

    remaining_bytes: int = MAX_UNPACKED_BYTES
    remaining_parts: int = MAX_CONTAINER_PARTS
    remaining_elements: int = MAX_CONTAINER_ELEMENTS

    def consume_bytes(self, count: int) -> None:
        """Take ``count`` bytes; raises ``DocumentError`` (``archive_limits``) where fewer are left, and takes none."""
        if count > self.remaining_bytes:
            raise build_limit_error(f"more than {MAX_UNPACKED_BYTES:,} bytes when unpacked")
        self.remaining_bytes -= count

    def consume_parts(self, count: int) -> None:
        """Take ``count`` parts; raises ``DocumentError`` (``archive_limits``) where fewer are left, and takes none."""
        if count > self.remaining_parts:
            raise build_limit_error(f"more than {MAX_CONTAINER_PARTS} parts in one container")
        self.remaining_parts -= count

    def consume_elements(self, count: int) -> None:
        """Take ``count`` structures to look at; raises ``DocumentError`` (``archive_limits``) where fewer are left."""
        if count > self.remaining_elements:
            raise build_limit_error(f"more than {MAX_CONTAINER_ELEMENTS:,} structures in one container")
        self.remaining_elements -= count


class ElementCounter:
    """Counts the structures of one file against what any program writes, and against the budget of all."""

    def __init__(self, budget: UnpackBudget, limit: int) -> None:
        self._budget = budget
        self._limit = self._remaining = limit

    def count_element(self) -> None:
        """Count one more; raises ``DocumentError`` (``archive_limits``) past either."""
        self._remaining -= 1
        if self._remaining < 0:
            raise build_limit_error(f"more than {self._limit:,} elements in one file")
        self._budget.consume_elements(1)


def build_limit_error(reason: str) -> DocumentError:
    """Return the error of a container that is larger, deeper or fuller than allowed."""
    return DocumentError(reason, reason_code="archive_limits")
