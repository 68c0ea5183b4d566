"""A cursor over ASN.1 in BER (X.690 §8): forward only, no recursion, limited to what a signed file needs."""

from __future__ import annotations

from invoices.documents.containers.unpack_budget import ElementCounter

SEQUENCE = 0x30
OBJECT_IDENTIFIER = 0x06
EXPLICIT_0 = 0xA0
_OCTET_STRING, _CONSTRUCTED_OCTET_STRING = 0x04, 0x24
_CONSTRUCTED_BIT = 0x20
_MAX_NESTING = 64


class BerDecodeError(ValueError):
    """The bytes are not valid BER, or are truncated."""


class BerCursor:
    """Reads elements one after the other and counts each; raises BerDecodeError at unexpected bytes."""

    def __init__(self, data: bytes, element_counter: ElementCounter) -> None:
        self._data = data
        self._position = 0
        self._element_counter = element_counter

    def get_next_tag(self) -> int:
        """Return the tag of the next element, 0 at the end."""
        return self._data[self._position] if self._position < len(self._data) else 0

    def enter_element(self, tag: int) -> int | None:
        """Enter the next element; return the position of its end, None if its end is marked."""
        length = self._read_expected_header(tag)
        return None if length is None else self._position + length

    def read_element(self, tag: int) -> bytes:
        """Return the content of the next element, which must be primitive."""
        return self._read_bytes(self._read_expected_header(tag))

    def skip_element(self) -> None:
        """Go past the next element and everything in it."""
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
        """Return the content of the next element, an octet string, primitive or constructed."""
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
                raise BerDecodeError(f"an octet string nested more than {_MAX_NESTING} levels deep")
        return b"".join(pieces)

    def is_at_end(self, end: int | None) -> bool:
        """Return whether an element ends here; goes past the end marker (two zeros)."""
        if end is not None:
            return self._position >= end
        if self._data[self._position : self._position + 2] != b"\0\0":
            return False
        self._position += 2
        return True

    def _read_expected_header(self, tag: int) -> int | None:
        actual_tag, length = self._read_header()
        if actual_tag != tag:
            raise BerDecodeError(f"found element {actual_tag:#04x} instead of {tag:#04x}")
        return length

    def _read_header(self) -> tuple[int, int | None]:
        """Return tag and length of the next element; the length is None if its end is marked."""
        self._element_counter.count_element()
        tag, length = self._read_bytes(2)
        if tag & 0x1F == 0x1F:
            raise BerDecodeError("a tag of several bytes")
        if length == 0x80:
            if not tag & _CONSTRUCTED_BIT:
                raise BerDecodeError("a primitive element without a length")
            return tag, None
        if length > 0x88:
            raise BerDecodeError("a length of more than eight bytes")
        return tag, int.from_bytes(self._read_bytes(length & 0x7F)) if length > 0x80 else length

    def _read_bytes(self, count: int | None) -> bytes:
        if count is None or self._position + count > len(self._data):
            raise BerDecodeError("the end is missing")
        start, self._position = self._position, self._position + count
        return self._data[start : self._position]
