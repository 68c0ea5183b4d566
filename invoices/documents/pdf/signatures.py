"""The signatures of a PDF: whether it was changed after, and whether the digest that was signed is still its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pikepdf

MAX_FIELDS = 500
_DETACHED = {"/adbe.pkcs7.detached", "/ETSI.CAdES.detached"}  # ISO 32000-2 §12.8.3.3: the digest is over the file
# The attribute messageDigest of CMS (RFC 5652 §11.2), as it is in DER: its id, a set, an octet string.
_MESSAGE_DIGEST = re.compile(rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\x31.\x04(.)", re.DOTALL)
_DIGESTS = {20: hashlib.sha1, 32: hashlib.sha256, 48: hashlib.sha384, 64: hashlib.sha512}
_BLOCK = 1 << 20


def signature_problems(pdf: pikepdf.Pdf, path: Path) -> tuple[list[str], bool]:
    """Return what is odd about the signatures, and whether one of them is broken: what it signed is not here any more.

    Whose signature it is, and whether to trust that, is not looked at.
    """
    signatures = [(_range(value), value) for value in islice(_signatures(pdf), MAX_FIELDS)]
    if not signatures:
        return [], False
    size = path.stat().st_size
    problems = []
    if max(reach for ranges, _ in signatures for reach in [_reach(ranges)]) < _content_end(path, size):
        problems.append("something was added after the last signature")
    if any(_is_broken(ranges, value, path, size) for ranges, value in signatures):
        return [*problems, "what was signed is not what is here"], True
    return problems, False


def _signatures(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    form = pdf.Root.get("/AcroForm")
    waiting = _children(form, "/Fields")
    for _ in range(MAX_FIELDS):
        if not waiting:
            return
        field = waiting.pop()
        value = field.get("/V")
        if isinstance(value, pikepdf.Dictionary) and "/ByteRange" in value:
            yield value
        waiting += _children(field, "/Kids")


def _children(parent: object, key: str) -> list[pikepdf.Object]:
    found = parent.get(key) if isinstance(parent, pikepdf.Dictionary) else None
    listed = [found[index] for index in range(min(len(found), MAX_FIELDS))] if isinstance(found, pikepdf.Array) else []
    return [child for child in listed if isinstance(child, pikepdf.Dictionary)]


def _range(signature: pikepdf.Object) -> list[tuple[int, int]]:
    """Return start and length of each piece of the file that was signed."""
    numbers = signature.get("/ByteRange")
    if not isinstance(numbers, pikepdf.Array) or len(numbers) > 8:
        return []
    flat = [int(numbers[index]) for index in range(len(numbers))]
    return list(zip(flat[::2], flat[1::2], strict=False))


def _reach(ranges: list[tuple[int, int]]) -> int:
    return max((start + length for start, length in ranges), default=0)


def _content_end(path: Path, size: int) -> int:
    """Return where the file ends, white space left out."""
    with path.open("rb") as file:
        file.seek(max(0, size - _BLOCK))
        tail = file.read()
    return size - (len(tail) - len(tail.rstrip(b"\0\t\n\f\r ")))


def _is_broken(ranges: list[tuple[int, int]], signature: pikepdf.Object, path: Path, size: int) -> bool:
    if str(signature.get("/SubFilter")) not in _DETACHED:
        return False
    if any(start < 0 or length < 0 or start + length > size for start, length in ranges):
        return True
    signed = list(_signed_digests(bytes(signature.get("/Contents", pikepdf.String("")))))
    return bool(signed) and not any(_digest(path, ranges, len(digest)) == digest for digest in signed)


def _signed_digests(contents: bytes) -> Iterator[bytes]:
    """Yield the digests that were signed, one of them over the file; the others are those of time stamps."""
    for match in _MESSAGE_DIGEST.finditer(contents):
        length = match[1][0]
        if length in _DIGESTS:
            yield contents[match.end() : match.end() + length]


def _digest(path: Path, ranges: list[tuple[int, int]], length: int) -> bytes:
    digest = _DIGESTS[length](usedforsecurity=False)
    with path.open("rb") as file:
        for start, left in ranges:
            file.seek(start)
            while left > 0 and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
    return digest.digest()
