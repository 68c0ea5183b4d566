"""Headers of mails, read where whole mails are read: in processes that are limited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from invoices.documents.landing import Landing
from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping.parts import Header
from invoices.documents.unwrapping.unwrapping import Unwrappers
from sources.arriving import MAIL
from sources.mailbox.answers import HeaderOf

_MAIL_FOR_SURE = b"X-Mailbox:\r\nDelivered-To:\r\n"  # before one that would not be taken for a mail by its content
_BEGINNING = 4096  # bytes, which tell a mail as well as more do


def with_headers(
    unwrappers: Unwrappers, landing: Landing, told: Sequence[HeaderOf], fields: Sequence[str]
) -> Iterator[tuple[HeaderOf, Header | None]]:
    """Give each mail with its header, None where that cannot be read; an empty header where no fields were fetched.

    Headers are as hostile as bodies: a long one holds the standard parser for minutes (reliability B-12). So a limited
    process reads them, as it reads mails, and both times the rules see the same. Nothing comes into the landing.
    """
    if not fields:
        yield from ((one, Header()) for one in told)
        return
    blocks = (as_mail(one.header) for one in told)
    for one, unwrapped in zip(told, unwrappers.unwrap_ordered(blocks, landing), strict=True):
        yield one, unwrapped.header


def as_mail(content: bytes) -> bytes:
    """Return a mail so that it is taken for one: what lies in a mailbox is a mail, whatever its bytes look like."""
    return content if media_type(content[:_BEGINNING]) == MAIL else _MAIL_FOR_SURE + content
