"""The header of a mail, bounded before it is parsed and decoded, with flags for what is suspicious in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses, parsedate_to_datetime
from itertools import islice

from invoices.documents.containers.mail_encoded_words import (
    MAX_FIELD_CHARS,
    decode_encoded_words,
    decode_to_one_line,
    replace_lone_surrogates,
)
from invoices.documents.containers.mime_tree import MimeEntity, decode_8bit_header_text
from invoices.documents.containers.opened_container import Flag, MailHeader

_MAX_FIELDS_PER_NAME = 8
_MAX_RECIPIENTS = 50
_MAX_ADDRESS_CHARS = 320  # RFC 3696: 64 + 1 + 255
_MIN_SENT_YEAR = 1990
_ADDRESS_PATTERN = re.compile(r"[^\s@<>\"]{1,64}@([^\s@<>\"]{1,255})")


def parse_mail_header(mail: MimeEntity, now: datetime | None = None) -> tuple[MailHeader, list[Flag]]:
    """Return the header, and flags for what is suspicious in it; ``now`` decides what is in the future."""
    sender, from_flags = _parse_sender(mail)
    reply_to = next(iter(_list_addresses(mail, "reply-to", 1)), None)
    sent_at, date_flags = _parse_sent_at(mail, now or datetime.now(UTC))
    header = MailHeader(
        message_id=_find_first_header_value(mail, "message-id"),
        sender=sender,
        reply_to=reply_to,
        recipients=(*_list_addresses(mail, "to"), *_list_addresses(mail, "cc"))[:_MAX_RECIPIENTS],
        subject=_find_first_header_value(mail, "subject"),
        sent_at=sent_at,
        authentication_results=[
            decode_to_one_line(value) for value in _list_header_values(mail, "authentication-results")
        ],
    )
    reply_flags = []
    if sender and reply_to and _get_domain(sender) != _get_domain(reply_to):
        message = f"replies go to {reply_to!r}, not to the domain of the sender {sender!r}"
        reply_flags.append(Flag("MAIL-REPLY-TO", message))
    return header, [*from_flags, *reply_flags, *date_flags]


def find_sender_address(mail: MimeEntity) -> str | None:
    """Return the first readable address of the From headers, lower case; None if there is none."""
    return next(iter(_list_addresses(mail, "from", 1)), None)


def _list_header_values(mail: MimeEntity, name: str) -> list[str]:
    """Return the first headers of a name, topmost first, each bounded, with 8-bit text decoded."""
    values = (str(value) for key, value in mail.raw_items() if key.lower() == name)
    return [decode_8bit_header_text(value[:MAX_FIELD_CHARS]) for value in islice(values, _MAX_FIELDS_PER_NAME)]


def _find_first_header_value(mail: MimeEntity, name: str) -> str | None:
    return next(
        (decode_to_one_line(_unfold_header_value(value)) or None for value in _list_header_values(mail, name)), None
    )


def _unfold_header_value(value: str) -> str:
    return value.replace("\r", "").replace("\n", "")


def _parse_address_list(value: str) -> list[tuple[str, str]]:
    """Return decoded display names and addresses; nothing if the standard parser fails."""
    try:
        pairs = getaddresses([_unfold_header_value(value)])
    except (RecursionError, ValueError, IndexError):  # nested comments recurse, B-12
        return []
    return [(decode_to_one_line(name), replace_lone_surrogates(address.strip().lower())) for name, address in pairs]


def _list_addresses(mail: MimeEntity, name: str, limit: int = _MAX_RECIPIENTS) -> list[str]:
    pairs = (pair for value in _list_header_values(mail, name) for pair in _parse_address_list(value))
    usable_addresses = (
        address
        for _, address in pairs
        if 0 < len(address) <= _MAX_ADDRESS_CHARS and address.isprintable() and " " not in address
    )
    return list(islice(usable_addresses, limit))


def _parse_sender(mail: MimeEntity) -> tuple[str | None, list[Flag]]:
    values = _list_header_values(mail, "from")
    sender = find_sender_address(mail)
    flags = [Flag("MAIL-FROM", f"the mail has {len(values)} From headers")] if len(values) > 1 else []
    if sender is None or "@" not in sender:
        return sender, [*flags, Flag("MAIL-FROM", "the From header contains no readable address")]
    for name, address in (pair for value in values for pair in _parse_address_list(value)):
        displayed_address = _ADDRESS_PATTERN.search(name)
        if displayed_address and displayed_address[1].lower() != _get_domain(address):
            flags.append(Flag("MAIL-FROM", f"the sender is {address!r} but is shown as {name[:100]!r}"))
            break
    return sender, flags


def _get_domain(address: str) -> str:
    return address.rpartition("@")[2]


def _parse_sent_at(mail: MimeEntity, now: datetime) -> tuple[str | None, list[Flag]]:
    """Return the time of the Date header as ISO 8601; None and a flag if it is missing or impossible."""
    date_text = _find_first_header_value(mail, "date")
    if date_text is None:
        return None, [Flag("MAIL-DATE", "the mail has no date")]
    try:
        sent_at = parsedate_to_datetime(decode_encoded_words(date_text)[:200])
        sent_at = sent_at.replace(tzinfo=UTC) if sent_at.tzinfo is None else sent_at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None, [Flag("MAIL-DATE", f"the date {date_text[:100]!r} cannot be read")]
    if sent_at.year < _MIN_SENT_YEAR or sent_at > now + timedelta(days=1):
        return None, [Flag("MAIL-DATE", f"the date {date_text[:100]!r} is impossible")]
    return sent_at.isoformat(), []
