"""What is in a signed file (PKCS #7, CMS: ``.p7m``); who signed it, and whether that holds, is not looked at."""

from __future__ import annotations

import base64
import binascii
import re

from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping.ber import EXPLICIT_0, OBJECT_IDENTIFIER, SEQUENCE, Cursor, Damaged
from invoices.documents.unwrapping.budget import Budget, Count
from invoices.documents.unwrapping.parts import Found, Part, Unwrapped
from invoices.errors import DocumentError

_PKCS7 = bytes.fromhex("2a864886f70d0107")  # 1.2.840.113549.1.7, RFC 5652 §4 and following
_DATA, _SIGNED = _PKCS7 + b"\x01", _PKCS7 + b"\x02"
_ENCRYPTED = {
    _PKCS7 + b"\x03",  # enveloped
    _PKCS7 + b"\x04",  # signed and enveloped, PKCS #7 1.5
    _PKCS7 + b"\x06",  # encrypted
    bytes.fromhex("2a864886f70d0109100117"),  # authenticated and enveloped, RFC 5083
}
_ARMOUR = re.compile(rb"-----(?:BEGIN|END)[^-\r\n]{0,40}-----")
_SIGNED_NAME = re.compile(r"(?i)\.(?:p7m|p7s|p7b|p7c|p7|tsd)$")
_MAX_ELEMENTS = 200_000  # programs sign in pieces of 1,000 bytes and more
_MAIL_PROGRAMS_NAME = "smime"  # what mail programs call it, whatever is in it


def open_signed(content: bytes, section: str = "", budget: Budget | None = None, file_name: str | None = None) -> Found:
    """Return what was signed as one part, named as the file is without ``.p7m``; the signature is NOT verified.

    ``content`` is DER, BER with lengths left open and contents in pieces, PEM, or bare base64. Raises
    ``DocumentError``: ``encrypted``, ``signature`` (only a signature: what it signs is another file),
    ``unsupported_type`` (another content than signed data), ``damaged_signed``, or ``archive_limits``: a content in
    absurdly many pieces, or the budget is used up.
    """
    budget = budget or Budget()
    try:
        inside = _signed_content(Cursor(_binary(content), Count(budget, _MAX_ELEMENTS)))
    except (Damaged, binascii.Error) as error:
        raise DocumentError(f"the signed file is broken: {error}", reason_code="damaged_signed") from error
    budget.take_bytes(len(inside))
    budget.take_parts(1)
    number = f"{section}/1" if section else "1"
    return Unwrapped(parts=[Part(number, _type_of(inside), _inner_name(file_name))]), [inside]


def _binary(content: bytes) -> bytes:
    """Return the bytes of PEM and base64, everything else as it is."""
    if content[:1] == b"\x30":
        return content
    return base64.b64decode(_ARMOUR.sub(b"", content))  # passes over white space


def _signed_content(cursor: Cursor) -> bytes:
    """Return ``ContentInfo.content.encapContentInfo.eContent`` (RFC 5652 §3, §5.1)."""
    cursor.enter(SEQUENCE)
    kind = cursor.take(OBJECT_IDENTIFIER)
    if kind in _ENCRYPTED:
        raise DocumentError("encrypted for its receiver: a private key is needed to open it", reason_code="encrypted")
    if kind not in (_SIGNED, _DATA):
        raise DocumentError("neither signed nor encrypted", reason_code="unsupported_type")
    if kind == _SIGNED:
        cursor.enter(EXPLICIT_0)
        cursor.enter(SEQUENCE)
        cursor.skip()  # version
        cursor.skip()  # digestAlgorithms
        end = cursor.enter(SEQUENCE)
        cursor.take(OBJECT_IDENTIFIER)  # what the signer says the content is
        if cursor.is_over(end):
            raise DocumentError("only a signature: what it signs is another file", reason_code="signature")
    cursor.enter(EXPLICIT_0)
    return cursor.octets()


def _type_of(content: bytes) -> str:
    """Return the media type; signed mail begins with the header of its content alone (RFC 8551 §3.1)."""
    return "message/rfc822" if content[:13].lower() == b"content-type:" else media_type(content)


def _inner_name(file_name: str | None) -> str | None:
    name = _SIGNED_NAME.sub("", file_name or "")
    return None if name.lower() in ("", _MAIL_PROGRAMS_NAME) else name
