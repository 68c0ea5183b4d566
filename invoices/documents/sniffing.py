"""What a file is, by its content alone: names and declared types lie."""

from __future__ import annotations

import base64
import binascii
import re

HEAD = 65_536  # bytes that decide

EMPTY = "application/x-empty"
EXECUTABLE = "application/x-executable"
UNKNOWN = "application/octet-stream"
SVG = "image/svg+xml"
POSTSCRIPT = "application/postscript"
RTF = "application/rtf"
OLE = "application/x-ole-storage"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"),
    (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"{\\rtf", RTF),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"%!PS", POSTSCRIPT), (b"\x04%!PS", POSTSCRIPT), (b"\xc5\xd0\xd3\xc6", POSTSCRIPT),  # the last: EPS of DOS
    (b"\x7fELF", EXECUTABLE), (b"\xcf\xfa\xed\xfe", EXECUTABLE), (b"\xca\xfe\xba\xbe", EXECUTABLE),
    (b"\xce\xfa\xed\xfe", EXECUTABLE), (b"\0asm", EXECUTABLE),
    (b"L\0\0\0\x01\x14\x02\0", EXECUTABLE),  # a Windows shortcut
    (b"#!", EXECUTABLE),
)  # fmt: skip

_BOMS = (
    (b"\xff\xfe\0\0", "utf-32-le"), (b"\0\0\xfe\xff", "utf-32-be"), (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
    (b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"),
)  # fmt: skip

_OOXML = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)

OFFICE = tuple(kind for _, kind in _OOXML)

_DISK_IMAGE = (b"CD001", 32_769)  # ISO 9660 §8.1.2, in sector 16
_OUTLOOK = "__substg1.0_".encode("utf-16-le")  # how Outlook names the streams of a saved mail
_CONTROLS = bytes([*range(9), *range(14, 32)])
_SIGNED_DATA = (  # the start of every PKCS #7 content type, 1.2.840.113549.1.7.*, and AuthEnvelopedData (RFC 5083)
    bytes.fromhex("06092a864886f70d0107"), bytes.fromhex("060b2a864886f70d0109100117"),
)  # fmt: skip
_LATER_PDF = re.compile(rb"[^\n\r]{0,200}%PDF-\d")
_HEADLESS_PDF = re.compile(rb"(?:%[^\r\n]{0,20}[\r\n])?\s*\d{1,9} \d{1,5} obj\b")
_HTML = re.compile(rb"\s*(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
HTML_START = re.compile(rb"<(?:!doctype\s+html|html|head|body|script)\b", re.IGNORECASE)
_SVG = re.compile(
    rb"\s*(?:<\?xml.{0,200}?\?>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!DOCTYPE\s+svg\b|(?:[\w.-]{1,40}:)?svg[\s/>])",
    re.DOTALL,
)
_BATCH = re.compile(rb"\s*@echo\s+off\b", re.IGNORECASE)
_MARKUP = re.compile(rb"\s*<(?:\?xml\b|!DOCTYPE\b|!--|[A-Za-z_][\w.-]*(?::[\w.-]+)?[\s/>])")
_HEADER = re.compile(rb"[!-9;-~]{1,76}:")
_MAIL_HEADERS = re.compile(
    rb"^(?:from|to|cc|subject|date|received|return-path|delivered-to|message-id|mime-version|content-type"
    rb"|content-transfer-encoding|x-[\w-]+|reply-to|sender):",
    re.IGNORECASE | re.MULTILINE,
)
_LONG_HEADERS = 4000
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{40,}")


def media_type(head: bytes) -> str:
    """Return the media type of a file from its first 64 KB; ``application/x-empty`` for nothing at all.

    A PDF may follow up to 1,024 bytes of something else, as readers of PDF accept it.
    """
    head = head[:HEAD]
    if not head:
        return EMPTY
    known = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    return known or _archive_or_picture(head) or _signed(head) or _textual(head)


def _archive_or_picture(head: bytes) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        office = next((kind for part, kind in _OOXML if part in head), "application/zip")
        return office if b"[Content_Types].xml" in head or b"_rels/.rels" in head else "application/zip"
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "application/vnd.ms-outlook" if _OUTLOOK in head else OLE
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] in {b"ftypheic", b"ftypheix", b"ftypmif1"}:
        return "image/heic"
    mark, place = _DISK_IMAGE
    if (head.startswith(b"MZ") and b"\0" in head[:128]) or head[place : place + len(mark)] == mark:
        return EXECUTABLE
    return None


def _signed(head: bytes) -> str | None:
    """Return ``application/pkcs7-mime`` for signed or encrypted data in DER, PEM or bare base64."""
    if head.startswith((b"-----BEGIN PKCS7", b"-----BEGIN CMS")):
        return "application/pkcs7-mime"
    if head[:1] == b"\x30" and any(identifier in head[:32] for identifier in _SIGNED_DATA):
        return "application/pkcs7-mime"
    if head[:1] == b"M" and (match := _BASE64.match(head[:400])):
        text = b"".join(match.group().split())
        try:
            decoded = base64.b64decode(text[: len(text) // 4 * 4])
        except binascii.Error:
            return None
        if decoded[:1] == b"\x30" and b"\x06\x09\x2a" in decoded[:24]:
            return "application/pkcs7-mime"
    return None


def _textual(head: bytes) -> str:
    plain = _as_bytes(head)
    if _is_mail(plain):
        return "message/rfc822"
    if _HEADLESS_PDF.match(plain) or any(_LATER_PDF.match(line) for line in plain[:1024].splitlines()):
        return "application/pdf"
    if _SVG.match(plain):
        return SVG
    if _BATCH.match(plain):
        return EXECUTABLE
    if plain.lstrip()[:5].lower() == b"<?xml":
        return "application/xml"
    if _HTML.match(plain):
        return "text/html"
    if _MARKUP.match(plain):
        return "application/xml"
    return "text/plain" if plain.strip() and _is_text(plain) else UNKNOWN


def _as_bytes(head: bytes) -> bytes:
    """Return text of any Unicode encoding as UTF-8, everything else as it is."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return head.decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace")
    return head


def _is_mail(head: bytes) -> bool:
    """Return whether mail headers come first: two known ones, or a multipart; an mbox line may precede them."""
    lines = head.lstrip()
    if lines.startswith(b"From ") and b"\n" in lines:
        lines = lines.partition(b"\n")[2]
    if not _HEADER.match(lines):
        return False
    block = re.split(rb"\r?\n\r?\n", lines, maxsplit=1)[0]
    if re.match(rb"content-type:\s*multipart/", block, re.IGNORECASE):
        return True
    is_cut = block == lines and len(lines) >= _LONG_HEADERS  # one header may be longer than what we look at
    return len({match.group().lower() for match in _MAIL_HEADERS.finditer(block)}) >= (1 if is_cut else 2)


def _is_text(head: bytes) -> bool:
    head = head[:4096]
    return len(head.translate(None, _CONTROLS)) == len(head)
