"""Mails written by hand, so that each byte of what is tested stands in the test."""

from __future__ import annotations

import base64
import zlib

HEADERS = b"From: Acme <billing@acme.example>\r\nTo: ap@us.example\r\nSubject: Invoice 7\r\n"
DATE_HEADER = b"Date: Mon, 5 Jan 2026 10:00:00 +0100\r\n"
PDF_CONTENT = b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\ntrailer\n<< >>\n%%EOF\n"
PROGRAM_CONTENT = b"MZ\x90\0" + bytes(60)


def build_png_header(width: int, height: int) -> bytes:
    """The header of a picture of that size."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_build_png_chunk, (header, b"IDAT", b"IEND")))


def _build_png_chunk(content: bytes) -> bytes:
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


def build_multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"edge") -> bytes:
    """The headers and the body of a multipart, with no header of a mail."""
    headers = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    return headers + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


def build_mail(
    *parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"edge", headers: bytes = HEADERS + DATE_HEADER
) -> bytes:
    """A mail with these parts."""
    return headers + build_multipart(*parts, kind=kind, boundary=boundary)


def build_part(content: bytes, headers: bytes = b"Content-Type: application/pdf") -> bytes:
    """One part, its content in base64."""
    return headers + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content)


def build_named_attachment(name: bytes, content: bytes = PDF_CONTENT, declared: bytes = b"application/pdf") -> bytes:
    """One attachment; the name stands in the header as it is given."""
    return build_part(content, b"Content-Type: %s\r\nContent-Disposition: attachment; filename=%s" % (declared, name))


def build_text_part(content: bytes, kind: bytes = b"plain") -> bytes:
    """One text to be read in the mail."""
    return b"Content-Type: text/%s; charset=utf-8\r\n\r\n%s" % (kind, content)
