"""Splits an mbox file into its mails without holding all of it in memory (RFC 4155 and its dialects)."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

_BLOCK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1000
_MAX_HEADER_BYTES = 64 * 1024


class MboxMatcher(Protocol):
    """Matches the bytes of an mbox, in a restricted process; raises DocumentError where that is stopped."""

    def find_from_lines(self, block: bytes, *, is_file_start: bool) -> Sequence[tuple[int, int]]:
        """Return where the mail before each From_ line of a block ends, and where the mail after it begins."""
        ...

    def remove_status_fields(self, head: bytes, /) -> bytes:
        """Return the beginning of a mail without the marks of mail programs in its header."""
        ...

    def unescape_from_lines(self, content: bytes, /) -> bytes:
        """Return a mail as it was before it was put into an mbox."""
        ...


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


def split_mbox(stream: BinaryIO, matcher: MboxMatcher) -> Iterator[MailSpan]:
    """Yield the mails of an mbox in their order; the caller may move the position of ``stream`` between two of them."""
    digest_counts: Counter[str] = Counter()
    previous: MailSpan | None = None
    for start, end in _locate_mails(stream, matcher):
        digest = _compute_mail_digest(stream, start, end - start, matcher)
        digest_counts[digest] += 1
        if previous is not None:
            yield previous
        previous = MailSpan(start, end - start, f"{digest_counts[digest]}:{digest}")
    if previous is not None:
        yield replace(previous, is_last=True)


def _locate_mails(stream: BinaryIO, matcher: MboxMatcher) -> Iterator[tuple[int, int]]:
    """Yield where each mail begins and ends, without From_ lines and the empty lines before them."""
    start: int | None = None
    for mail_end, next_start in _locate_from_lines(stream, matcher):
        if start is not None:
            yield start, mail_end
        start = next_start
    if start is not None:  # the last mail ends before the empty line that another From_ line would follow
        file_length = stream.seek(0, os.SEEK_END)
        tail = _read_at(stream, max(0, file_length - 4), 4)
        empty_line_length = 2 if tail == b"\r\n\r\n" else 1 if tail.endswith(b"\n\n") else 0
        yield start, max(start, file_length - empty_line_length)


def _locate_from_lines(stream: BinaryIO, matcher: MboxMatcher) -> Iterator[tuple[int, int]]:
    """Yield where the mail before each From_ line ends, and where the mail after it begins."""
    offset, block, last_line_end = 0, _read_at(stream, 0, _BLOCK_BYTES), 0
    while block:
        for mail_end, next_start in matcher.find_from_lines(block, is_file_start=offset == 0):
            if offset + next_start > last_line_end:
                last_line_end = offset + next_start
                yield offset + mail_end, last_line_end
        if len(block) < _BLOCK_BYTES:
            return
        offset += len(block) - _MAX_LINE_BYTES  # search again what may have been cut off
        block = _read_at(stream, offset, _BLOCK_BYTES)


def _read_at(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)


def _compute_mail_digest(stream: BinaryIO, start: int, length: int, matcher: MboxMatcher) -> str:
    """Return the first 16 digits of the SHA-256 of a mail, computed without the marks of mail programs."""
    head = _read_at(stream, start, min(length, _MAX_HEADER_BYTES))
    digest = hashlib.sha256(matcher.remove_status_fields(head))
    remaining = length - len(head)
    while remaining > 0 and (block := stream.read(min(remaining, _BLOCK_BYTES))):
        digest.update(block)
        remaining -= len(block)
    return digest.hexdigest()[:16]
