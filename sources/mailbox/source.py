"""The dlt source of one mailbox: stores the documents of each mail first, then yields its arrival."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import dlt
from dlt.extract import DltResource

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.settings.sources import MailboxSettings
from sources.arrivals import to_row
from sources.mailbox.mailbox_session import MailboxSession
from sources.mailbox.scan import MailboxScan
from sources.mailbox.scan_state import MailboxHistory, ScanState
from sources.paging import Row


@dlt.source(name="mailbox", max_table_nesting=0)
def build_mailbox_source(
    source_name: str,
    mailbox_settings: MailboxSettings,
    session: MailboxSession,
    opener_pool: ContainerOpenerPool,
    store: DocumentStore,
    history: MailboxHistory,
    scan_state: ScanState,
    clock: Callable[[], dt.datetime],
) -> DltResource:
    """Load the mails of all configured folders that ``history`` does not contain, in pages of at most 200.

    A row is an arrival from ``sources.arrivals.to_row``. The documents of a page are in ``store``, flushed to disk,
    before the page is yielded. Nothing on the server is changed. Iterate with ``sources.paging.iter_row_pages``.

    Raises:
        TransientError: the connection broke, or the server is busy. What was yielded is valid; another scan continues.
        ConfigurationError, ContractError: as ``MailboxSession``. A missing folder is a problem in ``scan_state``.
        OSError: the store cannot be written.
    """
    scan = MailboxScan(source_name, mailbox_settings, session, opener_pool, store, history, scan_state, clock)

    @dlt.resource(name="arrivals", primary_key="message_key", write_disposition="merge")
    def load_arrival_pages() -> Iterator[list[Row]]:
        for page in scan.fetch_pages():
            yield [
                {"message_key": arrival.mail.message_key if arrival.mail else None, **to_row(arrival)}
                for arrival in page
            ]

    return load_arrival_pages
