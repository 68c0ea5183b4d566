"""The MAPI properties in a winmail.dat (MS-OXTNEF 2.1.3.4): typed values, read up to the first fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from invoices.documents.unwrapping.budget import Count

_WIDTHS = {  # of values of a fixed size, as they are stored: padded to four bytes
    0x0002: 4, 0x0003: 4, 0x0004: 4, 0x000A: 4, 0x000B: 4,
    0x0005: 8, 0x0006: 8, 0x0007: 8, 0x0014: 8, 0x0040: 8, 0x0048: 16,
}  # fmt: skip
STRING, UNICODE, OBJECT, BINARY = 0x001E, 0x001F, 0x000D, 0x0102
_VARIABLE = (STRING, UNICODE, OBJECT, BINARY)
_MANY_VALUES = 0x1000
_NAMED = 0x8000


class Damaged(ValueError):
    """The bytes are no such structure, or not all of it."""


@dataclass(frozen=True, slots=True)
class Property:
    """One value of one property; ``kind`` is its MAPI type without the mark of several values."""

    number: int
    kind: int
    value: bytes


class Bytes:
    """Reads little-endian values one after the other; raises ``Damaged`` past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def left(self) -> int:
        """Return the number of bytes that are not read yet."""
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        if count > self.left():
            raise Damaged("the end is missing")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, width: int) -> int:
        """Return the next whole number of ``width`` bytes."""
        return int.from_bytes(self.take(width), "little")

    def ahead(self, count: int) -> bytes:
        """Return up to ``count`` of the bytes that are next, without reading them."""
        return self._data[self.at : self.at + count]


def properties(data: bytes, counted: Count) -> Iterator[Property]:
    """Yield each value of each property; raises ``Damaged`` where the list breaks off, after what is before it.

    Each property and each value is ``counted``.
    """
    source = Bytes(data)
    for _ in range(source.number(4)):
        counted.one()
        kind, number = source.number(2), source.number(2)
        if number >= _NAMED:
            _skip_name(source)
        has_many, kind = kind & _MANY_VALUES, kind & ~_MANY_VALUES
        count = source.number(4) if has_many or kind in _VARIABLE else 1
        if kind not in _VARIABLE and kind not in _WIDTHS:
            raise Damaged(f"a value of the unknown type {kind:#06x}")
        for _ in range(count):
            counted.one()
            value = _padded(source, source.number(4)) if kind in _VARIABLE else source.take(_WIDTHS[kind])
            yield Property(number, kind, value)


def text(value: Property, encoding: str) -> str | None:
    """Return a text without the zero that ends it, None for what is none."""
    if value.kind == UNICODE:
        return value.value.decode("utf-16-le", "replace").split("\0")[0]
    return value.value.decode(encoding, "replace").split("\0")[0] if value.kind == STRING else None


def _skip_name(source: Bytes) -> None:
    source.take(16)  # the set that the name belongs to
    if source.number(4) == 0:
        source.take(4)
    else:
        _padded(source, source.number(4))


def _padded(source: Bytes, length: int) -> bytes:
    value = source.take(length)
    source.take(min(-length % 4, source.left()))
    return value
