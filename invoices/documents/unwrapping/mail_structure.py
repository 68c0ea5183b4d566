"""The structure of a mail: Python's own parser, stopped at our limits before it recurses, each leaf with its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.feedparser import FeedParser
from email.message import Message

from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping.mail_skeleton import Skeleton, TooManyLines
from invoices.documents.unwrapping.transfer_encoding import ENCODED, decoded

MAX_PARTS = 200
MAX_DEPTH = 20
MAX_HEADERS = 1_000  # in one block
MAX_HEADER_BYTES = 256 * 1024  # in one block

_MAX_PARAMETERS = 200  # the standard parser of parameters is quadratic
_MAX_BOUNDARY = 1_000  # characters; RFC 2046 allows 70
_BOUNDARY_SEARCHED = 100_000  # bytes in which a boundary that nobody stated is looked for
_TYPE = re.compile(r"\s*\"?([^\s;/\"]+/[^\s;/\"]+)")
_FIRST_BOUNDARY = re.compile(rb"^--([^\r\n]{1,200})\r?\n(?=[!-9;-~]{1,76}:)", re.MULTILINE)
_MAILS = frozenset({"message/rfc822", "message/global", "message/news"})
_STRUCTURED = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "content-id"})


class MailLimits(Exception):
    """The mail has more of something than a mail may have; the text says of what."""


@dataclass(slots=True)
class Budget:
    """How many parts a mail and all mails in it may still have."""

    parts: int = MAX_PARTS

    def spend(self) -> None:
        """Count one part; raises MailLimits when there are too many."""
        self.parts -= 1
        if self.parts < 0:
            raise MailLimits(f"the mail has more than {MAX_PARTS} parts")


class Entity(Message):
    """A mail or a part of one, that counts what the parser hands it; raises MailLimits."""

    def __init__(self, skeleton: Skeleton, budget: Budget, depth: int) -> None:
        super().__init__()  # policy compat32: the newer ones parse every header, some in quadratic time
        self.skeleton, self.budget, self.depth = skeleton, budget, depth
        self.parent: Entity | None = None
        self._header_bytes = self._header_count = 0

    def set_raw(self, name: str, value: str) -> None:
        """Take one header; those about structure are unfolded, and their raw 8-bit text is decoded."""
        self._header_count += 1
        self._header_bytes += len(name) + len(value)
        if self._header_count > MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            raise MailLimits(
                f"more than {MAX_HEADERS:,} headers, or {MAX_HEADER_BYTES // 1024} KB of them, in one part"
            )
        if name.lower() in _STRUCTURED:
            unfolded = readable(value).replace("\r", "").replace("\n", "")
            value = ";".join(unfolded.split(";", _MAX_PARAMETERS)[:_MAX_PARAMETERS])
        super().set_raw(name, value)

    def attach(self, payload: Message) -> None:  # type: ignore[override]  # the parser hands over nothing else
        """Take one part, unless that makes too many or goes too deep."""
        self.budget.spend()
        assert isinstance(payload, Entity)  # noqa: S101  # the factory makes no other
        payload.parent, payload.depth = self, self.depth + 1
        if payload.depth > MAX_DEPTH:
            raise MailLimits(f"the mail is nested more than {MAX_DEPTH} deep")
        super().attach(payload)

    def get_content_type(self) -> str:
        """Return what the parser shall take it for: reports, fragments, references and encoded mails are leaves."""
        declared = self.declared_type()
        if declared.startswith("message/"):
            return "message/rfc822" if declared in _MAILS and self.transfer_encoding() not in ENCODED else "text/plain"
        return declared

    def declared_type(self) -> str:
        """Return the media type as stated, lower case, or else the default (RFC 2045 §5.2, RFC 2046 §5.1.5)."""
        match = _TYPE.match(str(self.get("content-type", "")))
        return match[1].lower() if match else self.get_default_type()

    def is_mail(self) -> bool:
        """Return whether the part states that it is a whole mail."""
        return self.declared_type() in _MAILS

    def has_multipart_type(self) -> bool:
        """Return whether the part states that it is a multipart, be there parts in it or not."""
        return self.get_content_maintype() == "multipart"

    def transfer_encoding(self) -> str:
        """Return the stated transfer encoding, lower case, without what some programs put around it."""
        stated = str(self.get("content-transfer-encoding", "")).strip(" \t\"'").lower()
        return re.split(r"[\s;(]", stated, maxsplit=1)[0].strip("\"'")

    def get_boundary(self, failobj: str | None = None) -> str | None:  # type: ignore[override]  # one type of default
        """Return the boundary as the skeleton has it, None where there is none that can be read."""
        try:
            boundary = super().get_boundary()
        except (TypeError, ValueError):  # contradictory numbers or a NUL in RFC 2231 parameters
            return failobj
        if not boundary or len(boundary) > _MAX_BOUNDARY:
            return failobj
        return self.skeleton.boundaries.name_of(boundary)

    def children(self) -> list[Entity]:
        """Return the parts of a multipart, the mail in a mail, or nothing."""
        payload = self.get_payload() if self.is_multipart() else []
        return [child for child in payload if isinstance(child, Entity)]

    def raw(self) -> bytes:
        """Return the payload of a leaf as it stands in the mail, still encoded."""
        encoding = self.get_all("content-transfer-encoding", [])
        del self["content-transfer-encoding"]
        payload = self.get_payload(decode=True)
        for value in encoding:
            super().set_raw("Content-Transfer-Encoding", str(value))
        return self.skeleton.filled(payload) if isinstance(payload, bytes) else b""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One part that has no parts, decoded."""

    entity: Entity
    section: str  # as IMAP counts, RFC 3501 §6.4.5
    content: bytes
    mail: Entity  # the innermost mail that it is in

    @property
    def around(self) -> str | None:
        """The declared type of what the part is in."""
        return self.entity.parent.declared_type() if self.entity.parent else None


def take_apart(content: bytes) -> Entity:
    """Return a mail as the tree of its parts; raises MailLimits before anything recurses or grows."""
    return _parsed(content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"), Budget(), None, 0)


def leaves(mail: Entity, section: tuple[int, ...] = ()) -> Iterator[Leaf]:
    """Yield the leaves of a mail in their order, also of the mails in it; may raise MailLimits on the way.

    Encoded mails, and multiparts whose boundary is not the stated one, are opened too.
    """
    yield from _visit(mail, section if mail.has_multipart_type() else (*section, 1), mail)


def _visit(entity: Entity, section: tuple[int, ...], mail: Entity) -> Iterator[Leaf]:
    children = entity.children()
    if entity.has_multipart_type() and children:
        for number, child in enumerate(children, 1):
            yield from _visit(child, (*section, number), mail)
    elif children and children[0].keys():
        yield from leaves(children[0], section)
    else:
        raw = (children[0] if children else entity).raw()
        yield from _leaf(entity, raw, section, mail)


def _leaf(entity: Entity, raw: bytes, section: tuple[int, ...], mail: Entity) -> Iterator[Leaf]:
    content = decoded(raw, entity.transfer_encoding())
    if entity.is_mail() and (inner := _mail_in(content) or _mail_in(raw)):
        yield from leaves(_parsed(inner, entity.budget, entity, entity.depth + 1), section)
    elif entity.has_multipart_type() and (again := _with_found_boundary(entity, raw)):
        yield from _visit(again, section, mail)
    else:
        yield Leaf(entity, ".".join(map(str, section)), content, mail)


def _mail_in(content: bytes) -> bytes | None:
    return content if media_type(content) == "message/rfc822" else None


def _with_found_boundary(entity: Entity, raw: bytes) -> Entity | None:
    """Return a multipart read again by the boundary that its text shows, as the stated one is missing or wrong."""
    found = _FIRST_BOUNDARY.search(raw, 0, _BOUNDARY_SEARCHED)
    if not found:
        return None
    boundary = re.sub(rb'(["\\])', rb"\\\1", found[1].rstrip())
    head = b'Content-Type: %s; boundary="%s"\r\n\r\n' % (entity.declared_type().encode("ascii", "replace"), boundary)
    again = _parsed(head + raw, entity.budget, entity.parent, entity.depth)
    return again if again.is_multipart() else None


def _parsed(content: bytes, budget: Budget, parent: Entity | None, depth: int) -> Entity:
    if depth > MAX_DEPTH:
        raise MailLimits(f"the mail is nested more than {MAX_DEPTH} deep")
    try:
        skeleton = Skeleton(content)
    except TooManyLines:
        raise MailLimits("the mail has more lines than can be looked through") from None
    parser: FeedParser[Entity] = FeedParser(lambda: Entity(skeleton, budget, depth))  # its policy is compat32
    parser.feed(skeleton.text)
    root = parser.close()
    root.parent = parent
    return root


def readable(text: str) -> str:
    """Return text of a header with its raw 8-bit bytes read as UTF-8, or else as Western European."""
    if text.isascii():
        return text
    raw = text.encode("utf-8", "surrogateescape") if _has_raw_bytes(text) else text.encode("utf-8", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(raw) - 3 and error.end == len(raw):  # cut within a character
            return raw[: error.start].decode("utf-8")
        return raw.decode("cp1252", "replace")


def _has_raw_bytes(text: str) -> bool:
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in text)
