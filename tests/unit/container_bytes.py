"""Containers made by hand, well-formed and hostile: archives, signed files and winmail.dat, as bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable

INVOICE = b"<?xml version='1.0'?><Invoice>42</Invoice>"

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")


def archive(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive as every program makes it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as made:
        for name, content in files:
            made.writestr(zipfile.ZipInfo(name), content, method)
    return target.getvalue()


def nested_archives(depth: int, innermost: bytes = INVOICE) -> bytes:
    """Return an archive in an archive, ``depth`` of them."""
    content, name = innermost, "invoice.xml"
    for level in range(depth):
        content, name = archive((name, content), method=zipfile.ZIP_STORED), f"level{level}.zip"
    return content


def linked_archive(name: str, target: str) -> bytes:
    """Return an archive that holds a symbolic link."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        link = zipfile.ZipInfo(name)
        link.create_system, link.external_attr = 3, 0o120777 << 16
        opened.writestr(link, target)
    return made.getvalue()


def repeated_entry(count: int, content: bytes = b"x") -> bytes:
    """Return an archive with one file and ``count`` entries for it, which is how the densest bombs are built."""
    name, crc = b"a", zlib.crc32(content)
    local = _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0, crc, len(content), len(content), 1, 0) + name + content
    size = len(content)
    entry = _ENTRY.pack(b"PK\1\2", 20, 20, 0, 0, 0, 0, crc, size, size, 1, 0, 0, 0, 0, 0, 0) + name
    shown = min(count, 0xFFFF)
    end = _END.pack(b"PK\5\6", 0, 0, shown, shown, len(entry) * count, len(local), 0)
    return local + entry * count + end


def patched(made: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Return an archive with a field of its first header of one kind overwritten."""
    at = made.index(signature) + offset
    return made[:at] + value + made[at + len(value) :]


def encrypted_archive() -> bytes:
    """Return an archive that says its file needs a password."""
    made = patched(archive(("invoice.xml", INVOICE)), b"PK\3\4", 6, b"\1\0")
    return patched(made, b"PK\1\2", 8, b"\1\0")


def element(tag: int, *content: bytes) -> bytes:
    """Return one ASN.1 element in DER."""
    inside = b"".join(content)
    count = len(inside)
    if count < 0x80:
        return bytes([tag, count]) + inside
    length = count.to_bytes((count.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + inside


def open_ended(tag: int, *content: bytes) -> bytes:
    """Return one ASN.1 element whose end is marked instead of its length, as streams are signed."""
    return bytes([tag, 0x80]) + b"".join(content) + b"\0\0"


def content_type(number: int) -> bytes:
    """Return the object identifier of a content type of PKCS #7."""
    return element(6, bytes.fromhex("2a864886f70d0107") + bytes([number]))


def signed(octets: bytes | None, is_streamed: bool = False) -> bytes:
    """Return signed data around an octet string that is encoded already; around none for a signature by itself."""
    make = open_ended if is_streamed else element
    inside = make(0x30, content_type(1), make(0xA0, octets)) if octets is not None else make(0x30, content_type(1))
    certificates = make(0xA0, element(0x30))
    data = make(0x30, element(2, b"\1"), element(0x31), inside, certificates, element(0x31))
    return make(0x30, content_type(2), make(0xA0, data))


def in_pieces(content: bytes, size: int) -> bytes:
    """Return an octet string in pieces of ``size`` bytes."""
    return open_ended(0x24, *(element(4, content[at : at + size]) for at in range(0, len(content), size)))


def attribute(level: int, number: int, value: bytes) -> bytes:
    """Return one attribute of a winmail.dat."""
    return struct.pack("<BHHL", level, number, 6, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def property_list(*properties: tuple[int, int, bytes]) -> bytes:
    """Return a list of MAPI properties with text, bytes or objects: kind, number, value."""
    listed = struct.pack("<L", len(properties))
    for kind, number, value in properties:
        listed += struct.pack("<HHLL", kind, number, 1, len(value)) + value + bytes(-len(value) % 4)
    return listed


def tnef(*attributes: bytes) -> bytes:
    """Return a winmail.dat."""
    return struct.pack("<LH", 0x223E9F78, 1) + b"".join(attributes)


def attachment(title: bytes, content: bytes, properties: Iterable[tuple[int, int, bytes]] = ()) -> bytes:
    """Return the attributes of one attachment of a winmail.dat."""
    made = attribute(2, 0x9002, bytes(14)) + attribute(2, 0x8010, title + b"\0") + attribute(2, 0x800F, content)
    listed = tuple(properties)
    return made + attribute(2, 0x9005, property_list(*listed)) if listed else made
