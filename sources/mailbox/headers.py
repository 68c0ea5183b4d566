"""Parses mail headers in the same restricted processes that open whole mails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.containers.opened_container import MailHeader
from invoices.documents.store_batch import StoreBatch
from sources.mailbox.imap_responses import MessageSummary


def parse_mail_headers(
    opener_pool: ContainerOpenerPool,
    store_batch: StoreBatch,
    summaries: Sequence[MessageSummary],
    fields: Sequence[str],
) -> Iterator[tuple[MessageSummary, MailHeader | None]]:
    """Yield each mail with its header: None if it cannot be parsed, an empty header if no fields were fetched.

    Headers can be as hostile as bodies: a long one keeps the standard parser busy for minutes (reliability B-12). So a
    restricted process parses them with the same code as whole mails, and the rules see the same values both times.
    Nothing is put into ``store_batch``.
    """
    if not fields:
        yield from ((summary, MailHeader()) for summary in summaries)
        return
    header_blocks = (summary.header_bytes for summary in summaries)
    for summary, container in zip(
        summaries, opener_pool.open_containers_in_order(header_blocks, store_batch, are_mails=True), strict=True
    ):
        yield summary, container.header
