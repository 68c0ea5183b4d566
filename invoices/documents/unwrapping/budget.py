"""What opening one container may cost, however many are inside of it: bytes, parts and depth, counted in one place."""

from __future__ import annotations

from dataclasses import dataclass

from invoices.errors import DocumentError

MAX_UNPACKED_BYTES = 200 * 1000 * 1000  # over everything in one container; reliability B-41
MAX_PARTS = 300
MAX_ARCHIVES = 2  # an archive, and one in it
MAX_DEPTH = 20  # containers of any kind within each other; reliability B-09


@dataclass(slots=True)
class Budget:
    """What is left for everything in one container; what a failed attempt took is not given back."""

    unpacked_bytes: int = MAX_UNPACKED_BYTES
    parts: int = MAX_PARTS

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


def beyond(reason: str) -> DocumentError:
    """Return the error of a container that is larger, deeper or fuller than allowed."""
    return DocumentError(reason, reason_code="archive_limits")
