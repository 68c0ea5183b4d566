"""The limits of opening one container with all containers inside it: bytes, parts, elements and depth."""

from __future__ import annotations

from dataclasses import dataclass

from invoices.errors import DocumentError

MAX_UNPACKED_BYTES = 200 * 1000 * 1000  # of everything in one container; docs/bad-inputs.md B-41
MAX_CONTAINER_PARTS = 300
MAX_CONTAINER_ELEMENTS = 1_000_000  # each takes a few microseconds
MAX_NESTED_ARCHIVES = 2  # an archive, and one in it
MAX_EINVOICE_DEPTH = 3  # e-invoices within each other
MAX_CONTAINER_DEPTH = 20  # containers of any kind within each other; docs/bad-inputs.md B-09


@dataclass(slots=True)
class UnpackBudget:
    """What is left for everything in one container; a failed attempt gives nothing back."""

    remaining_bytes: int = MAX_UNPACKED_BYTES
    remaining_parts: int = MAX_CONTAINER_PARTS
    remaining_elements: int = MAX_CONTAINER_ELEMENTS

    def consume_bytes(self, count: int) -> None:
        """Take ``count`` bytes. Raises ``DocumentError`` (``archive_limits``), and takes none, if fewer are left."""
        if count > self.remaining_bytes:
            raise build_limit_error(f"more than {MAX_UNPACKED_BYTES:,} bytes when unpacked")
        self.remaining_bytes -= count

    def consume_parts(self, count: int) -> None:
        """Take ``count`` parts. Raises ``DocumentError`` (``archive_limits``), and takes none, if fewer are left."""
        if count > self.remaining_parts:
            raise build_limit_error(f"more than {MAX_CONTAINER_PARTS} parts in one container")
        self.remaining_parts -= count

    def consume_elements(self, count: int) -> None:
        """Take ``count`` elements. Raises ``DocumentError`` (``archive_limits``) if fewer are left."""
        if count > self.remaining_elements:
            raise build_limit_error(f"more than {MAX_CONTAINER_ELEMENTS:,} elements in one container")
        self.remaining_elements -= count


class ElementCounter:
    """Counts the elements of one file against a limit of its own, and against the budget of the whole container."""

    def __init__(self, budget: UnpackBudget, limit: int) -> None:
        self._budget = budget
        self._limit = self._remaining = limit

    def count_element(self) -> None:
        """Count one element. Raises ``DocumentError`` (``archive_limits``) past either limit."""
        self._remaining -= 1
        if self._remaining < 0:
            raise build_limit_error(f"more than {self._limit:,} elements in one file")
        self._budget.consume_elements(1)


def build_limit_error(reason: str) -> DocumentError:
    """Return the error of a container past a limit."""
    return DocumentError(reason, reason_code="archive_limits")
