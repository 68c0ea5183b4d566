"""A source's rows in pages, with its own errors, and a second visit where the first one broke off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dlt.extract import DltSource
from dlt.extract.exceptions import ResourceExtractionError

from invoices.errors import InvoicesError, TransientError

PAGE_SIZE = 200  # arrivals in one transaction
DEFAULT_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 2.0, 30.0  # seconds between two visits

Row = dict[str, Any]
T = TypeVar("T")


def retry_scan_once(start_scan: Callable[[], Iterator[T]], sleep: Callable[[float], None] = time.sleep) -> Iterator[T]:
    """Yield what a visit yields; where it is to be made later, make another one, which goes on where it broke off.

    The pause is what the server wishes, 30 seconds at most. The second failure is raised, and so is every other one.
    """
    try:
        yield from start_scan()
    except TransientError as error:
        sleep(min(DEFAULT_PAUSE_SECONDS if error.retry_after is None else error.retry_after, MAX_PAUSE_SECONDS))
        yield from start_scan()


def iter_row_pages(source: DltSource) -> Iterator[list[Row]]:
    """Yield the rows of a source in pages; what came before a failure is yielded before the failure is raised.

    dlt gives rows one by one, and wraps what a resource raises.
    """
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
