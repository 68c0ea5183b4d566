"""Decoding of mail headers: encoded words, unusual charsets, folded lines; always bounded, never raises."""

from __future__ import annotations

import binascii
import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header

MAX_FIELD_CHARS = 2_000  # of a header that are decoded

_ENCODED_WORD_PATTERN = re.compile(r"=\?[^?\s]{1,64}\?[qQbB]\?[^\r\n]{0,2000}?\?=")
_CHARSET_ALIASES = {
    "x-gbk": "gb18030", "gb2312": "gb18030", "gbk": "gb18030", "x-sjis": "cp932", "shift_jis": "cp932",
    "ks_c_5601-1987": "cp949", "x-unknown": "utf-8", "unknown-8bit": "utf-8", "unicode-1-1-utf-7": "utf-7",
    "iso-8859-8-i": "iso-8859-8", "iso-8859-1": "cp1252", "us-ascii": "utf-8", "ascii": "utf-8",
}  # fmt: skip


def decode_to_one_line(text: str) -> str:
    """Return a decoded header as one trimmed line, with single blanks for control characters and white space."""
    decoded = decode_encoded_words(text)
    without_controls = (" " if unicodedata.category(character) == "Cc" else character for character in decoded)
    return " ".join("".join(without_controls).split())


def decode_encoded_words(text: str) -> str:
    """Return the text with its encoded words decoded (RFC 2047, and against it also within quotes)."""
    text, pieces, position = text[:MAX_FIELD_CHARS], [], 0
    for start, end in _find_word_runs(text):
        pieces += [text[position:start], _decode_word_run(text[start:end])]
        position = end
    return replace_lone_surrogates("".join([*pieces, text[position:]]))


def _find_word_runs(text: str) -> list[tuple[int, int]]:
    """Return where encoded words begin and end; with only white space between them, they are one run."""
    runs: list[tuple[int, int]] = []
    for match in _ENCODED_WORD_PATTERN.finditer(text):
        is_continued = bool(runs) and not text[runs[-1][1] : match.start()].strip()
        runs.append((runs.pop()[0] if is_continued else match.start(), match.end()))
    return runs


def decode_text_leniently(raw: bytes, charset: str) -> str:
    """Return bytes as text in a charset that may be unknown or wrong."""
    charset_name = charset.partition("*")[0].strip().lower()
    for encoding in (_CHARSET_ALIASES.get(charset_name, charset_name), "utf-8"):
        try:
            return raw.decode(encoding)
        except (LookupError, ValueError):
            continue
    try:
        return raw.decode(_CHARSET_ALIASES.get(charset_name, charset_name), "replace")
    except (LookupError, ValueError):
        return raw.decode("cp1252", "replace")


def replace_lone_surrogates(text: str) -> str:
    """Return the text without lone surrogates, which no database and no file accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _decode_word_run(words: str) -> str:
    try:
        chunks = decode_header(words)
    except (HeaderParseError, binascii.Error, ValueError):
        return words
    return "".join(
        raw if isinstance(raw, str) else decode_text_leniently(raw, charset or "utf-8") for raw, charset in chunks
    )
