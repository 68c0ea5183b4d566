"""The attachments in a winmail.dat (TNEF, MS-OXTNEF) of Outlook; a mail attached there is a winmail.dat again."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from invoices.documents.containers import mapi_properties
from invoices.documents.containers.mapi_properties import LittleEndianReader, MapiProperty, TnefDecodeError
from invoices.documents.containers.opened_container import ContainerContents, ContainerPart, OpenedContainer
from invoices.documents.containers.unpack_budget import ElementCounter, UnpackBudget
from invoices.documents.content_sniffing import detect_media_type
from invoices.errors import DocumentError

_TNEF_SIGNATURE = 0x223E9F78
_MESSAGE_LEVEL, _ATTACHMENT_LEVEL = 1, 2  # MS-OXTNEF 2.1.3.1
_CODE_PAGE_ATTRIBUTE, _BODY_ATTRIBUTE, _MESSAGE_PROPERTIES_ATTRIBUTE = 0x9007, 0x800C, 0x9003
_ATTACHMENT_START_ATTRIBUTE, _ATTACHMENT_TITLE_ATTRIBUTE = 0x9002, 0x8010
_ATTACHMENT_DATA_ATTRIBUTE, _ATTACHMENT_PROPERTIES_ATTRIBUTE = 0x800F, 0x9005
_DATA_PROPERTY, _LONG_NAME_PROPERTY, _SHORT_NAME_PROPERTY, _DISPLAY_NAME_PROPERTY = 0x3701, 0x3707, 0x3704, 0x3001
_BODY_PROPERTIES = {0x1000, 0x1009, 0x1013}  # as text, as RTF, as HTML
_OBJECT_PREFIX_BYTES = 16  # the interface id before an object
_MAX_FILE_NAME_CHARS = 255
_MAX_VALUES = 100_000


@dataclass(slots=True)
class _Attachment:
    content: bytes | None = None
    names: dict[int, str] = field(default_factory=dict)

    def find_file_name(self) -> str | None:
        """Return the first of: long name, short name, attachment title, display name; None without one."""
        candidate_names = (
            self.names.get(key)
            for key in (_LONG_NAME_PROPERTY, _SHORT_NAME_PROPERTY, _ATTACHMENT_TITLE_ATTRIBUTE, _DISPLAY_NAME_PROPERTY)
        )
        return next((name[:_MAX_FILE_NAME_CHARS] for name in candidate_names if name), None)


@dataclass(slots=True)
class _Message:
    element_counter: ElementCounter
    encoding: str = "cp1252"
    has_body: bool = False
    first_error: str | None = None
    attachments: list[_Attachment] = field(default_factory=list)


def open_tnef_file(content: bytes, section: str = "", budget: UnpackBudget | None = None) -> ContainerContents:
    """Return the attachments of a winmail.dat; its own text is no part and counts as ``skipped_body_count``.

    If it is truncated or damaged, the reason code is ``damaged_tnef``, and the attachments that were complete before
    the error are returned with it. Checksums are not compared, because programs write wrong ones. Raises
    ``DocumentError`` (``archive_limits``) if the budget is used up.
    """
    budget = budget or UnpackBudget()
    message = _Message(ElementCounter(budget, _MAX_VALUES))
    try:
        for level, number, value in _parse_attributes(content):
            message.element_counter.count_element()
            _apply_attribute(message, level, number, value)
    except (TnefDecodeError, DocumentError) as error:
        message.first_error = message.first_error or str(error)
    complete_attachments = [
        (attachment.find_file_name(), attachment.content)
        for attachment in message.attachments
        if attachment.content is not None
    ]
    budget.consume_bytes(sum(len(attachment_content) for _, attachment_content in complete_attachments))
    budget.consume_parts(len(complete_attachments))
    prefix = f"{section}/" if section else ""
    parts = [
        ContainerPart(f"{prefix}{part_number}", detect_media_type(attachment_content), name)
        for part_number, (name, attachment_content) in enumerate(complete_attachments, 1)
    ]
    opened_container = OpenedContainer(parts, skipped_body_count=int(message.has_body))
    if message.first_error:
        opened_container = replace(
            opened_container, reason_code="damaged_tnef", reason=f"the winmail.dat is damaged: {message.first_error}"
        )
    return opened_container, [attachment_content for _, attachment_content in complete_attachments]


def _parse_attributes(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield level, number and value of each attribute; zeros and white space may follow the last one."""
    reader = LittleEndianReader(content)
    if reader.read_integer(4) != _TNEF_SIGNATURE:
        raise TnefDecodeError("it does not begin with the TNEF signature")
    reader.read_bytes(2)  # a key that only the mail program needs
    while reader.peek_bytes(64).strip(b"\0 \r\n\t"):
        level, number = reader.read_integer(1), reader.read_integer(2)
        if level not in (_MESSAGE_LEVEL, _ATTACHMENT_LEVEL):
            raise TnefDecodeError(f"an attribute of the unknown level {level}")
        reader.read_bytes(2)  # the type
        value = reader.read_bytes(reader.read_integer(4))
        yield level, number, value
        reader.read_bytes(2)  # the checksum


def _apply_attribute(message: _Message, level: int, number: int, value: bytes) -> None:
    if level == _MESSAGE_LEVEL:
        _apply_message_attribute(message, number, value)
        return
    if number == _ATTACHMENT_START_ATTRIBUTE or not message.attachments:
        message.attachments.append(_Attachment())
    attachment = message.attachments[-1]
    if number == _ATTACHMENT_TITLE_ATTRIBUTE:
        attachment.names[_ATTACHMENT_TITLE_ATTRIBUTE] = value.decode(message.encoding, "replace").split("\0")[0]
    elif number == _ATTACHMENT_DATA_ATTRIBUTE:
        attachment.content = attachment.content or value
    elif number == _ATTACHMENT_PROPERTIES_ATTRIBUTE:
        for mapi_property in _parse_properties_until_error(message, value):
            _apply_attachment_property(attachment, mapi_property, message.encoding)


def _apply_message_attribute(message: _Message, number: int, value: bytes) -> None:
    if number == _CODE_PAGE_ATTRIBUTE:
        message.encoding = _get_encoding_name(int.from_bytes(value[:4], "little"))
    elif number == _BODY_ATTRIBUTE:
        message.has_body = True
    elif number == _MESSAGE_PROPERTIES_ATTRIBUTE:
        message.has_body |= any(
            mapi_property.number in _BODY_PROPERTIES and mapi_property.value != b""
            for mapi_property in _parse_properties_until_error(message, value)
        )


def _apply_attachment_property(attachment: _Attachment, mapi_property: MapiProperty, encoding: str) -> None:
    if mapi_property.number == _DATA_PROPERTY and mapi_property.property_type == mapi_properties.BINARY:
        attachment.content = attachment.content or mapi_property.value
    elif mapi_property.number == _DATA_PROPERTY and mapi_property.property_type == mapi_properties.OBJECT:
        attachment.content = mapi_property.value[_OBJECT_PREFIX_BYTES:]
    elif mapi_property.number in (_LONG_NAME_PROPERTY, _SHORT_NAME_PROPERTY, _DISPLAY_NAME_PROPERTY) and (
        name := mapi_properties.decode_text_property(mapi_property, encoding)
    ):
        attachment.names[mapi_property.number] = name


def _parse_properties_until_error(message: _Message, value: bytes) -> Iterator[MapiProperty]:
    """Yield the properties up to the first error, which is recorded; the attributes after it do not depend on it."""
    try:
        yield from mapi_properties.parse_mapi_properties(value, message.element_counter)
    except (TnefDecodeError, DocumentError) as error:
        message.first_error = message.first_error or str(error)


def _get_encoding_name(code_page: int) -> str:
    try:
        return codecs.lookup(f"cp{code_page}").name
    except LookupError:
        return "cp1252"
