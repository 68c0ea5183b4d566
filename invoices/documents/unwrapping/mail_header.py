"""What a mail says of itself, and what about that is odd: bounded before it is parsed, decoded, never believed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses, parsedate_to_datetime
from itertools import islice

from invoices.documents.unwrapping.mail_structure import Entity, readable
from invoices.documents.unwrapping.mail_words import MAX_FIELD, decoded_words, one_line, whole_characters
from invoices.documents.unwrapping.parts import Flag, Header

_FEW = 8  # headers of one name that are looked at
_MAX_RECIPIENTS = 50
_MAX_ADDRESS = 320  # RFC 3696: 64 + 1 + 255
_FIRST_YEAR = 1990
_ADDRESS = re.compile(r"[^\s@<>\"]{1,64}@([^\s@<>\"]{1,255})")


def read_header(mail: Entity, now: datetime | None = None) -> tuple[Header, list[Flag]]:
    """Return what the header says, and flags for what is odd in it; ``now`` decides what is in the future."""
    sender, from_flags = _sender(mail)
    reply_to = next(iter(_addresses(mail, "reply-to", 1)), None)
    sent_at, date_flags = _sent_at(mail, now or datetime.now(UTC))
    header = Header(
        message_id=_first(mail, "message-id"),
        sender=sender,
        reply_to=reply_to,
        recipients=(*_addresses(mail, "to"), *_addresses(mail, "cc"))[:_MAX_RECIPIENTS],
        subject=_first(mail, "subject"),
        sent_at=sent_at,
        authentication_results=[one_line(value) for value in _values(mail, "authentication-results")],
    )
    return header, [*from_flags, *_reply_flags(sender, reply_to), *date_flags]


def sender_of(mail: Entity) -> str | None:
    """Return the address in the first From header, lower case; None where there is none that can be read."""
    return next(iter(_addresses(mail, "from", 1)), None)


def _values(mail: Entity, name: str) -> list[str]:
    """Return the first headers of a name as they stand, topmost first, each bounded, 8-bit text decoded."""
    values = (str(value) for key, value in mail.raw_items() if key.lower() == name)
    return [readable(value[:MAX_FIELD]) for value in islice(values, _FEW)]


def _first(mail: Entity, name: str) -> str | None:
    return next((one_line(_unfolded(value)) or None for value in _values(mail, name)), None)


def _unfolded(value: str) -> str:
    return value.replace("\r", "").replace("\n", "")


def _pairs(value: str) -> list[tuple[str, str]]:
    """Return display names, decoded, and addresses; nothing for what the standard parser cannot take."""
    try:
        pairs = getaddresses([_unfolded(value)])
    except (RecursionError, ValueError, IndexError):  # nested comments recurse, B-12
        return []
    return [(one_line(name), whole_characters(address.strip().lower())) for name, address in pairs]


def _addresses(mail: Entity, name: str, limit: int = _MAX_RECIPIENTS) -> list[str]:
    pairs = (pair for value in _values(mail, name) for pair in _pairs(value))
    return list(islice((address for _, address in pairs if _is_address(address)), limit))


def _is_address(address: str) -> bool:
    return 0 < len(address) <= _MAX_ADDRESS and address.isprintable() and " " not in address


def _sender(mail: Entity) -> tuple[str | None, list[Flag]]:
    values = _values(mail, "from")
    sender = sender_of(mail)
    flags = [Flag("MAIL-FROM", f"the mail has {len(values)} From headers")] if len(values) > 1 else []
    if sender is None or "@" not in sender:
        return sender, [*flags, Flag("MAIL-FROM", "no address can be read in the From header")]
    for name, address in (pair for value in values for pair in _pairs(value)):
        shown = _ADDRESS.search(name)
        if shown and shown[1].lower() != _domain(address):
            flags.append(Flag("MAIL-FROM", f"the sender is {address!r} and shown as {name[:100]!r}"))
            break
    return sender, flags


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _reply_flags(sender: str | None, reply_to: str | None) -> list[Flag]:
    if sender is None or reply_to is None or _domain(sender) == _domain(reply_to):
        return []
    return [Flag("MAIL-REPLY-TO", f"answers go to {reply_to!r}, not to the domain of the sender {sender!r}")]


def _sent_at(mail: Entity, now: datetime) -> tuple[str | None, list[Flag]]:
    """Return the instant of the Date header, None and a flag where it is missing or cannot be."""
    stated = _first(mail, "date")
    if stated is None:
        return None, [Flag("MAIL-DATE", "the mail has no date")]
    try:
        sent_at = parsedate_to_datetime(decoded_words(stated)[:200])
        sent_at = sent_at.replace(tzinfo=UTC) if sent_at.tzinfo is None else sent_at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None, [Flag("MAIL-DATE", f"the date {stated[:100]!r} cannot be read")]
    if sent_at.year < _FIRST_YEAR or sent_at > now + timedelta(days=1):
        return None, [Flag("MAIL-DATE", f"the date {stated[:100]!r} cannot be")]
    return sent_at.isoformat(), []
