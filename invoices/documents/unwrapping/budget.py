"""What opening one container may cost, however many are inside of it: bytes, parts and depth, counted in one place."""

from __future__ import annotations

from dataclasses import dataclass

from invoices.errors import DocumentError

MAX_UNPACKED_BYTES = 200 * 1000 * 1000  # over everything in one container; reliability B-41
MAX_PARTS = 300
MAX_ELEMENTS = 1_000_000  # structures of all kinds, of which each takes a few microseconds
MAX_ARCHIVES = 2  # an archive, and one in it
MAX_DEPTH = 20  # containers of any kind within each other; reliability B-09


@dataclass(slots=True)
class Budget:
    """What is left for everything in one container; what a failed attempt took is not given back."""

    unpacked_bytes: int = MAX_UNPACKED_BYTES
    parts: int = MAX_PARTS
    elements: int = MAX_ELEMENTS

    def take_bytes(self, count: int) -> None:
        """Take ``count`` bytes; raises ``DocumentError`` (``archive_limits``) where fewer are left, and takes none."""
        if count > self.unpacked_bytes:
            raise beyond(f"more than {MAX_UNPACKED_BYTES:,} bytes when unpacked")
        self.unpacked_bytes -= count

    def take_parts(self, count: int) -> None:
        """Take ``count`` parts; raises ``DocumentError`` (``archive_limits``) where fewer are left, and takes none."""
        if count > self.parts:
            raise beyond(f"more than {MAX_PARTS} parts in one container")
        self.parts -= count

    def take_elements(self, count: int) -> None:
        """Take ``count`` structures to look at; raises ``DocumentError`` (``archive_limits``) where fewer are left."""
        if count > self.elements:
            raise beyond(f"more than {MAX_ELEMENTS:,} structures in one container")
        self.elements -= count


class Count:
    """Counts the structures of one file against what any program writes, and against the budget of all."""

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget = budget
        self._limit = self._left = limit

    def one(self) -> None:
        """Count one more; raises ``DocumentError`` (``archive_limits``) past either."""
        self._left -= 1
        if self._left < 0:
            raise beyond(f"more than {self._limit:,} elements in one file")
        self._budget.take_elements(1)


def beyond(reason: str) -> DocumentError:
    """Return the error of a container that is larger, deeper or fuller than allowed."""
    return DocumentError(reason, reason_code="archive_limits")
