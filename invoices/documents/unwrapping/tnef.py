"""What is in a winmail.dat (TNEF, MS-OXTNEF): the attachments that Outlook packed; a mail among them is one again."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping import mapi
from invoices.documents.unwrapping.budget import Budget, Count
from invoices.documents.unwrapping.mapi import Bytes, Damaged, Property
from invoices.documents.unwrapping.parts import Found, Part, Unwrapped
from invoices.errors import DocumentError

_SIGNATURE = 0x223E9F78
_MESSAGE, _ATTACHMENT = 1, 2  # levels, MS-OXTNEF 2.1.3.1
_CODE_PAGE, _BODY, _MESSAGE_PROPERTIES = 0x9007, 0x800C, 0x9003
_NEXT_ATTACHMENT, _TITLE, _DATA, _PROPERTIES = 0x9002, 0x8010, 0x800F, 0x9005
_ATTACHED_DATA, _LONG_NAME, _SHORT_NAME, _DISPLAY_NAME = 0x3701, 0x3707, 0x3704, 0x3001
_BODIES = {0x1000, 0x1009, 0x1013}  # as text, as RTF, as HTML
_INTERFACE = 16  # bytes before an object that say what it is
_LONGEST_NAME = 255
_MAX_VALUES = 100_000


@dataclass(slots=True)
class _Attachment:
    content: bytes | None = None
    names: dict[int, str] = field(default_factory=dict)

    def name(self) -> str | None:
        """Return the name to show: the long one, then the short one, what the mail calls it, the old title."""
        found = (self.names.get(key) for key in (_LONG_NAME, _SHORT_NAME, _TITLE, _DISPLAY_NAME))
        return next((name[:_LONGEST_NAME] for name in found if name), None)


@dataclass(slots=True)
class _Message:
    counted: Count
    encoding: str = "cp1252"
    has_body: bool = False
    fault: str | None = None  # the first one
    attachments: list[_Attachment] = field(default_factory=list)


def open_tnef(content: bytes, section: str = "", budget: Budget | None = None) -> Found:
    """Return the attachments of a winmail.dat; its own text is counted (``bodies``) and is no part.

    Where it is cut off or broken the reason code is ``damaged_tnef``, and what was whole before the fault is returned
    with it. Check sums are not compared: programs write wrong ones. Raises ``DocumentError`` (``archive_limits``) where
    the budget is used up.
    """
    budget = budget or Budget()
    message = _Message(Count(budget, _MAX_VALUES))
    try:
        for level, number, value in _attributes(content):
            message.counted.one()
            _take_in(message, level, number, value)
    except (Damaged, DocumentError) as error:
        message.fault = message.fault or str(error)
    whole = [(a.name(), a.content) for a in message.attachments if a.content is not None]
    budget.take_bytes(sum(len(data) for _, data in whole))
    budget.take_parts(len(whole))
    prefix = f"{section}/" if section else ""
    parts = [Part(f"{prefix}{n}", media_type(data), name) for n, (name, data) in enumerate(whole, 1)]
    found = Unwrapped(parts, bodies=int(message.has_body))
    if message.fault:
        found = replace(found, reason_code="damaged_tnef", reason=f"the winmail.dat is broken: {message.fault}")
    return found, [data for _, data in whole]


def _attributes(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield level, number and value of each attribute; zeros and white space may follow the last."""
    source = Bytes(content)
    if source.number(4) != _SIGNATURE:
        raise Damaged("it does not begin as one")
    source.take(2)  # a key, for the mail program alone
    while source.ahead(64).strip(b"\0 \r\n\t"):
        level, number = source.number(1), source.number(2)
        if level not in (_MESSAGE, _ATTACHMENT):
            raise Damaged(f"an attribute of the unknown level {level}")
        source.take(2)  # the type
        value = source.take(source.number(4))
        yield level, number, value
        source.take(2)  # the check sum


def _take_in(message: _Message, level: int, number: int, value: bytes) -> None:
    if level == _MESSAGE:
        _take_in_message(message, number, value)
        return
    if number == _NEXT_ATTACHMENT or not message.attachments:
        message.attachments.append(_Attachment())
    attachment = message.attachments[-1]
    if number == _TITLE:
        attachment.names[_TITLE] = value.decode(message.encoding, "replace").split("\0")[0]
    elif number == _DATA:
        attachment.content = attachment.content or value
    elif number == _PROPERTIES:
        for one in _properties(message, value):
            _take_in_property(attachment, one, message.encoding)


def _take_in_message(message: _Message, number: int, value: bytes) -> None:
    if number == _CODE_PAGE:
        message.encoding = _encoding(int.from_bytes(value[:4], "little"))
    elif number == _BODY:
        message.has_body = True
    elif number == _MESSAGE_PROPERTIES:
        message.has_body |= any(one.number in _BODIES and one.value != b"" for one in _properties(message, value))


def _take_in_property(attachment: _Attachment, one: Property, encoding: str) -> None:
    if one.number == _ATTACHED_DATA and one.kind == mapi.BINARY:
        attachment.content = attachment.content or one.value
    elif one.number == _ATTACHED_DATA and one.kind == mapi.OBJECT:
        attachment.content = one.value[_INTERFACE:]
    elif one.number in (_LONG_NAME, _SHORT_NAME, _DISPLAY_NAME) and (name := mapi.text(one, encoding)):
        attachment.names[one.number] = name


def _properties(message: _Message, value: bytes) -> Iterator[Property]:
    """Yield the properties up to the first fault, which is noted: the attributes that follow do not depend on it."""
    try:
        yield from mapi.properties(value, message.counted)
    except (Damaged, DocumentError) as error:
        message.fault = message.fault or str(error)


def _encoding(code_page: int) -> str:
    try:
        return codecs.lookup(f"cp{code_page}").name
    except LookupError:
        return "cp1252"
