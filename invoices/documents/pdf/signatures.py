"""The signatures of a PDF: whether it was changed after signing, and whether the signed digest still matches."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pikepdf

MAX_FORM_FIELDS = 500
# ISO 32000-2 §12.8.3.3: the digest is over the file.
_DETACHED_SUBFILTERS = {"/adbe.pkcs7.detached", "/ETSI.CAdES.detached"}
# The attribute messageDigest of CMS (RFC 5652 §11.2) in DER: its id, a set, an octet string.
_MESSAGE_DIGEST_PATTERN = re.compile(rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\x31.\x04(.)", re.DOTALL)
_HASH_BY_DIGEST_LENGTH = {20: hashlib.sha1, 32: hashlib.sha256, 48: hashlib.sha384, 64: hashlib.sha512}
_BLOCK_BYTES = 1 << 20


def check_signatures(pdf: pikepdf.Pdf, path: Path) -> tuple[list[str], bool]:
    """Return the problems of the signatures, and whether one is broken: the signed content was changed.

    The signer, and whether to trust it, are not checked.
    """
    signatures = [
        (_parse_byte_range(signature), signature)
        for signature in islice(_walk_signature_dictionaries(pdf), MAX_FORM_FIELDS)
    ]
    if not signatures:
        return [], False
    file_size = path.stat().st_size
    problems = []
    signed_end = max((start + length for ranges, _ in signatures for start, length in ranges), default=0)
    if signed_end < _locate_content_end(path, file_size):
        problems.append("something was added after the last signature")
    if any(_is_signature_broken(ranges, signature, path, file_size) for ranges, signature in signatures):
        return [*problems, "the signed content was changed"], True
    return problems, False


def _walk_signature_dictionaries(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    form = pdf.Root.get("/AcroForm")
    pending_fields = _list_child_dictionaries(form, "/Fields")
    for _ in range(MAX_FORM_FIELDS):
        if not pending_fields:
            return
        field = pending_fields.pop()
        signature = field.get("/V")
        if isinstance(signature, pikepdf.Dictionary) and "/ByteRange" in signature:
            yield signature
        pending_fields += _list_child_dictionaries(field, "/Kids")


def _list_child_dictionaries(parent: object, key: str) -> list[pikepdf.Object]:
    array = parent.get(key) if isinstance(parent, pikepdf.Dictionary) else None
    entries = (
        [array[index] for index in range(min(len(array), MAX_FORM_FIELDS))] if isinstance(array, pikepdf.Array) else []
    )
    return [entry for entry in entries if isinstance(entry, pikepdf.Dictionary)]


def _parse_byte_range(signature: pikepdf.Object) -> list[tuple[int, int]]:
    """Return start and length of each signed piece of the file; none if /ByteRange is invalid."""
    numbers = signature.get("/ByteRange")
    if not isinstance(numbers, pikepdf.Array) or len(numbers) > 8:
        return []
    values = [int(numbers[index]) for index in range(len(numbers))]
    return list(zip(values[::2], values[1::2], strict=False))


def _locate_content_end(path: Path, file_size: int) -> int:
    """Return the position after the last byte that is not white space."""
    with path.open("rb") as file:
        file.seek(max(0, file_size - _BLOCK_BYTES))
        tail = file.read()
    return file_size - (len(tail) - len(tail.rstrip(b"\0\t\n\f\r ")))


def _is_signature_broken(ranges: list[tuple[int, int]], signature: pikepdf.Object, path: Path, file_size: int) -> bool:
    if str(signature.get("/SubFilter")) not in _DETACHED_SUBFILTERS:
        return False
    if any(start < 0 or length < 0 or start + length > file_size for start, length in ranges):
        return True
    signed_digests = list(_extract_signed_digests(bytes(signature.get("/Contents", pikepdf.String("")))))
    return bool(signed_digests) and not any(
        _compute_file_digest(path, ranges, len(digest)) == digest for digest in signed_digests
    )


def _extract_signed_digests(contents: bytes) -> Iterator[bytes]:
    """Yield the signed digests; one of them is over the file, the others are those of time stamps."""
    for match in _MESSAGE_DIGEST_PATTERN.finditer(contents):
        length = match[1][0]
        if length in _HASH_BY_DIGEST_LENGTH:
            yield contents[match.end() : match.end() + length]


def _compute_file_digest(path: Path, ranges: list[tuple[int, int]], digest_length: int) -> bytes:
    digest = _HASH_BY_DIGEST_LENGTH[digest_length](usedforsecurity=False)
    with path.open("rb") as file:
        for start, remaining in ranges:
            file.seek(start)
            while remaining > 0 and (block := file.read(min(remaining, _BLOCK_BYTES))):
                digest.update(block)
                remaining -= len(block)
    return digest.digest()
