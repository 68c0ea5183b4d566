"""The media type of a file by its content alone: names and declared types are not reliable."""

from __future__ import annotations

import base64
import binascii
import re

MAX_SNIFFED_BYTES = 65_536  # only the start of a file decides

EMPTY_TYPE = "application/x-empty"
EXECUTABLE_TYPE = "application/x-executable"
UNKNOWN_TYPE = "application/octet-stream"
SVG_TYPE = "image/svg+xml"
POSTSCRIPT_TYPE = "application/postscript"
RTF_TYPE = "application/rtf"
MBOX_TYPE = "application/mbox"  # RFC 4155
OLE_TYPE = "application/x-ole-storage"

_TYPE_BY_SIGNATURE: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"),
    (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"{\\rtf", RTF_TYPE),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"%!PS", POSTSCRIPT_TYPE), (b"\x04%!PS", POSTSCRIPT_TYPE), (b"\xc5\xd0\xd3\xc6", POSTSCRIPT_TYPE),  # last: DOS EPS
    (b"\x7fELF", EXECUTABLE_TYPE), (b"\xcf\xfa\xed\xfe", EXECUTABLE_TYPE), (b"\xca\xfe\xba\xbe", EXECUTABLE_TYPE),
    (b"\xce\xfa\xed\xfe", EXECUTABLE_TYPE), (b"\0asm", EXECUTABLE_TYPE),
    (b"L\0\0\0\x01\x14\x02\0", EXECUTABLE_TYPE),  # a Windows shortcut
    (b"#!", EXECUTABLE_TYPE),
)  # fmt: skip

_ENCODING_BY_BYTE_ORDER_MARK = (
    (b"\xff\xfe\0\0", "utf-32-le"), (b"\0\0\xfe\xff", "utf-32-be"), (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
    (b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"),
)  # fmt: skip

_OOXML_TYPE_BY_FOLDER = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)

OFFICE_TYPES = tuple(kind for _, kind in _OOXML_TYPE_BY_FOLDER)

_ISO_9660_SIGNATURE = (b"CD001", 32_769)  # ISO 9660 §8.1.2, in sector 16
_OUTLOOK_STREAM_PREFIX = "__substg1.0_".encode("utf-16-le")  # of a saved mail
_CONTROL_CHARS = bytes([*range(9), *range(14, 32)])
# The start of every PKCS #7 content type, 1.2.840.113549.1.7.*, and AuthEnvelopedData (RFC 5083).
_CMS_OBJECT_IDENTIFIERS = (
    bytes.fromhex("06092a864886f70d0107"), bytes.fromhex("060b2a864886f70d0109100117"),
)  # fmt: skip
_PDF_SIGNATURE_PATTERN = re.compile(rb"[^\n\r]{0,200}%PDF-\d")
_PDF_WITHOUT_SIGNATURE_PATTERN = re.compile(rb"(?:%[^\r\n]{0,20}[\r\n])?\s*\d{1,9} \d{1,5} obj\b")
_BLANKS_PATTERN = re.compile(rb"\s*")
_MAX_DECLARATION_BYTES, _MAX_COMMENT_BYTES = 200, 2_000  # longer ones are no markup
_HTML_PATTERN = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
HTML_TAG_PATTERN = re.compile(rb"<(?:!doctype\s+html|html|head|body|script)\b", re.IGNORECASE)
_SVG_PATTERN = re.compile(rb"<(?:!DOCTYPE\s+svg\b|(?:[\w.-]{1,40}:)?svg[\s/>])")
_BATCH_FILE_PATTERN = re.compile(rb"\s*@echo\s+off\b", re.IGNORECASE)
_XML_PATTERN = re.compile(rb"\s*<(?:\?xml\b|!DOCTYPE\b|!--|[A-Za-z_][\w.-]*(?::[\w.-]+)?[\s/>])")
_HEADER_FIELD_PATTERN = re.compile(rb"[!-9;-~]{1,76}:")
_MAIL_HEADER_PATTERN = re.compile(
    rb"^(?:from|to|cc|subject|date|received|return-path|delivered-to|message-id|mime-version|content-type"
    rb"|content-transfer-encoding|x-[\w-]+|reply-to|sender):",
    re.IGNORECASE | re.MULTILINE,
)
_MIN_CUT_HEADER_BYTES = 4000
_BASE64_PATTERN = re.compile(rb"[A-Za-z0-9+/\s]{40,}")
# A sender, and a date with a time and a year in any order; an ordinary sentence that begins with "From" lacks these.
MBOX_FROM_LINE_PATTERN = re.compile(
    rb"From (?=[^\r\n]{0,300}\b\d{1,2}:\d\d\b)(?=[^\r\n]{0,300}\b(?:19|20)\d\d\b)[^\r\n]{1,300}\r?\n"
)


def detect_file_type(head: bytes) -> str:
    """Return the media type of a whole file as ``detect_media_type``, and ``application/mbox`` for an mbox."""
    return MBOX_TYPE if MBOX_FROM_LINE_PATTERN.match(head) else detect_media_type(head)


def detect_media_type(head: bytes) -> str:
    """Return the media type of a file from its first 64 KB; ``application/x-empty`` for an empty file.

    Up to 1,024 other bytes may precede a PDF, as readers of PDF accept that.
    """
    head = head[:MAX_SNIFFED_BYTES]
    if not head:
        return EMPTY_TYPE
    signature_type = next(
        (type_of_signature for signature, type_of_signature in _TYPE_BY_SIGNATURE if head.startswith(signature)), None
    )
    return (
        signature_type
        or _detect_archive_or_image_type(head)
        or _detect_signed_data_type(head)
        or _detect_text_type(head)
    )


def _detect_archive_or_image_type(head: bytes) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        office_type = next(
            (type_of_folder for folder, type_of_folder in _OOXML_TYPE_BY_FOLDER if folder in head), "application/zip"
        )
        return office_type if b"[Content_Types].xml" in head or b"_rels/.rels" in head else "application/zip"
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "application/vnd.ms-outlook" if _OUTLOOK_STREAM_PREFIX in head else OLE_TYPE
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] in {b"ftypheic", b"ftypheix", b"ftypmif1"}:
        return "image/heic"
    signature, offset = _ISO_9660_SIGNATURE
    if (head.startswith(b"MZ") and b"\0" in head[:128]) or head[offset : offset + len(signature)] == signature:
        return EXECUTABLE_TYPE
    return None


def _detect_signed_data_type(head: bytes) -> str | None:
    """Return ``application/pkcs7-mime`` for signed or encrypted data in DER, PEM or bare base64."""
    if head.startswith((b"-----BEGIN PKCS7", b"-----BEGIN CMS")):
        return "application/pkcs7-mime"
    if head[:1] == b"\x30" and any(identifier in head[:32] for identifier in _CMS_OBJECT_IDENTIFIERS):
        return "application/pkcs7-mime"
    if head[:1] == b"M" and (match := _BASE64_PATTERN.match(head[:400])):
        text = b"".join(match.group().split())
        try:
            decoded = base64.b64decode(text[: len(text) // 4 * 4])
        except binascii.Error:
            return None
        if decoded[:1] == b"\x30" and b"\x06\x09\x2a" in decoded[:24]:
            return "application/pkcs7-mime"
    return None


def _detect_text_type(head: bytes) -> str:
    text = _convert_text_to_utf8(head)
    if _has_mail_headers(text):
        return "message/rfc822"
    if _PDF_WITHOUT_SIGNATURE_PATTERN.match(text) or any(
        _PDF_SIGNATURE_PATTERN.match(line) for line in text[:1024].splitlines()
    ):
        return "application/pdf"
    root_start = _skip_declaration_and_comments(text)
    if _SVG_PATTERN.match(text, root_start):
        return SVG_TYPE
    if _BATCH_FILE_PATTERN.match(text):
        return EXECUTABLE_TYPE
    if text.lstrip()[:5].lower() == b"<?xml":
        return "application/xml"
    if _HTML_PATTERN.match(text, root_start):
        return "text/html"
    if _XML_PATTERN.match(text):
        return "application/xml"
    has_control_chars = text[:4096] != text[:4096].translate(None, _CONTROL_CHARS)
    return "text/plain" if text.strip() and not has_control_chars else UNKNOWN_TYPE


def _skip_declaration_and_comments(text: bytes) -> int:
    """Return where a markup text goes on after blanks, an XML declaration and comments; in linear time."""
    position = _skip_blanks(text, 0)
    for start, end, max_length in ((b"<?xml", b"?>", _MAX_DECLARATION_BYTES), (b"<!--", b"-->", _MAX_COMMENT_BYTES)):
        while text.startswith(start, position):
            content_start = position + len(start)
            end_position = text.find(end, content_start, content_start + max_length + len(end))
            if end_position < 0:
                break
            position = _skip_blanks(text, end_position + len(end))
    return position


def _skip_blanks(text: bytes, position: int) -> int:
    match = _BLANKS_PATTERN.match(text, position)
    return match.end() if match else position


def _convert_text_to_utf8(head: bytes) -> bytes:
    """Return text of any Unicode encoding as UTF-8, everything else as it is."""
    for bom, encoding in _ENCODING_BY_BYTE_ORDER_MARK:
        if head.startswith(bom):
            return head.decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace")
    return head


def _has_mail_headers(head: bytes) -> bool:
    """Return whether mail headers come first: two known ones, or a multipart; an mbox line may precede them."""
    text = head.lstrip()
    if text.startswith(b"From ") and b"\n" in text:
        text = text.partition(b"\n")[2]
    if not _HEADER_FIELD_PATTERN.match(text):
        return False
    header_block = re.split(rb"\r?\n\r?\n", text, maxsplit=1)[0]
    if re.match(rb"content-type:\s*multipart/", header_block, re.IGNORECASE):
        return True
    is_header_cut = header_block == text and len(text) >= _MIN_CUT_HEADER_BYTES  # a header may be longer than the head
    known_headers = {match.group().lower() for match in _MAIL_HEADER_PATTERN.finditer(header_block)}
    return len(known_headers) >= (1 if is_header_cut else 2)
