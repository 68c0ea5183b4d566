"""The dlt source over one mailbox: each mail's documents are in the store before the mail is told of."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import dlt
from dlt.extract import DltResource, DltSource
from dlt.extract.exceptions import ResourceExtractionError

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import InvoicesError, TransientError
from invoices.settings.intake import Mailbox
from sources.arriving import as_row
from sources.mailbox.connection import Session
from sources.mailbox.looking import PAGE_SIZE, Look
from sources.mailbox.memory import Memory, Seen

LONGEST_PAUSE = 30.0  # seconds
USUAL_PAUSE = 2.0

Row = dict[str, Any]
T = TypeVar("T")


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
    before the page is yielded. Nothing on the server is changed. Iterate over it with ``pages``.

    Raises:
        TransientError: the line broke, or the server is busy; what was yielded stays good (see ``with_patience``).
        ConfigurationError, ContractError: as ``connection.Session``. A folder that is missing is a problem in ``seen``.
        OSError: the store cannot be written.
    """
    look = Look(source_name, mailbox_settings, session, unwrappers, store, memory, seen, now)

    @dlt.resource(name="arrivals", primary_key="message_key", write_disposition="merge")
    def arrivals() -> Iterator[list[Row]]:
        for page in look.pages():
            yield [{"message_key": one.message.message_key if one.message else None, **as_row(one)} for one in page]

    return arrivals


def pages(source: DltSource) -> Iterator[list[Row]]:
    """Yield the rows of the source in pages; what came before a failure is yielded before the failure is raised."""
    page: list[Row] = []
    try:
        for row in source:
            page.append(row)
            if len(page) == PAGE_SIZE:
                yield page
                page = []
    except ResourceExtractionError as error:
        if not isinstance(error.__cause__, InvoicesError | OSError):
            raise
        if page:
            yield page
        raise error.__cause__ from None
    if page:
        yield page


def with_patience(attempt: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Return what an attempt gives; where it is to be made later, make it once more after a pause.

    The pause is what the server wishes, 30 seconds at most. The second failure is raised, and so is every other one.
    """
    try:
        return attempt()
    except TransientError as error:
        wished = USUAL_PAUSE if error.retry_after is None else error.retry_after
    sleep(min(wished, LONGEST_PAUSE))
    return attempt()
