"""Rows of an output: one page or a whole file read strictly, and pages put together only where none is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from invoices.clients.invoicedataextraction_com.asking import Fields, check_about
from invoices.clients.invoicedataextraction_com.reading import UnknownPage, pages_of, review_items_of
from invoices.clients.invoicedataextraction_com.values import Results, ResultsPage
from invoices.clients.json_text import NotStrictJson, parse
from invoices.clients.transport import Reply
from invoices.clients.wire_values import text, whole
from invoices.errors import ContractError, TransientError

MOST_ROWS = 500_000
MOST_PAGES = 1_000


def results_page_of(reply: Reply, fields: Fields, extraction_id: str, offset: int) -> ResultsPage:
    """Return one page of rows; raises ContractError where it is about another extraction, offset or shape."""
    check_about(reply, fields, "extraction_id", extraction_id)
    rows = _flat_rows(fields.get("rows"))
    if rows is None or fields.get("offset", offset) != offset or fields.get("row_count", len(rows)) != len(rows):
        raise reply.unreadable(f"its rows are not those from {offset} on, as flat objects, as many as it says")
    more, following = fields.get("has_more"), whole(fields, "next_offset")
    if not isinstance(more, bool) or (more and following != offset + len(rows)) or (more and not rows):
        raise reply.unreadable(f"it does not tell where the rows after {offset + len(rows)} are")
    try:
        pages = pages_of(fields.get("pages"))
    except UnknownPage as error:
        raise reply.unreadable(str(error)) from None
    return ResultsPage(
        extraction_id=extraction_id,
        offset=offset,
        columns=tuple(name for name in fields.get("columns") or () if isinstance(name, str)),
        rows=rows,
        total_rows=whole(fields, "total_rows"),
        next_offset=following if more else None,
        output_structure=text(fields, "output_structure", 100),
        json_typed_values=fields["json_typed_values"] if isinstance(fields.get("json_typed_values"), bool) else None,
        pages=pages,
        review_items=review_items_of(fields.get("review_needed")),
    )


def all_results(extraction_id: str, ask: Callable[[int], ResultsPage]) -> Results:
    """Return the rows of all pages; ``ask`` gives the page from an offset on.

    Raises TransientError where the number of rows is not the one that is told (the output changed meanwhile),
    ContractError where there is no end.
    """
    pages = [ask(0)]
    while (offset := pages[-1].next_offset) is not None:
        if len(pages) >= MOST_PAGES or offset > MOST_ROWS:
            raise ContractError(f"the results of {extraction_id!r} do not end after {offset:,} rows")
        pages.append(ask(offset))
    rows = tuple(row for page in pages for row in page.rows)
    if any(page.total_rows not in (None, len(rows)) for page in pages):
        told = pages[-1].total_rows
        raise TransientError(f"the results of {extraction_id!r} have {len(rows)} rows, but are said to have {told}")
    first = pages[0]
    return Results(
        extraction_id=extraction_id,
        columns=tuple(dict.fromkeys(name for page in pages for name in page.columns)),
        rows=rows,
        output_structure=first.output_structure,
        json_typed_values=first.json_typed_values,
        pages=first.pages,
        review_items=first.review_items,
    )


def rows_of_file(content: bytes, extraction_id: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON output; raises ContractError unless it is an array of flat objects."""
    try:
        rows = _flat_rows(parse(content))
    except NotStrictJson as error:
        raise ContractError(f"the output of {extraction_id!r} is {error}") from None
    if rows is None:
        raise ContractError(f"the output of {extraction_id!r} is not an array of flat objects")
    return [dict(row) for row in rows]


def _flat_rows(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        return None
    is_nested = any(isinstance(cell, (dict, list)) for row in value for cell in row.values())
    return None if is_nested else tuple(value)
