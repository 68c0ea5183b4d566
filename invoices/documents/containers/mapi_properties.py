"""The MAPI properties in a winmail.dat (MS-OXTNEF 2.1.3.4): typed values, read up to the first error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from invoices.documents.containers.unpack_budget import ElementCounter

_FIXED_WIDTHS = {  # of values of a fixed size, padded to four bytes
    0x0002: 4, 0x0003: 4, 0x0004: 4, 0x000A: 4, 0x000B: 4,
    0x0005: 8, 0x0006: 8, 0x0007: 8, 0x0014: 8, 0x0040: 8, 0x0048: 16,
}  # fmt: skip
STRING, UNICODE, OBJECT, BINARY = 0x001E, 0x001F, 0x000D, 0x0102
_VARIABLE_LENGTH_TYPES = (STRING, UNICODE, OBJECT, BINARY)
_MULTI_VALUE_FLAG = 0x1000
_FIRST_NAMED_PROPERTY = 0x8000


class TnefDecodeError(ValueError):
    """The bytes are not valid TNEF, or are truncated."""


@dataclass(frozen=True, slots=True)
class MapiProperty:
    """One value of one property; ``property_type`` is its MAPI type without the multi-value flag."""

    number: int
    property_type: int
    value: bytes


class LittleEndianReader:
    """Reads little-endian values one after the other; raises TnefDecodeError past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def count_remaining(self) -> int:
        """Return the number of unread bytes."""
        return len(self._data) - self.position

    def read_bytes(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        if count > self.count_remaining():
            raise TnefDecodeError("the end is missing")
        self.position += count
        return self._data[self.position - count : self.position]

    def read_integer(self, width: int) -> int:
        """Return the next integer of ``width`` bytes."""
        return int.from_bytes(self.read_bytes(width), "little")

    def peek_bytes(self, count: int) -> bytes:
        """Return up to ``count`` of the next bytes, without moving the position."""
        return self._data[self.position : self.position + count]


def parse_mapi_properties(data: bytes, element_counter: ElementCounter) -> Iterator[MapiProperty]:
    """Yield each value of each property, and count both; raises TnefDecodeError where the list is broken."""
    reader = LittleEndianReader(data)
    for _ in range(reader.read_integer(4)):
        element_counter.count_element()
        property_type, number = reader.read_integer(2), reader.read_integer(2)
        if number >= _FIRST_NAMED_PROPERTY:
            _skip_property_name(reader)
        is_multi_value, property_type = property_type & _MULTI_VALUE_FLAG, property_type & ~_MULTI_VALUE_FLAG
        count = reader.read_integer(4) if is_multi_value or property_type in _VARIABLE_LENGTH_TYPES else 1
        if property_type not in _VARIABLE_LENGTH_TYPES and property_type not in _FIXED_WIDTHS:
            raise TnefDecodeError(f"a value of the unknown type {property_type:#06x}")
        for _ in range(count):
            element_counter.count_element()
            if property_type in _VARIABLE_LENGTH_TYPES:
                value = _read_padded_value(reader, reader.read_integer(4))
            else:
                value = reader.read_bytes(_FIXED_WIDTHS[property_type])
            yield MapiProperty(number, property_type, value)


def decode_text_property(mapi_property: MapiProperty, encoding: str) -> str | None:
    """Return a text property up to its first NUL, None for a property of another type."""
    if mapi_property.property_type == UNICODE:
        return mapi_property.value.decode("utf-16-le", "replace").split("\0")[0]
    if mapi_property.property_type == STRING:
        return mapi_property.value.decode(encoding, "replace").split("\0")[0]
    return None


def _skip_property_name(reader: LittleEndianReader) -> None:
    reader.read_bytes(16)  # the GUID of the property set
    if reader.read_integer(4) == 0:
        reader.read_bytes(4)
    else:
        _read_padded_value(reader, reader.read_integer(4))


def _read_padded_value(reader: LittleEndianReader, length: int) -> bytes:
    value = reader.read_bytes(length)
    reader.read_bytes(min(-length % 4, reader.count_remaining()))
    return value
