"""The dlt source over one mailbox: each mail's documents are in the store before the mail is told of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import dlt
from dlt.extract import DltResource

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.settings.intake import Mailbox
from sources.arriving import as_row
from sources.mailbox.connection import Session
from sources.mailbox.looking import Look
from sources.mailbox.memory import Memory, Seen
from sources.paging import Row


@dlt.source(name="mailbox", max_table_nesting=0)
def mailbox(
    source_name: str,
    mailbox_settings: Mailbox,
    session: Session,
    unwrappers: Unwrappers,
    store: DocumentStore,
    memory: Memory,
    seen: Seen,
    now: Callable[[], dt.datetime],
) -> DltResource:
    """Load the mails of all configured folders that are not known to ``memory``, in pages of at most 200.

    A row is an arrival as ``sources.arriving.as_row`` gives it. All that is in a page is in ``store``, flushed to disk,
    before the page is yielded. Nothing on the server is changed. Iterate over it with ``sources.paging.pages``.

    Raises:
        TransientError: the line broke, or the server is busy; what was yielded stays good, and another visit goes on.
        ConfigurationError, ContractError: as ``connection.Session``. A folder that is missing is a problem in ``seen``.
        OSError: the store cannot be written.
    """
    look = Look(source_name, mailbox_settings, session, unwrappers, store, memory, seen, now)

    @dlt.resource(name="arrivals", primary_key="message_key", write_disposition="merge")
    def arrivals() -> Iterator[list[Row]]:
        for page in look.pages():
            yield [{"message_key": one.message.message_key if one.message else None, **as_row(one)} for one in page]

    return arrivals
