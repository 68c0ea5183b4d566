"""Lenient decoding of transfer encodings: what is valid is decoded, the rest is skipped, nothing raises."""

from __future__ import annotations

import binascii
import re

DECODABLE_ENCODINGS = frozenset({"base64", "quoted-printable", "x-uuencode", "uuencode", "uue", "x-uue"})

_UUENCODE_BEGIN_PATTERN = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,1000})\r?\n", re.MULTILINE)
_UUENCODE_END_PATTERN = re.compile(rb"^(?:end|====)[ \t]*\r?$", re.MULTILINE)
_BASE64_LINE_PATTERN = re.compile(rb"[A-Za-z0-9+/=]+")
_PADDED_RUN_PATTERN = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_NON_BASE64_CHARS = re.compile(rb"[^A-Za-z0-9+/]+")


def decode_transfer_encoding(raw: bytes, encoding: str) -> bytes:
    """Return the decoded bytes; ``raw`` itself if the encoding is unknown or none."""
    if encoding == "base64":
        return _decode_base64_leniently(raw)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    if encoding in DECODABLE_ENCODINGS:
        begin = _UUENCODE_BEGIN_PATTERN.search(raw)
        return _decode_uuencoded_lines(raw[begin.end() :]) if begin else raw
    return raw


def extract_uuencoded_files(text: bytes, limit: int) -> list[tuple[str, bytes]]:
    """Return names and contents of the files in a plain text between ``begin`` and ``end``, at most ``limit``."""
    files: list[tuple[str, bytes]] = []
    begin = _UUENCODE_BEGIN_PATTERN.search(text) if b"begin" in text else None
    while begin and len(files) < limit and (end := _UUENCODE_END_PATTERN.search(text, begin.end())):
        body = text[begin.end() : end.start()]
        content = (
            _decode_base64_leniently(body) if begin[0].startswith(b"begin-base64") else _decode_uuencoded_lines(body)
        )
        if content:
            files.append((begin[1].strip().decode("utf-8", "surrogateescape"), content))
        begin = _UUENCODE_BEGIN_PATTERN.search(text, end.end())
    return files


def _decode_base64_leniently(raw: bytes) -> bytes:
    """Return the decoded bytes of all padded runs; a truncated end loses at most two bytes."""
    return b"".join(_decode_base64_run(run) for run in _split_padded_runs(raw))


def _split_padded_runs(raw: bytes) -> list[bytes]:
    """Return the runs that end with padding, for a body that a program encoded in pieces; otherwise ``raw`` alone.

    Padding ends the data (RFC 2045 §6.8), so what follows counts only if all of it is complete runs, line by line. A
    footer that a mailing list adds has other characters or lengths.
    """
    first_padding = raw.find(b"=")
    rest = raw[first_padding:].lstrip(b"= \t\r\n") if first_padding >= 0 else b""
    lines = [line.strip() for line in rest.splitlines()]
    if not rest or any(line and not _BASE64_LINE_PATTERN.fullmatch(line) for line in lines):
        return [raw]
    runs: list[bytes] = _PADDED_RUN_PATTERN.findall(b"".join(lines))
    return [raw] if any(len(run) % 4 for run in runs) else [raw[: len(raw) - len(rest)], *runs]


def _decode_base64_run(raw: bytes) -> bytes:
    """Return the bytes decoded up to the first padding; a truncated end loses at most two bytes."""
    for padding in (b"", b"=="):
        try:
            return binascii.a2b_base64(raw + padding if padding else raw)
        except binascii.Error:
            continue
    base64_chars = _NON_BASE64_CHARS.sub(b"", raw)  # one character more than whole groups
    return binascii.a2b_base64(base64_chars[: len(base64_chars) // 4 * 4])


def _decode_uuencoded_lines(body: bytes) -> bytes:
    pieces = []
    for line in body.splitlines():
        if line.strip() in {b"end", b"`"}:
            break
        if not line:
            continue
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:
            pieces.append(_decode_line_of_wrong_length(line))
    return b"".join(pieces)


def _decode_line_of_wrong_length(line: bytes) -> bytes:
    """Return the valid start of a line whose length differs from the one that its first character states."""
    line_length = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:line_length])
    except binascii.Error:
        return b""
