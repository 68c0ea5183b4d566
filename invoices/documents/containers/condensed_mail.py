"""A mail without its long texts: what the mail parser must see to find the structure, and how the rest is put back.

The standard parser looks at every line, which is slow for the thousands of lines of an attachment. Only a line that
starts with two hyphens can end a part, so once a part's headers are over, all lines up to the next such line are body.
They are cut out, a mark stands in their place, and whatever the parser then takes for a payload is filled again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from invoices.documents.containers.mime_boundary_aliases import BoundaryAliases

MAX_PARSED_LINES = 1_000_000  # that could mean something to the parser; beyond that it needs seconds

_MAX_HEADER_SEARCH_BYTES = 1_000_000  # bytes in which a body must start; headers are shorter
_MIN_CUT_BYTES = 256  # bytes that are not worth a mark
_PLACEHOLDER_PREFIX = secrets.token_hex(
    16
)  # of this process; it never leaves it, so nobody can have written it into a mail
_PLACEHOLDER_PATTERN = re.compile(f"{_PLACEHOLDER_PREFIX}([0-9]+)\n".encode())
# A line that is no header, no continuation and no envelope (``email.feedparser.headerRE``). Each ends one header block
# at most; a block without headers opens at most one further (RFC 2046 §5.1.5), so after four of them comes body.
_BODY_LINE_PATTERN = rb"(?![\t ]|From |[!-9;-~]*:)[^\r\n]*+(?>\r\n?|\n)"
_BODY_START_PATTERN = re.compile(rb"\n(?:" + _BODY_LINE_PATTERN + rb"){4}")


class TooManyLinesError(Exception):
    """More lines than the parser can go through in time; the whole mail is set aside."""


class CondensedMail:
    """The text for the parser, and ``filled``, which gives the real bytes of a payload that it found."""

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
        """Return the payload as the mail has it, with all that was cut out of it."""
        pieces = _PLACEHOLDER_PATTERN.split(self.boundary_aliases.restore_boundaries(payload))
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(self._get_cut_content(int(piece)) if index % 2 else piece for index, piece in enumerate(pieces))

    def _get_cut_content(self, number: int) -> memoryview:
        start, end = self._cut_spans[number]
        return self._content[start:end]


def _locate_body_spans(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield where whole lines start and end that are body for certain; the last line before a boundary is not."""
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
    """Yield where lines start that begin with two hyphens, and the end of the mail."""
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
