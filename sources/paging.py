"""Reads the rows of a source in pages, raises its own errors, and repeats a scan that broke off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dlt.extract import DltSource
from dlt.extract.exceptions import ResourceExtractionError

from invoices.errors import TransientError

PAGE_SIZE = 200  # arrivals per page; a page is recorded in one transaction
DEFAULT_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 2.0, 30.0  # between two scans

Row = dict[str, Any]
T = TypeVar("T")


def retry_scan_once(start_scan: Callable[[], Iterator[T]], sleep: Callable[[float], None] = time.sleep) -> Iterator[T]:
    """Yield what a scan yields; after a TransientError, start one more scan, which continues where the first broke off.

    The pause between them is what the server requests, at most 30 seconds. A second TransientError and every other
    error are raised.
    """
    try:
        yield from start_scan()
    except TransientError as error:
        sleep(min(DEFAULT_PAUSE_SECONDS if error.retry_after is None else error.retry_after, MAX_PAUSE_SECONDS))
        yield from start_scan()


def iter_row_pages(source: DltSource) -> Iterator[list[Row]]:
    """Yield the rows of a source in pages; the rows before a failure are yielded before the failure is raised.

    dlt yields rows one by one and wraps the errors of a resource; they are raised unwrapped.
    """
    page: list[Row] = []
    try:
        for row in source:
            page.append(row)
            if len(page) == PAGE_SIZE:
                yield page
                page = []
    except ResourceExtractionError as error:
        if page:
            yield page
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None
    if page:
        yield page
