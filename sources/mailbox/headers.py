"""Headers of mails, read where whole mails are read: in processes that are limited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.containers.opened_container import MailHeader
from invoices.documents.media_types import detect_media_type
from invoices.documents.store_batch import StoreBatch
from sources.arrivals import MAIL_MEDIA_TYPE
from sources.mailbox.imap_responses import MessageSummary

_MAIL_PREFIX = b"X-Mailbox:\r\nDelivered-To:\r\n"  # before one that would not be taken for a mail by its content
_SNIFFED_BYTES = 4096  # bytes, which tell a mail as well as more do


def parse_mail_headers(
    opener_pool: ContainerOpenerPool,
    store_batch: StoreBatch,
    summaries: Sequence[MessageSummary],
    fields: Sequence[str],
) -> Iterator[tuple[MessageSummary, MailHeader | None]]:
    """Give each mail with its header, None where that cannot be read; an empty header where no fields were fetched.

    Headers are as hostile as bodies: a long one holds the standard parser for minutes (reliability B-12). So a limited
    process reads them, as it reads mails, and both times the rules see the same. Nothing comes into the landing.
    """
    if not fields:
        yield from ((summary, MailHeader()) for summary in summaries)
        return
    header_blocks = (ensure_detected_as_mail(summary.header_bytes) for summary in summaries)
    for summary, container in zip(
        summaries, opener_pool.open_containers_in_order(header_blocks, store_batch), strict=True
    ):
        yield summary, container.header


def ensure_detected_as_mail(content: bytes) -> bytes:
    """Return a mail so that it is taken for one: what lies in a mailbox is a mail, whatever its bytes look like."""
    return content if detect_media_type(content[:_SNIFFED_BYTES]) == MAIL_MEDIA_TYPE else _MAIL_PREFIX + content
