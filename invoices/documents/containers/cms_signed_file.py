"""What is in a signed file (PKCS #7, CMS: ``.p7m``); who signed it, and whether that holds, is not looked at."""

from __future__ import annotations

import base64
import binascii
import re

from invoices.documents.containers.ber import EXPLICIT_0, OBJECT_IDENTIFIER, SEQUENCE, BerCursor, BerDecodeError
from invoices.documents.containers.opened_container import ContainerContents, ContainerPart, OpenedContainer
from invoices.documents.containers.unpack_budget import ElementCounter, UnpackBudget
from invoices.documents.media_types import detect_media_type
from invoices.errors import DocumentError

_PKCS7_OID_PREFIX = bytes.fromhex("2a864886f70d0107")  # 1.2.840.113549.1.7, RFC 5652 §4 and following
_DATA_OID, _SIGNED_DATA_OID = _PKCS7_OID_PREFIX + b"\x01", _PKCS7_OID_PREFIX + b"\x02"
_ENCRYPTED_OIDS = {
    _PKCS7_OID_PREFIX + b"\x03",  # enveloped
    _PKCS7_OID_PREFIX + b"\x04",  # signed and enveloped, PKCS #7 1.5
    _PKCS7_OID_PREFIX + b"\x06",  # encrypted
    bytes.fromhex("2a864886f70d0109100117"),  # authenticated and enveloped, RFC 5083
}
_PEM_ARMOUR_PATTERN = re.compile(rb"-----(?:BEGIN|END)[^-\r\n]{0,40}-----")
_SIGNED_FILE_EXTENSION = re.compile(r"(?i)\.(?:p7m|p7s|p7b|p7c|p7|tsd)$")
_MAX_ELEMENTS = 200_000  # programs sign in pieces of 1,000 bytes and more
_DEFAULT_SMIME_NAME = "smime"  # what mail programs call it, whatever is in it


def open_cms_signed_file(
    content: bytes, section: str = "", budget: UnpackBudget | None = None, file_name: str | None = None
) -> ContainerContents:
    """Return what was signed as one part, named as the file is without ``.p7m``; the signature is NOT verified.

    ``content`` is DER, BER with lengths left open and contents in pieces, PEM, or bare base64. Raises
    ``DocumentError``: ``encrypted``, ``signature`` (only a signature: what it signs is another file),
    ``unsupported_type`` (another content than signed data), ``damaged_signed``, or ``archive_limits``: a content in
    absurdly many pieces, or the budget is used up.
    """
    budget = budget or UnpackBudget()
    try:
        inner_content = _read_signed_content(
            BerCursor(_decode_pem_or_base64(content), ElementCounter(budget, _MAX_ELEMENTS))
        )
    except (BerDecodeError, binascii.Error) as error:
        raise DocumentError(f"the signed file is broken: {error}", reason_code="damaged_signed") from error
    budget.consume_bytes(len(inner_content))
    budget.consume_parts(1)
    part_section = f"{section}/1" if section else "1"
    return OpenedContainer(
        parts=[
            ContainerPart(part_section, _detect_inner_media_type(inner_content), _strip_signature_extension(file_name))
        ]
    ), [inner_content]


def _decode_pem_or_base64(content: bytes) -> bytes:
    """Return the bytes of PEM and base64, everything else as it is."""
    if content[:1] == b"\x30":
        return content
    return base64.b64decode(_PEM_ARMOUR_PATTERN.sub(b"", content))  # passes over white space


def _read_signed_content(cursor: BerCursor) -> bytes:
    """Return ``ContentInfo.content.encapContentInfo.eContent`` (RFC 5652 §3, §5.1)."""
    cursor.enter_element(SEQUENCE)
    content_type_oid = cursor.read_element(OBJECT_IDENTIFIER)
    if content_type_oid in _ENCRYPTED_OIDS:
        raise DocumentError("encrypted for its receiver: a private key is needed to open it", reason_code="encrypted")
    if content_type_oid not in (_SIGNED_DATA_OID, _DATA_OID):
        raise DocumentError("neither signed nor encrypted", reason_code="unsupported_type")
    if content_type_oid == _SIGNED_DATA_OID:
        cursor.enter_element(EXPLICIT_0)
        cursor.enter_element(SEQUENCE)
        cursor.skip_element()  # version
        cursor.skip_element()  # digestAlgorithms
        end = cursor.enter_element(SEQUENCE)
        cursor.read_element(OBJECT_IDENTIFIER)  # what the signer says the content is
        if cursor.is_at_end(end):
            raise DocumentError("only a signature: what it signs is another file", reason_code="signature")
    cursor.enter_element(EXPLICIT_0)
    return cursor.read_octet_string()


def _detect_inner_media_type(content: bytes) -> str:
    """Return the media type; signed mail begins with the header of its content alone (RFC 8551 §3.1)."""
    return "message/rfc822" if content[:13].lower() == b"content-type:" else detect_media_type(content)


def _strip_signature_extension(file_name: str | None) -> str | None:
    name = _SIGNED_FILE_EXTENSION.sub("", file_name or "")
    return None if name.lower() in ("", _DEFAULT_SMIME_NAME) else name
