"""Transfer encodings undone leniently: whatever is valid is decoded, the rest is left out, nothing raises."""

from __future__ import annotations

import binascii
import re

ENCODED = frozenset({"base64", "quoted-printable", "x-uuencode", "uuencode", "uue", "x-uue"})

_BEGIN = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,1000})\r?\n", re.MULTILINE)
_END = re.compile(rb"^(?:end|====)[ \t]*\r?$", re.MULTILINE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def decoded(raw: bytes, encoding: str) -> bytes:
    """Return the bytes that were encoded; ``raw`` itself where the encoding is unknown or none."""
    if encoding == "base64":
        return _base64(raw)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    if encoding in ENCODED:
        begin = _BEGIN.search(raw)
        return _uuencoded(raw[begin.end() :]) if begin else raw
    return raw


def uuencoded_files(text: bytes, limit: int) -> list[tuple[str, bytes]]:
    """Return the names and contents of files that are written into a plain text between ``begin`` and ``end``."""
    files: list[tuple[str, bytes]] = []
    begin = _BEGIN.search(text) if b"begin" in text else None
    while begin and len(files) < limit and (end := _END.search(text, begin.end())):
        body = text[begin.end() : end.start()]
        content = _base64(body) if begin[0].startswith(b"begin-base64") else _uuencoded(body)
        if content:
            files.append((begin[1].strip().decode("utf-8", "surrogateescape"), content))
        begin = _BEGIN.search(text, end.end())
    return files


def _base64(raw: bytes) -> bytes:
    """Return what is decoded up to the first padding; a truncated end loses at most its last two bytes."""
    for padding in (b"", b"=="):
        try:
            return binascii.a2b_base64(raw + padding if padding else raw)
        except binascii.Error:
            continue
    letters = _NOT_BASE64.sub(b"", raw)  # one character more than whole groups
    return binascii.a2b_base64(letters[: len(letters) // 4 * 4])


def _uuencoded(body: bytes) -> bytes:
    pieces = []
    for line in body.splitlines():
        if line.strip() in {b"end", b"`"}:
            break
        if not line:
            continue
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:
            pieces.append(_wrong_length(line))
    return b"".join(pieces)


def _wrong_length(line: bytes) -> bytes:
    """Return the valid start of a line whose length is not what its first character says."""
    letters = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:letters])
    except binascii.Error:
        return b""
