"""The content of a signed file (PKCS #7, CMS: ``.p7m``); neither the signer nor the signature is verified."""

from __future__ import annotations

import base64
import binascii
import re

from invoices.documents.containers.ber import EXPLICIT_0, OBJECT_IDENTIFIER, SEQUENCE, BerCursor, BerDecodeError
from invoices.documents.containers.opened_container import ContainerContents, ContainerPart, OpenedContainer
from invoices.documents.containers.unpack_budget import ElementCounter, UnpackBudget
from invoices.documents.content_sniffing import detect_media_type
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
_DEFAULT_SMIME_NAME = "smime"  # the name that mail programs give, whatever the content


def open_cms_signed_file(
    content: bytes, section: str = "", budget: UnpackBudget | None = None, file_name: str | None = None
) -> ContainerContents:
    """Return the signed content as one part, named like the file without ``.p7m``; the signature is NOT verified.

    ``content`` is DER, BER with indefinite lengths and constructed strings, PEM, or bare base64. Raises
    ``DocumentError``: ``encrypted``, ``signature`` (a detached signature; the content is another file),
    ``unsupported_type`` (not signed data), ``damaged_signed``, or ``archive_limits`` (too many pieces, or the
    budget is used up).
    """
    budget = budget or UnpackBudget()
    try:
        is_der = content[:1] == b"\x30"
        encoded = content if is_der else base64.b64decode(_PEM_ARMOUR_PATTERN.sub(b"", content))  # skips white space
        inner_content = _read_signed_content(BerCursor(encoded, ElementCounter(budget, _MAX_ELEMENTS)))
    except (BerDecodeError, binascii.Error) as error:
        raise DocumentError(f"the signed file is damaged: {error}", reason_code="damaged_signed") from error
    budget.consume_bytes(len(inner_content))
    budget.consume_parts(1)
    # Signed mail begins with the header of its content alone (RFC 8551 §3.1).
    is_signed_mail = inner_content[:13].lower() == b"content-type:"
    inner_name = _SIGNED_FILE_EXTENSION.sub("", file_name or "")
    part = ContainerPart(
        section=f"{section}/1" if section else "1",
        media_type="message/rfc822" if is_signed_mail else detect_media_type(inner_content),
        file_name=None if inner_name.lower() in ("", _DEFAULT_SMIME_NAME) else inner_name,
    )
    return OpenedContainer(parts=[part]), [inner_content]


def _read_signed_content(cursor: BerCursor) -> bytes:
    """Return ``ContentInfo.content.encapContentInfo.eContent`` (RFC 5652 §3, §5.1)."""
    cursor.enter_element(SEQUENCE)
    content_type_oid = cursor.read_element(OBJECT_IDENTIFIER)
    if content_type_oid in _ENCRYPTED_OIDS:
        raise DocumentError(
            "the file is encrypted; opening it requires the private key of its recipient", reason_code="encrypted"
        )
    if content_type_oid not in (_SIGNED_DATA_OID, _DATA_OID):
        raise DocumentError("the file is neither signed nor encrypted", reason_code="unsupported_type")
    if content_type_oid == _SIGNED_DATA_OID:
        cursor.enter_element(EXPLICIT_0)
        cursor.enter_element(SEQUENCE)
        cursor.skip_element()  # version
        cursor.skip_element()  # digestAlgorithms
        end = cursor.enter_element(SEQUENCE)
        cursor.read_element(OBJECT_IDENTIFIER)  # the content type that the signer states
        if cursor.is_at_end(end):
            raise DocumentError(
                "the file is only a signature; the signed content is another file", reason_code="signature"
            )
    cursor.enter_element(EXPLICIT_0)
    return cursor.read_octet_string()
