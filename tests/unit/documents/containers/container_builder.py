"""Builders of containers, well-formed and hostile: archives, signed files and winmail.dat, as bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable

INVOICE_XML = b"<?xml version='1.0'?><Invoice>42</Invoice>"

_LOCAL_FILE_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL_DIRECTORY_ENTRY = struct.Struct("<4s6H3L5H2L")
_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")


def build_zip(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an ordinary ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as zip_file:
        for name, content in files:
            zip_file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def build_nested_zips(depth: int, innermost: bytes = INVOICE_XML) -> bytes:
    """Return ``depth`` archives, one in the other."""
    content, name = innermost, "invoice.xml"
    for level in range(depth):
        content, name = build_zip((name, content), method=zipfile.ZIP_STORED), f"level{level}.zip"
    return content


def build_zip_with_symlink(name: str, target: str) -> bytes:
    """Return an archive with a symbolic link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zip_file:
        link = zipfile.ZipInfo(name)
        link.create_system, link.external_attr = 3, 0o120777 << 16
        zip_file.writestr(link, target)
    return buffer.getvalue()


def build_zip_with_repeated_entry(count: int, content: bytes = b"x") -> bytes:
    """Return an archive with one file and ``count`` entries for it, which is how the densest bombs are built."""
    name, crc = b"a", zlib.crc32(content)
    local = _LOCAL_FILE_HEADER.pack(b"PK\3\4", 20, 0, 0, 0, 0, crc, len(content), len(content), 1, 0) + name + content
    size = len(content)
    entry = _CENTRAL_DIRECTORY_ENTRY.pack(b"PK\1\2", 20, 20, 0, 0, 0, 0, crc, size, size, 1, 0, 0, 0, 0, 0, 0) + name
    stated_count = min(count, 0xFFFF)
    end = _END_OF_DIRECTORY.pack(b"PK\5\6", 0, 0, stated_count, stated_count, len(entry) * count, len(local), 0)
    return local + entry * count + end


def replace_header_field(archive: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Return an archive with a field of its first header of one kind overwritten."""
    position = archive.index(signature) + offset
    return archive[:position] + value + archive[position + len(value) :]


def build_encrypted_zip() -> bytes:
    """Return an archive that states that its file needs a password."""
    archive = replace_header_field(build_zip(("invoice.xml", INVOICE_XML)), b"PK\3\4", 6, b"\1\0")
    return replace_header_field(archive, b"PK\1\2", 8, b"\1\0")


def encode_der_element(tag: int, *content: bytes) -> bytes:
    """Return one ASN.1 element in DER."""
    content_bytes = b"".join(content)
    count = len(content_bytes)
    if count < 0x80:
        return bytes([tag, count]) + content_bytes
    length = count.to_bytes((count.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content_bytes


def encode_indefinite_element(tag: int, *content: bytes) -> bytes:
    """Return one ASN.1 element of indefinite length, as in signed streams."""
    return bytes([tag, 0x80]) + b"".join(content) + b"\0\0"


def encode_content_type(number: int) -> bytes:
    """Return the object identifier of a content type of PKCS #7."""
    return encode_der_element(6, bytes.fromhex("2a864886f70d0107") + bytes([number]))


def build_signed_data(octets: bytes | None, is_streamed: bool = False) -> bytes:
    """Return signed data around an encoded octet string; around none for a detached signature."""
    encode_element = encode_indefinite_element if is_streamed else encode_der_element
    content_info = (
        encode_element(0x30, encode_content_type(1), encode_element(0xA0, octets))
        if octets is not None
        else encode_element(0x30, encode_content_type(1))
    )
    certificates = encode_element(0xA0, encode_der_element(0x30))
    data = encode_element(
        0x30,
        encode_der_element(2, b"\1"),
        encode_der_element(0x31),
        content_info,
        certificates,
        encode_der_element(0x31),
    )
    return encode_element(0x30, encode_content_type(2), encode_element(0xA0, data))


def encode_segmented_octets(content: bytes, size: int) -> bytes:
    """Return an octet string in pieces of ``size`` bytes."""
    return encode_indefinite_element(
        0x24, *(encode_der_element(4, content[start : start + size]) for start in range(0, len(content), size))
    )


def build_tnef_attribute(level: int, number: int, value: bytes) -> bytes:
    """Return one attribute of a winmail.dat."""
    return struct.pack("<BHHL", level, number, 6, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def build_mapi_properties(*properties: tuple[int, int, bytes]) -> bytes:
    """Return a list of MAPI properties with text, bytes or objects: type, number, value."""
    encoded = struct.pack("<L", len(properties))
    for kind, number, value in properties:
        encoded += struct.pack("<HHLL", kind, number, 1, len(value)) + value + bytes(-len(value) % 4)
    return encoded


def build_tnef(*attributes: bytes) -> bytes:
    """Return a winmail.dat."""
    return struct.pack("<LH", 0x223E9F78, 1) + b"".join(attributes)


def build_tnef_attachment(title: bytes, content: bytes, properties: Iterable[tuple[int, int, bytes]] = ()) -> bytes:
    """Return the attributes of one attachment of a winmail.dat."""
    encoded = (
        build_tnef_attribute(2, 0x9002, bytes(14))
        + build_tnef_attribute(2, 0x8010, title + b"\0")
        + build_tnef_attribute(2, 0x800F, content)
    )
    property_values = tuple(properties)
    return (
        encoded + build_tnef_attribute(2, 0x9005, build_mapi_properties(*property_values))
        if property_values
        else encoded
    )
