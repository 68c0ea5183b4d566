"""A mail without its long bodies: the text that the mail parser needs for the structure, and the cut bodies.

The standard parser reads every line, which is slow for the thousands of lines of an attachment. Only a line that starts
with two hyphens can end a part, so after the headers of a part, all lines up to the next such line are body. They are
replaced by a placeholder, and put back into each payload that the parser returns.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from invoices.documents.containers.mime_boundary_aliases import BoundaryAliases

MAX_PARSED_LINES = 1_000_000  # the parser needs seconds for more

_MAX_HEADER_SEARCH_BYTES = 1_000_000  # headers are shorter than this
_MIN_CUT_BYTES = 256  # shorter bodies are not worth a placeholder
_PLACEHOLDER_PREFIX = secrets.token_hex(16)  # never leaves this process, so no mail contains it
_PLACEHOLDER_PATTERN = re.compile(f"{_PLACEHOLDER_PREFIX}([0-9]+)\n".encode())
# A line that is no header, continuation or envelope (``email.feedparser.headerRE``). Each ends at most one header
# block, and a block without headers opens at most one more (RFC 2046 §5.1.5), so after four such lines comes body.
_BODY_LINE_PATTERN = rb"(?![\t ]|From |[!-9;-~]*:)[^\r\n]*+(?>\r\n?|\n)"
_BODY_START_PATTERN = re.compile(rb"\n(?:" + _BODY_LINE_PATTERN + rb"){4}")


class TooManyLinesError(Exception):
    """The mail has more lines than the parser can read in time."""


class CondensedMail:
    """The shortened text for the parser; ``restore_payload`` returns the original bytes of a payload."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._cut_spans: list[tuple[int, int]] = []
        text = self._cut_bodies(content)
        self.boundary_aliases = BoundaryAliases(text)
        self.text = self.boundary_aliases.replace_boundaries(text).decode("ascii", "surrogateescape")

    def _cut_bodies(self, content: bytes) -> bytes:
        pieces, copied_until, line_count = [], 0, 0
        for start, end in _locate_body_spans(content):
            pieces += [content[copied_until:start], f"{_PLACEHOLDER_PREFIX}{len(self._cut_spans)}\n".encode()]
            line_count += _count_lines(pieces[-2])
            self._cut_spans.append((start, end))
            copied_until = end
        pieces.append(content[copied_until:])
        if line_count + _count_lines(pieces[-1]) > MAX_PARSED_LINES:
            raise TooManyLinesError
        return b"".join(pieces)

    def restore_payload(self, payload: bytes) -> bytes:
        """Return the payload as the mail has it, with the cut bodies."""
        pieces: list[bytes | memoryview] = _PLACEHOLDER_PATTERN.split(self.boundary_aliases.restore_boundaries(payload))
        for index in range(1, len(pieces), 2):  # numbers of cut spans are between the pieces
            start, end = self._cut_spans[int(pieces[index])]
            pieces[index] = self._content[start:end]
        return b"".join(pieces)


def _locate_body_spans(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of whole lines that are certainly body; the last line before a boundary is not included."""
    start = 0
    for next_boundary in _locate_possible_boundaries(content):
        if next_boundary - start > _MIN_CUT_BYTES and (
            match := _BODY_START_PATTERN.search(content, start, min(next_boundary, start + _MAX_HEADER_SEARCH_BYTES))
        ):
            end = content.rfind(b"\n", match.end(), next_boundary - 1) + 1
            if end - match.end() > _MIN_CUT_BYTES:
                yield match.end(), end
        start = next_boundary


def _locate_possible_boundaries(content: bytes) -> Iterator[int]:
    """Yield the position of each line that begins with two hyphens, and the end of the mail."""
    count = 0
    after_lf, after_cr = content.find(b"\n--"), content.find(b"\r--")
    while after_lf >= 0 or after_cr >= 0:
        if after_cr < 0 or 0 <= after_lf < after_cr:
            yield after_lf + 1
            after_lf = content.find(b"\n--", after_lf + 1)
        else:
            yield after_cr + 1
            after_cr = content.find(b"\r--", after_cr + 1)
        count += 1
        if count > MAX_PARSED_LINES // 10:
            raise TooManyLinesError
    yield len(content)


def _count_lines(piece: bytes) -> int:
    return piece.count(b"\n") + piece.count(b"\r")
