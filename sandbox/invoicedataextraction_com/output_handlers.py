"""Handlers for the extracted rows: download URLs, files in three formats, and pages of rows (sheet 02 §2.7, §2.8)."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from decimal import Decimal
from typing import Any

import xlsxwriter
from starlette.requests import Request
from starlette.responses import Response

from sandbox.exact_json import render_json
from sandbox.invoicedataextraction_com.errors import ApiError, build_invalid_input_error, build_storage_error_response
from sandbox.invoicedataextraction_com.extraction_store import Row
from sandbox.invoicedataextraction_com.outcomes import ExtractionOutcome
from sandbox.invoicedataextraction_com.request_validation import parse_query_choice, parse_query_integer
from sandbox.invoicedataextraction_com.responses import (
    build_output_url,
    build_pages_body,
    build_review_body,
    format_output_expiry,
    is_output_retained,
)
from sandbox.invoicedataextraction_com.sample_answers import CellValue
from sandbox.invoicedataextraction_com.schemas import OUTPUT_FORMATS
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.request_context import ExactJsonResponse

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


async def get_output_url(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return a new download URL for one format; this body has no ``success``."""
    output_format = parse_query_choice(request.query_params, "format", OUTPUT_FORMATS)
    if output_format is None:
        raise build_invalid_input_error("is required", "format")
    row = _get_completed_extraction(vendor, request, api_key, output_format)
    url, lifetime = build_output_url(vendor, request, row, output_format)
    return ExactJsonResponse({"download_url": url, "format": output_format, "expires_in_seconds": int(lifetime)})


async def list_result_rows(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return a page of rows."""
    offset = parse_query_integer(request.query_params, "offset", 0, 10**9, 0)
    limit = parse_query_integer(request.query_params, "limit", 1, 1_000, 100)
    row = _get_completed_extraction(vendor, request, api_key, "results")
    outcome, use_typed_values = vendor.extraction_store.get_outcome(row), _has_typed_values(vendor, row)
    page_rows = outcome.rows[offset : offset + limit]
    has_more = offset + len(page_rows) < len(outcome.rows)
    body: dict[str, Any] = {
        "success": True,
        "extraction_id": row["id"],
        "status": "completed",
        "output_structure": outcome.output_structure,
        "output_expires_at": format_output_expiry(row),
        "json_typed_values": use_typed_values,
        "columns": list(outcome.columns),
        "rows": [_format_row(result_row, use_typed_values=use_typed_values) for result_row in page_rows],
        "offset": offset,
        "limit": limit,
        "row_count": len(page_rows),
        "total_rows": len(outcome.rows),
        "has_more": has_more,
        "next_offset": offset + len(page_rows) if has_more else None,
        "review_needed": build_review_body(outcome),
        "pages": build_pages_body(outcome.pages),
    }
    return ExactJsonResponse(body)


async def download_output(vendor: Vendor, request: Request) -> Response:
    """Return the file of a download URL; the signed URL is the only authorization."""
    extraction_id, output_format = request.path_params["extraction_id"], request.path_params["form"]
    api_key = vendor.extraction_store.find_owner_key(extraction_id)
    url_error = vendor.url_signer.check_presigned_url(request, vendor.get_current_time(api_key))
    if url_error is not None:
        return url_error
    row = vendor.extraction_store.find_extraction(api_key, extraction_id) if api_key else None
    if row is None or api_key is None:
        return build_storage_error_response(404, "NoSuchKey", "The specified key does not exist.")
    content = render_rows(
        vendor.extraction_store.get_outcome(row), output_format, use_typed_values=_has_typed_values(vendor, row)
    )
    headers = {
        "Content-Disposition": f'attachment; filename="extraction.{output_format}"',
        "X-Content-Type-Options": "nosniff",
    }
    return vendor.apply_response_faults(
        Response(content, media_type=MEDIA_TYPES[output_format], headers=headers), "download", api_key
    )


def render_rows(outcome: ExtractionOutcome, output_format: str, *, use_typed_values: bool) -> bytes:
    """Return the rows as the content of a file."""
    if output_format == "json":
        return render_json([_format_row(row, use_typed_values=use_typed_values) for row in outcome.rows]).encode()
    return _render_csv(outcome) if output_format == "csv" else _render_xlsx(outcome)


def _get_completed_extraction(vendor: Vendor, request: Request, api_key: str, output_name: str) -> Row:
    row = vendor.get_requested_extraction(request, api_key)
    if row["status"] != "completed" or {output_name, "all", "on"} & set(vendor.get_setting("missing_outputs", api_key)):
        raise ApiError("OUTPUT_NOT_AVAILABLE", "There is no such output.", {"status": row["status"]})
    if not is_output_retained(vendor, row):
        raise ApiError("OUTPUT_EXPIRED", "The outputs of this extraction were deleted after 90 days.")
    return row


def _has_typed_values(vendor: Vendor, row: Row) -> bool:
    typed_values_setting = vendor.get_setting("typed_values", row["api_key"])
    if typed_values_setting != "as_asked":
        return bool(typed_values_setting == "always")
    return bool(json.loads(row["request"]).get("options", {}).get("json_typed_values", False))


def _format_row(row: dict[str, CellValue], *, use_typed_values: bool) -> dict[str, CellValue]:
    if use_typed_values:
        return row
    return {name: format(value, ",f") if isinstance(value, Decimal) else value or "" for name, value in row.items()}


def _render_csv(outcome: ExtractionOutcome) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, outcome.columns)
    writer.writeheader()
    writer.writerows(_format_row(row, use_typed_values=False) for row in outcome.rows)
    return buffer.getvalue().encode()


def _render_xlsx(outcome: ExtractionOutcome) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False}) as workbook:
        sheet = workbook.add_worksheet("Extraction")
        date_format = workbook.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, outcome.columns)
        for row_number, row in enumerate(outcome.rows, start=1):
            for column_number, column in enumerate(outcome.columns):
                _write_cell(sheet, row_number, column_number, column, row[column], date_format)
    return buffer.getvalue()


def _write_cell(
    sheet: Any, row_number: int, column_number: int, column: str, value: CellValue, date_format: Any
) -> None:
    if isinstance(value, Decimal):
        sheet.write_number(row_number, column_number, value)
    elif value is not None and column.lower().endswith("date"):
        sheet.write_datetime(row_number, column_number, dt.datetime.fromisoformat(value), date_format)
    elif value is not None:
        sheet.write_string(row_number, column_number, value)
