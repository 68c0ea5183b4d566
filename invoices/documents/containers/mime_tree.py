"""The MIME tree of a mail: Python's parser, stopped at our limits before it recurses; each leaf with its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.feedparser import FeedParser
from email.message import Message

from invoices.documents.containers.condensed_mail import CondensedMail, TooManyLinesError
from invoices.documents.containers.transfer_encoding import DECODABLE_ENCODINGS, decode_transfer_encoding
from invoices.documents.content_sniffing import detect_media_type

MAX_MAIL_PARTS = 200
MAX_MAIL_DEPTH = 20
MAX_HEADERS_PER_PART = 1_000  # in one block
MAX_HEADER_BYTES_PER_PART = 256 * 1024  # in one block

_MAX_PARAMETERS = 200  # the standard parser of parameters takes quadratic time
_MAX_BOUNDARY_CHARS = 1_000  # RFC 2046 allows 70
_MAX_BOUNDARY_SEARCH_BYTES = 100_000  # for a boundary that is not stated
_MEDIA_TYPE_PATTERN = re.compile(r"\s*\"?([^\s;/\"]+/[^\s;/\"]+)")
_FIRST_BOUNDARY_PATTERN = re.compile(rb"^--([^\r\n]{1,200})\r?\n(?=[!-9;-~]{1,76}:)", re.MULTILINE)
_MAIL_TYPES = frozenset({"message/rfc822", "message/global", "message/news"})
_STRUCTURE_HEADERS = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "content-id"})


class MailLimitError(Exception):
    """The mail has more parts, headers, levels or lines than allowed; the message states which."""


@dataclass(slots=True)
class MailPartBudget:
    """The number of parts that a mail, with all mails in it, may still have."""

    remaining_parts: int = MAX_MAIL_PARTS

    def take_part(self) -> None:
        """Count one part. Raises MailLimitError if there are too many."""
        self.remaining_parts -= 1
        if self.remaining_parts < 0:
            raise MailLimitError(f"the mail has more than {MAX_MAIL_PARTS} parts")


class MimeEntity(Message):
    """A mail or a part of one; checks the limits while it is parsed and raises MailLimitError."""

    def __init__(self, condensed_mail: CondensedMail, part_budget: MailPartBudget, depth: int) -> None:
        super().__init__()  # policy compat32: the newer ones parse every header, some in quadratic time
        self.condensed_mail, self.part_budget, self.depth = condensed_mail, part_budget, depth
        self.parent: MimeEntity | None = None
        self._header_bytes = self._header_count = 0

    def set_raw(self, name: str, value: str) -> None:
        """Add one header; headers about structure are unfolded, and their raw 8-bit text is decoded."""
        self._header_count += 1
        self._header_bytes += len(name) + len(value)
        if self._header_count > MAX_HEADERS_PER_PART or self._header_bytes > MAX_HEADER_BYTES_PER_PART:
            limits = f"{MAX_HEADERS_PER_PART:,} headers or {MAX_HEADER_BYTES_PER_PART // 1024} KB of headers"
            raise MailLimitError(f"one part of the mail has more than {limits}")
        if name.lower() in _STRUCTURE_HEADERS:
            unfolded = decode_8bit_header_text(value).replace("\r", "").replace("\n", "")
            value = ";".join(unfolded.split(";", _MAX_PARAMETERS)[:_MAX_PARAMETERS])
        super().set_raw(name, value)

    def attach(self, payload: Message) -> None:  # type: ignore[override]  # the parser passes nothing else
        """Add one part. Raises MailLimitError if there are too many, or too many levels."""
        self.part_budget.take_part()
        assert isinstance(payload, MimeEntity)  # noqa: S101 - the factory makes no other
        payload.parent, payload.depth = self, self.depth + 1
        if payload.depth > MAX_MAIL_DEPTH:
            raise MailLimitError(f"the mail is nested more than {MAX_MAIL_DEPTH} levels deep")
        super().attach(payload)

    def get_content_type(self) -> str:
        """Return the type for the parser: reports, fragments, references and encoded mails are leaves."""
        declared_type = self.get_declared_type()
        if declared_type.startswith("message/"):
            is_plain_mail = self.is_declared_as_mail() and self.get_transfer_encoding() not in DECODABLE_ENCODINGS
            return "message/rfc822" if is_plain_mail else "text/plain"
        return declared_type

    def get_declared_type(self) -> str:
        """Return the stated media type in lower case, or the default (RFC 2045 §5.2, RFC 2046 §5.1.5)."""
        match = _MEDIA_TYPE_PATTERN.match(str(self.get("content-type", "")))
        return match[1].lower() if match else self.get_default_type()

    def is_declared_as_mail(self) -> bool:
        """Return whether the part states that it is a whole mail."""
        return self.get_declared_type() in _MAIL_TYPES

    def has_multipart_type(self) -> bool:
        """Return whether the part states that it is a multipart, with or without parts in it."""
        return self.get_content_maintype() == "multipart"

    def get_transfer_encoding(self) -> str:
        """Return the stated transfer encoding in lower case, without quotes, comments and parameters."""
        header_value = str(self.get("content-transfer-encoding", "")).strip(" \t\"'").lower()
        return re.split(r"[\s;(]", header_value, maxsplit=1)[0].strip("\"'")

    def get_boundary(self, failobj: str | None = None) -> str | None:  # type: ignore[override]  # one type of default
        """Return the boundary as it is in the condensed mail, ``failobj`` if there is no readable one."""
        try:
            boundary = super().get_boundary()
        except (TypeError, ValueError):  # contradictory numbers or a NUL in RFC 2231 parameters
            return failobj
        if not boundary or len(boundary) > _MAX_BOUNDARY_CHARS:
            return failobj
        return self.condensed_mail.boundary_aliases.get_alias(boundary)

    def list_children(self) -> list[MimeEntity]:
        """Return the parts of a multipart, the mail in a mail, or nothing."""
        payload = self.get_payload() if self.is_multipart() else []
        return [child for child in payload if isinstance(child, MimeEntity)]

    def get_encoded_payload(self) -> bytes:
        """Return the payload of a leaf as it is in the mail, still encoded."""
        encodings = self.get_all("content-transfer-encoding", [])
        del self["content-transfer-encoding"]
        payload = self.get_payload(decode=True)
        for value in encodings:
            super().set_raw("Content-Transfer-Encoding", str(value))
        return self.condensed_mail.restore_payload(payload) if isinstance(payload, bytes) else b""


@dataclass(frozen=True, slots=True)
class MimeLeaf:
    """One part that has no parts, decoded."""

    entity: MimeEntity
    section: str  # as IMAP counts, RFC 3501 §6.4.5
    content: bytes
    mail: MimeEntity  # the innermost mail around it

    @property
    def parent_type(self) -> str | None:
        """The declared type of the entity around the part."""
        return self.entity.parent.get_declared_type() if self.entity.parent else None


def parse_mail(content: bytes) -> MimeEntity:
    """Return a mail as the tree of its parts. Raises MailLimitError before anything recurses or grows."""
    return _parse_entity(content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"), MailPartBudget(), None, 0)


def walk_leaves(mail: MimeEntity, section: tuple[int, ...] = ()) -> Iterator[MimeLeaf]:
    """Yield the leaves of a mail and of the mails in it, in order. Raises MailLimitError.

    Encoded mails, and multiparts whose boundary is not the stated one, are parsed, too.
    """
    yield from _walk_entity_leaves(mail, section if mail.has_multipart_type() else (*section, 1), mail)


def _walk_entity_leaves(entity: MimeEntity, section: tuple[int, ...], mail: MimeEntity) -> Iterator[MimeLeaf]:
    children = entity.list_children()
    if entity.has_multipart_type() and children:
        for number, child in enumerate(children, 1):
            yield from _walk_entity_leaves(child, (*section, number), mail)
    elif children and children[0].keys():
        yield from walk_leaves(children[0], section)
    else:
        encoded_payload = (children[0] if children else entity).get_encoded_payload()
        yield from _walk_decoded_leaf(entity, encoded_payload, section, mail)


def _walk_decoded_leaf(
    entity: MimeEntity, encoded_payload: bytes, section: tuple[int, ...], mail: MimeEntity
) -> Iterator[MimeLeaf]:
    content = decode_transfer_encoding(encoded_payload, entity.get_transfer_encoding())
    if entity.is_declared_as_mail() and (
        inner_mail := _find_mail_content(content) or _find_mail_content(encoded_payload)
    ):
        yield from walk_leaves(_parse_entity(inner_mail, entity.part_budget, entity, entity.depth + 1), section)
    elif entity.has_multipart_type() and (reparsed_entity := _parse_with_detected_boundary(entity, encoded_payload)):
        yield from _walk_entity_leaves(reparsed_entity, section, mail)
    else:
        yield MimeLeaf(entity, ".".join(map(str, section)), content, mail)


def _find_mail_content(content: bytes) -> bytes | None:
    return content if detect_media_type(content) == "message/rfc822" else None


def _parse_with_detected_boundary(entity: MimeEntity, encoded_payload: bytes) -> MimeEntity | None:
    """Return a multipart parsed again by a boundary found in its text, as the stated one is missing or wrong."""
    match = _FIRST_BOUNDARY_PATTERN.search(encoded_payload, 0, _MAX_BOUNDARY_SEARCH_BYTES)
    if not match:
        return None
    boundary = re.sub(rb'(["\\])', rb"\\\1", match[1].rstrip())
    header = b'Content-Type: %s; boundary="%s"\r\n\r\n' % (
        entity.get_declared_type().encode("ascii", "replace"),
        boundary,
    )
    reparsed_entity = _parse_entity(header + encoded_payload, entity.part_budget, entity.parent, entity.depth)
    return reparsed_entity if reparsed_entity.is_multipart() else None


def _parse_entity(content: bytes, part_budget: MailPartBudget, parent: MimeEntity | None, depth: int) -> MimeEntity:
    if depth > MAX_MAIL_DEPTH:
        raise MailLimitError(f"the mail is nested more than {MAX_MAIL_DEPTH} levels deep")
    try:
        condensed_mail = CondensedMail(content)
    except TooManyLinesError:
        raise MailLimitError("the mail has more lines than can be parsed") from None
    parser: FeedParser[MimeEntity] = FeedParser(lambda: MimeEntity(condensed_mail, part_budget, depth))  # as compat32
    parser.feed(condensed_mail.text)
    root = parser.close()
    root.parent = parent
    return root


def decode_8bit_header_text(text: str) -> str:
    """Return a header's text with its raw 8-bit bytes decoded as UTF-8, or else as Western European."""
    if text.isascii():
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that are not escaped bytes
        raw = text.encode("utf-8", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(raw) - 3 and error.end == len(raw):  # the text was cut within a character
            return raw[: error.start].decode("utf-8")
        return raw.decode("cp1252", "replace")
