"""Rows of an output: parsing one page or a whole file strictly, and joining pages only if none is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from invoices.clients.http_client import ApiResponse
from invoices.clients.invoicedataextraction_com.api_models import ExtractionResults, ResultsPage
from invoices.clients.invoicedataextraction_com.api_transport import JsonObject, check_echoed_id
from invoices.clients.invoicedataextraction_com.response_parsers import (
    InvalidPageError,
    parse_page_outcomes,
    parse_review_items,
)
from invoices.clients.json_fields import find_text, find_whole_number
from invoices.clients.strict_json import InvalidJsonError, parse_json_keeping_odd_values
from invoices.errors import ContractError, TransientError, UnreadableResponse

MAX_ROWS = 500_000
MAX_PAGES = 1_000


def parse_results_page(response: ApiResponse, fields: JsonObject, extraction_id: str, offset: int) -> ResultsPage:
    """Return one page of rows; raises ContractError if the extraction, the offset or the shape is not the right one."""
    check_echoed_id(response, fields, "extraction_id", extraction_id)
    rows = _find_rows(fields.get("rows"))
    if rows is None or fields.get("offset", offset) != offset or fields.get("row_count", len(rows)) != len(rows):
        raise response.build_unreadable_error(f"its rows are not objects from offset {offset} on, in the stated number")
    has_more, next_offset = fields.get("has_more"), find_whole_number(fields, "next_offset")
    if not isinstance(has_more, bool) or (has_more and next_offset != offset + len(rows)) or (has_more and not rows):
        raise response.build_unreadable_error(f"it does not say how to get the rows from {offset + len(rows)} on")
    try:
        pages = parse_page_outcomes(fields.get("pages"))
    except InvalidPageError as error:
        raise response.build_unreadable_error(str(error)) from None
    columns = fields.get("columns")
    return ResultsPage(
        extraction_id=extraction_id,
        offset=offset,
        columns=tuple(name for name in columns if isinstance(name, str)) if isinstance(columns, list) else (),
        rows=rows,
        total_rows=find_whole_number(fields, "total_rows"),
        next_offset=next_offset if has_more else None,
        output_structure=find_text(fields, "output_structure", 100),
        json_typed_values=fields["json_typed_values"] if isinstance(fields.get("json_typed_values"), bool) else None,
        pages=pages,
        review_items=parse_review_items(fields.get("review_needed")),
    )


def collect_all_results(extraction_id: str, fetch_page: Callable[[int], ResultsPage]) -> ExtractionResults:
    """Return the rows of all pages; ``fetch_page`` returns the page from an offset on.

    Raises TransientError if the number of rows is not the stated one (the output has changed meanwhile), ContractError
    if the pages do not end.
    """
    pages = [fetch_page(0)]
    while (offset := pages[-1].next_offset) is not None:
        if len(pages) >= MAX_PAGES or offset > MAX_ROWS:
            raise ContractError(f"the results of {extraction_id!r} do not end after {offset:,} rows")
        pages.append(fetch_page(offset))
    rows = tuple(row for page in pages for row in page.rows)
    if any(page.total_rows not in (None, len(rows)) for page in pages):
        stated_row_count = pages[-1].total_rows
        raise TransientError(
            f"the results of {extraction_id!r} have {len(rows)} rows, but the vendor states {stated_row_count}"
        )
    first_page = pages[0]
    return ExtractionResults(
        extraction_id=extraction_id,
        columns=tuple(dict.fromkeys(name for page in pages for name in page.columns)),
        rows=rows,
        output_structure=first_page.output_structure,
        json_typed_values=first_page.json_typed_values,
        pages=first_page.pages,
        review_items=first_page.review_items,
    )


def parse_output_rows(content: bytes, extraction_id: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON output; raises UnreadableResponse unless it is an array of objects."""
    try:
        rows = _find_rows(parse_json_keeping_odd_values(content))
    except InvalidJsonError as error:
        raise UnreadableResponse(f"the output of {extraction_id!r} is not valid JSON: {error}") from None
    if rows is None:
        raise UnreadableResponse(f"the output of {extraction_id!r} is not an array of objects")
    return [dict(row) for row in rows]


def _find_rows(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    """Return a list of objects; a cell may have any value, because what it means is decided by staging."""
    is_list_of_objects = isinstance(value, list) and all(isinstance(row, dict) for row in value)
    return tuple(value) if is_list_of_objects else None
