"""A cursor over ASN.1 in its basic encoding (X.690 §8): forward only, no recursion, what a signed file needs."""

from __future__ import annotations

from invoices.documents.unwrapping.budget import Count

SEQUENCE = 0x30
OBJECT_IDENTIFIER = 0x06
EXPLICIT_0 = 0xA0
_OCTETS, _OCTETS_IN_PIECES = 0x04, 0x24
_CONSTRUCTED = 0x20
_MAX_NESTING = 64


class Damaged(ValueError):
    """The bytes are no such encoding, or not all of it."""


class Cursor:
    """Reads elements one after the other, each of them ``counted``; raises ``Damaged`` where the bytes are others."""

    def __init__(self, data: bytes, counted: Count) -> None:
        self._data = data
        self._at = 0
        self._counted = counted

    def peek(self) -> int:
        """Return the tag of the next element, 0 at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def enter(self, tag: int) -> int | None:
        """Go to the first element inside of the next one; return where that ends, None where its end is marked."""
        return self._end(self._expect(tag))

    def take(self, tag: int) -> bytes:
        """Return the content of the next element, which is not made of others."""
        return self._bytes(self._expect(tag))

    def skip(self) -> None:
        """Go past the next element, whatever is in it."""
        open_ends = 0
        while True:
            tag, length = self._header()
            if length is None:
                open_ends += 1
            elif (tag, length) == (0, 0) and open_ends:
                open_ends -= 1
            else:
                self._bytes(length)
            if not open_ends:
                return

    def octets(self) -> bytes:
        """Return the content of the next element, an octet string: whole, or in pieces within pieces."""
        if self.peek() == _OCTETS:
            return self.take(_OCTETS)
        pieces: list[bytes] = []
        ends = [self.enter(_OCTETS_IN_PIECES)]
        while ends:
            if self.is_over(ends[-1]):
                ends.pop()
            elif self.peek() == _OCTETS:
                pieces.append(self.take(_OCTETS))
            elif len(ends) < _MAX_NESTING:
                ends.append(self.enter(_OCTETS_IN_PIECES))
            else:
                raise Damaged(f"more than {_MAX_NESTING} levels of pieces")
        return b"".join(pieces)

    def is_over(self, end: int | None) -> bool:
        """Return whether an element ends here; goes past the two zeros that mark an end."""
        if end is not None:
            return self._at >= end
        if self._data[self._at : self._at + 2] != b"\0\0":
            return False
        self._at += 2
        return True

    def _end(self, length: int | None) -> int | None:
        return None if length is None else self._at + length

    def _expect(self, tag: int) -> int | None:
        found, length = self._header()
        if found != tag:
            raise Damaged(f"element {found:#04x} where {tag:#04x} should be")
        return length

    def _header(self) -> tuple[int, int | None]:
        """Return the tag and the length of the next element; no length where its end is marked instead."""
        self._counted.one()
        tag, length = self._bytes(2)
        if tag & 0x1F == 0x1F:
            raise Damaged("a tag of several bytes")
        if length == 0x80:
            if not tag & _CONSTRUCTED:
                raise Damaged("no length")
            return tag, None
        if length > 0x88:
            raise Damaged("a length of more than eight bytes")
        return tag, int.from_bytes(self._bytes(length & 0x7F)) if length > 0x80 else length

    def _bytes(self, count: int | None) -> bytes:
        if count is None or self._at + count > len(self._data):
            raise Damaged("the end is missing")
        start, self._at = self._at, self._at + count
        return self._data[start : self._at]
