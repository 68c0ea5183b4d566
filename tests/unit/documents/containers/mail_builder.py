"""Builders of mails, so that a test shows each byte that it tests."""

from __future__ import annotations

import base64
import zlib

from invoices.documents.containers.opened_container import ContainerContents

HEADERS = b"From: Acme <billing@acme.example>\r\nTo: ap@us.example\r\nSubject: Invoice 7\r\n"
DATE_HEADER = b"Date: Mon, 5 Jan 2026 10:00:00 +0100\r\n"
PDF_CONTENT = b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\ntrailer\n<< >>\n%%EOF\n"
PROGRAM_CONTENT = b"MZ\x90\0" + bytes(60)


def build_png_header(width: int, height: int) -> bytes:
    """Return the header of a PNG of that size."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_build_png_chunk, (header, b"IDAT", b"IEND")))


def _build_png_chunk(content: bytes) -> bytes:
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


def build_multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"edge") -> bytes:
    """Return the headers and the body of a multipart, without the headers of a mail."""
    headers = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    return headers + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


def build_mail(
    *parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"edge", headers: bytes = HEADERS + DATE_HEADER
) -> bytes:
    """Return a mail with these parts."""
    return headers + build_multipart(*parts, kind=kind, boundary=boundary)


def build_part(content: bytes, headers: bytes = b"Content-Type: application/pdf") -> bytes:
    """Return one part with its content in base64."""
    return headers + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content)


def build_named_attachment(name: bytes, content: bytes = PDF_CONTENT, declared: bytes = b"application/pdf") -> bytes:
    """Return one attachment; the name is in the header as given."""
    return build_part(content, b"Content-Type: %s\r\nContent-Disposition: attachment; filename=%s" % (declared, name))


def build_text_part(content: bytes, kind: bytes = b"plain") -> bytes:
    """Return one body text of a mail."""
    return b"Content-Type: text/%s; charset=utf-8\r\n\r\n%s" % (kind, content)


def map_skip_reasons(opened_container: ContainerContents) -> dict[str, str | None]:
    """Return the skip reason code of each part by its section."""
    return {part.section: part.skip_reason_code for part in opened_container[0].parts}
