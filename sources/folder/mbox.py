"""Splits an mbox file into its mails without holding all of it in memory (RFC 4155 and its dialects)."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from invoices.documents.content_sniffing import MBOX_FROM_LINE_PATTERN

_BLOCK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1000
_FROM_CANDIDATE_REGEX = re.compile(rb"\nFrom ")  # a fast search; the empty line before it is checked afterwards
_QUOTED_FROM_REGEX = re.compile(rb"^>(>*From )", re.MULTILINE)
_END_OF_HEADER_REGEX = re.compile(rb"\r?\n\r?\n")
_MAX_HEADER_BYTES = 64 * 1024
# Header fields that mail programs add to a mail in an mbox: whether it was read, and other marks.
_STATUS_FIELDS_REGEX = re.compile(
    rb"^(?:(?:X-)?Status|X-Keywords|X-UID|X-IMAP(?:base)?|X-Mozilla-(?:Status2?|Keys)|Content-Length|Lines):"
    rb"[^\n]*+\n(?:[ \t][^\n]*+\n)*+",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class MailSpan:
    """The position of a mail in an mbox, without its From_ line, and the key that identifies it.

    ``key`` is ``<n>:<first digits of the SHA-256>`` for the n-th mail with this content. It depends neither on marks
    that mail programs set nor on the position in the file.
    """

    start: int
    length: int
    key: str
    is_last: bool = False


def split_mbox(stream: BinaryIO) -> Iterator[MailSpan]:
    """Yield the mails of an mbox in their order; the caller may move the position of ``stream`` between two of them."""
    digest_counts: Counter[str] = Counter()
    previous: MailSpan | None = None
    for start, end in _locate_mails(stream):
        digest = _compute_mail_digest(stream, start, end - start)
        digest_counts[digest] += 1
        if previous is not None:
            yield previous
        previous = MailSpan(start, end - start, f"{digest_counts[digest]}:{digest}")
    if previous is not None:
        yield replace(previous, is_last=True)


def unescape_from_lines(content: bytes) -> bytes:
    """Return a mail as it was before it was put into an mbox, with ``>From`` turned back into ``From``."""
    return _QUOTED_FROM_REGEX.sub(rb"\1", content)


def _locate_mails(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield where each mail begins and ends, without From_ lines and the empty lines before them."""
    start: int | None = None
    for mail_end, next_start in _locate_from_lines(stream):
        if start is not None:
            yield start, mail_end
        start = next_start
    if start is not None:  # the last mail ends before the empty line that another From_ line would follow
        file_length = stream.seek(0, os.SEEK_END)
        tail = _read_at(stream, max(0, file_length - 4), 4)
        empty_line_length = 2 if tail == b"\r\n\r\n" else 1 if tail.endswith(b"\n\n") else 0
        yield start, max(start, file_length - empty_line_length)


def _locate_from_lines(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield where the mail before each From_ line ends, and where the mail after it begins."""
    offset, block, last_line_end = 0, _read_at(stream, 0, _BLOCK_BYTES), 0
    if first_line := MBOX_FROM_LINE_PATTERN.match(block):
        yield 0, first_line.end()
    while block:
        for candidate in _FROM_CANDIDATE_REGEX.finditer(block):
            start = candidate.start() + 1
            blank_line_length = (
                2 if block.endswith(b"\n\r\n", 0, start) else 1 if block.endswith(b"\n\n", 0, start) else 0
            )
            from_line = MBOX_FROM_LINE_PATTERN.match(block, start) if blank_line_length else None
            if from_line and offset + from_line.end() > last_line_end:
                last_line_end = offset + from_line.end()
                yield offset + start - blank_line_length, last_line_end
        if len(block) < _BLOCK_BYTES:
            return
        offset += len(block) - _MAX_LINE_BYTES  # search again what may have been cut off
        block = _read_at(stream, offset, _BLOCK_BYTES)


def _read_at(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)


def _compute_mail_digest(stream: BinaryIO, start: int, length: int) -> str:
    """Return the first 16 digits of the SHA-256 of a mail, computed without the marks of mail programs."""
    head = _read_at(stream, start, min(length, _MAX_HEADER_BYTES))
    end = match.end() if (match := _END_OF_HEADER_REGEX.search(head)) else len(head)
    digest = hashlib.sha256(_STATUS_FIELDS_REGEX.sub(b"", head[:end]) + head[end:])
    remaining = length - len(head)
    while remaining > 0 and (block := stream.read(min(remaining, _BLOCK_BYTES))):
        digest.update(block)
        remaining -= len(block)
    return digest.hexdigest()[:16]
