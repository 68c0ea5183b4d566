"""A cursor over ASN.1 in its basic encoding (X.690 §8): forward only, no recursion, what a signed file needs."""

from __future__ import annotations

from invoices.documents.containers.unpack_budget import ElementCounter

SEQUENCE = 0x30
OBJECT_IDENTIFIER = 0x06
EXPLICIT_0 = 0xA0
_OCTET_STRING, _CONSTRUCTED_OCTET_STRING = 0x04, 0x24
_CONSTRUCTED_BIT = 0x20
_MAX_NESTING = 64


class BerDecodeError(ValueError):
    """The bytes are no such encoding, or not all of it."""


class BerCursor:
    """Reads elements one after the other, each of them ``counted``; raises ``Damaged`` where the bytes are others."""

    def __init__(self, data: bytes, element_counter: ElementCounter) -> None:
        self._data = data
        self._position = 0
        self._element_counter = element_counter

    def get_next_tag(self) -> int:
        """Return the tag of the next element, 0 at the end."""
        return self._data[self._position] if self._position < len(self._data) else 0

    def enter_element(self, tag: int) -> int | None:
        """Go to the first element inside of the next one; return where that ends, None where its end is marked."""
        return self._compute_end(self._read_expected_header(tag))

    def read_element(self, tag: int) -> bytes:
        """Return the content of the next element, which is not made of others."""
        return self._read_bytes(self._read_expected_header(tag))

    def skip_element(self) -> None:
        """Go past the next element, whatever is in it."""
        open_element_count = 0
        while True:
            tag, length = self._read_header()
            if length is None:
                open_element_count += 1
            elif (tag, length) == (0, 0) and open_element_count:
                open_element_count -= 1
            else:
                self._read_bytes(length)
            if not open_element_count:
                return

    def read_octet_string(self) -> bytes:
        """Return the content of the next element, an octet string: whole, or in pieces within pieces."""
        if self.get_next_tag() == _OCTET_STRING:
            return self.read_element(_OCTET_STRING)
        pieces: list[bytes] = []
        ends = [self.enter_element(_CONSTRUCTED_OCTET_STRING)]
        while ends:
            if self.is_at_end(ends[-1]):
                ends.pop()
            elif self.get_next_tag() == _OCTET_STRING:
                pieces.append(self.read_element(_OCTET_STRING))
            elif len(ends) < _MAX_NESTING:
                ends.append(self.enter_element(_CONSTRUCTED_OCTET_STRING))
            else:
                raise BerDecodeError(f"more than {_MAX_NESTING} levels of pieces")
        return b"".join(pieces)

    def is_at_end(self, end: int | None) -> bool:
        """Return whether an element ends here; goes past the two zeros that mark an end."""
        if end is not None:
            return self._position >= end
        if self._data[self._position : self._position + 2] != b"\0\0":
            return False
        self._position += 2
        return True

    def _compute_end(self, length: int | None) -> int | None:
        return None if length is None else self._position + length

    def _read_expected_header(self, tag: int) -> int | None:
        actual_tag, length = self._read_header()
        if actual_tag != tag:
            raise BerDecodeError(f"element {actual_tag:#04x} where {tag:#04x} should be")
        return length

    def _read_header(self) -> tuple[int, int | None]:
        """Return the tag and the length of the next element; no length where its end is marked instead."""
        self._element_counter.count_element()
        tag, length = self._read_bytes(2)
        if tag & 0x1F == 0x1F:
            raise BerDecodeError("a tag of several bytes")
        if length == 0x80:
            if not tag & _CONSTRUCTED_BIT:
                raise BerDecodeError("no length")
            return tag, None
        if length > 0x88:
            raise BerDecodeError("a length of more than eight bytes")
        return tag, int.from_bytes(self._read_bytes(length & 0x7F)) if length > 0x80 else length

    def _read_bytes(self, count: int | None) -> bytes:
        if count is None or self._position + count > len(self._data):
            raise BerDecodeError("the end is missing")
        start, self._position = self._position, self._position + count
        return self._data[start : self._position]
