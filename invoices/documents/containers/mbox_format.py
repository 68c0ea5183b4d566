"""The parts of reading an mbox that match its bytes (RFC 4155 and its dialects); only child processes call them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from invoices.documents.content_sniffing import MBOX_FROM_LINE_PATTERN

_FROM_CANDIDATE_PATTERN = re.compile(rb"\nFrom ")  # a fast search; the empty line before it is checked afterwards
_QUOTED_FROM_PATTERN = re.compile(rb"^>(>*From )", re.MULTILINE)
_END_OF_HEADER_PATTERN = re.compile(rb"\r?\n\r?\n")
# Header fields that mail programs add to a mail in an mbox: whether it was read, and other marks.
_STATUS_FIELDS_PATTERN = re.compile(
    rb"^(?:(?:X-)?Status|X-Keywords|X-UID|X-IMAP(?:base)?|X-Mozilla-(?:Status2?|Keys)|Content-Length|Lines):"
    rb"[^\n]*+\n(?:[ \t][^\n]*+\n)*+",
    re.IGNORECASE | re.MULTILINE,
)


def find_from_lines(block: bytes, *, is_file_start: bool) -> Sequence[tuple[int, int]]:
    """Return where the mail before each From_ line of a block ends, and where the mail after it begins."""
    positions = []
    if is_file_start and (first_line := MBOX_FROM_LINE_PATTERN.match(block)):
        positions.append((0, first_line.end()))
    for candidate in _FROM_CANDIDATE_PATTERN.finditer(block):
        start = candidate.start() + 1
        blank_line_length = 2 if block.endswith(b"\n\r\n", 0, start) else 1 if block.endswith(b"\n\n", 0, start) else 0
        from_line = MBOX_FROM_LINE_PATTERN.match(block, start) if blank_line_length else None
        if from_line:
            positions.append((start - blank_line_length, from_line.end()))
    return positions


def remove_status_fields(head: bytes) -> bytes:
    """Return the beginning of a mail without the marks of mail programs in its header."""
    end = match.end() if (match := _END_OF_HEADER_PATTERN.search(head)) else len(head)
    return _STATUS_FIELDS_PATTERN.sub(b"", head[:end]) + head[end:]


def unescape_from_lines(content: bytes) -> bytes:
    """Return a mail as it was before it was put into an mbox, with ``>From`` turned back into ``From``."""
    return _QUOTED_FROM_PATTERN.sub(rb"\1", content)
