"""Files of many mails: an mbox cut into its mails, without ever holding it as a whole (RFC 4155, and its dialects)."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

_BLOCK = 1 << 20
_LONGEST_LINE = 1000
# A sender, and a date with a time and a year in whatever order; a sentence that begins with "From" has not all of it.
_FROM_LINE = rb"From (?=[^\r\n]{0,300}\b\d{1,2}:\d\d\b)(?=[^\r\n]{0,300}\b(?:19|20)\d\d\b)[^\r\n]{1,300}\r?\n"
_FIRST = re.compile(_FROM_LINE)
_NEXT = re.compile(rb"\nFrom ")  # what is searched for fast; the empty line before it is looked for where it is found
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_HEADER = 64 * 1024
# What mail programs write into a mail that lies in an mbox: whether it was read, and other marks.
_MARKS = re.compile(
    rb"^(?:(?:X-)?Status|X-Keywords|X-UID|X-IMAP(?:base)?|X-Mozilla-(?:Status2?|Keys)|Content-Length|Lines):"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """A mail in an mbox: where it is, without its From_ line, and what it is known by.

    ``key`` is ``<n>:<first digits of the SHA-256>``, for the n-th mail with this content; marks that mail programs set
    do not count, nor does the place in the file.
    """

    start: int
    length: int
    key: str
    is_last: bool = False


def starts_mailbox(head: bytes) -> bool:
    """Return whether a file begins like an mbox."""
    return _FIRST.match(head) is not None


def mails_of(opened: BinaryIO) -> Iterator[Span]:
    """Yield the mails of an mbox in their order; it may be read elsewhere between two of them."""
    seen: Counter[str] = Counter()
    last: Span | None = None
    for start, end in _bounds(opened):
        digest = _digest(opened, start, end - start)
        seen[digest] += 1
        if last is not None:
            yield last
        last = Span(start, end - start, f"{seen[digest]}:{digest}")
    if last is not None:
        yield replace(last, is_last=True)


def unquoted(content: bytes) -> bytes:
    """Return a mail as it was before it was put into an mbox."""
    return _QUOTED.sub(rb"\1", content)


def _bounds(opened: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield where each mail begins and ends, without From_ lines and the empty lines before them."""
    start: int | None = None
    for place, first in _from_lines(opened):
        if start is not None:
            yield start, place
        start = first
    if start is not None:
        yield start, max(start, _end(opened))


def _end(opened: BinaryIO) -> int:
    """Return where the last mail ends: before the empty line that a next From_ line would follow."""
    length = opened.seek(0, os.SEEK_END)
    tail = _at(opened, max(0, length - 4), 4)
    return length - 2 if tail == b"\r\n\r\n" else length - 1 if tail.endswith(b"\n\n") else length


def _from_lines(opened: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield where the mail before each From_ line ends, and where the mail after it begins."""
    offset, text, reached = 0, _at(opened, 0, _BLOCK), 0
    if first := _FIRST.match(text):
        yield 0, first.end()
    while text:
        for found in _NEXT.finditer(text):
            start = found.start() + 1
            empty = 2 if text.endswith(b"\n\r\n", 0, start) else 1 if text.endswith(b"\n\n", 0, start) else 0
            line = _FIRST.match(text, start) if empty else None
            if line and offset + line.end() > reached:
                reached = offset + line.end()
                yield offset + start - empty, reached
        if len(text) < _BLOCK:
            return
        offset += len(text) - _LONGEST_LINE  # what may have been cut off is looked at again
        text = _at(opened, offset, _BLOCK)


def _at(opened: BinaryIO, offset: int, length: int) -> bytes:
    opened.seek(offset)
    return opened.read(length)


def _digest(opened: BinaryIO, start: int, length: int) -> str:
    """Return what a mail is known by: the first 16 digits of its SHA-256, without the marks of mail programs."""
    head = _at(opened, start, min(length, _HEADER))
    end = found.end() if (found := _END_OF_HEADER.search(head)) else len(head)
    digest = hashlib.sha256(_MARKS.sub(b"", head[:end]) + head[end:])
    left = length - len(head)
    while left > 0 and (block := opened.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()[:16]
