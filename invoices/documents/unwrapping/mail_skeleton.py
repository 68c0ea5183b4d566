"""A mail without its long texts: what the mail parser must see to find the structure, and how the rest is put back.

The standard parser looks at every line, which is slow for the thousands of lines of an attachment. Only a line that
starts with two hyphens can end a part, so once a part's headers are over, all lines up to the next such line are body.
They are cut out, a mark stands in their place, and whatever the parser then takes for a payload is filled again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from invoices.documents.unwrapping.mail_boundaries import Boundaries

MAX_LINES = 1_000_000  # that could mean something to the parser; beyond that it needs seconds

_SEARCHED = 1_000_000  # bytes in which a body must start; headers are shorter
_SHORT = 256  # bytes that are not worth a mark
_MARK = secrets.token_hex(16)  # of this process; it never leaves it, so nobody can have written it into a mail
_MARKS = re.compile(f"{_MARK}([0-9]+)\n".encode())
# A line that is no header, no continuation and no envelope (``email.feedparser.headerRE``). Each ends one header block
# at most; a block without headers opens at most one further (RFC 2046 §5.1.5), so after four of them comes body.
_NEUTRAL = rb"(?![\t ]|From |[!-9;-~]*:)[^\r\n]*+(?>\r\n?|\n)"
_BODY = re.compile(rb"\n(?:" + _NEUTRAL + rb"){4}")


class TooManyLines(Exception):
    """More lines than the parser can go through in time; the whole mail is set aside."""


class Skeleton:
    """The text for the parser, and ``filled``, which gives the real bytes of a payload that it found."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._cuts: list[tuple[int, int]] = []
        text = self._cut(content)
        self.boundaries = Boundaries(text)
        self.text = self.boundaries.renamed(text).decode("ascii", "surrogateescape")

    def _cut(self, content: bytes) -> bytes:
        pieces, done, lines = [], 0, 0
        for start, end in _bodies(content):
            pieces += [content[done:start], f"{_MARK}{len(self._cuts)}\n".encode()]
            lines += _line_count(pieces[-2])
            self._cuts.append((start, end))
            done = end
        pieces.append(content[done:])
        if lines + _line_count(pieces[-1]) > MAX_LINES:
            raise TooManyLines
        return b"".join(pieces)

    def filled(self, payload: bytes) -> bytes:
        """Return the payload as the mail has it, with all that was cut out of it."""
        pieces = _MARKS.split(self.boundaries.restored(payload))
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(self._cut_out(int(piece)) if i % 2 else piece for i, piece in enumerate(pieces))

    def _cut_out(self, number: int) -> memoryview:
        start, end = self._cuts[number]
        return self._content[start:end]


def _bodies(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield where whole lines start and end that are body for certain; the last line before a boundary is not."""
    start = 0
    for stop in _possible_boundaries(content):
        if stop - start > _SHORT and (body := _BODY.search(content, start, min(stop, start + _SEARCHED))):
            end = content.rfind(b"\n", body.end(), stop - 1) + 1
            if end - body.end() > _SHORT:
                yield body.end(), end
        start = stop


def _possible_boundaries(content: bytes) -> Iterator[int]:
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
        if count > MAX_LINES // 10:
            raise TooManyLines
    yield len(content)


def _line_count(piece: bytes) -> int:
    return piece.count(b"\n") + piece.count(b"\r")
