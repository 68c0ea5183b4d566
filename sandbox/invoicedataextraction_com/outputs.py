"""The routes that hand out rows: addresses, files in three formats, and pages of rows (sheet 02 §2.7, §2.8)."""

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

from sandbox.exact_json import dumps
from sandbox.invoicedataextraction_com.checking import whole_number, word
from sandbox.invoicedataextraction_com.extractions import Row
from sandbox.invoicedataextraction_com.outcomes import Outcome
from sandbox.invoicedataextraction_com.readings import Value
from sandbox.invoicedataextraction_com.refusals import Refused, invalid, storage_refusal
from sandbox.invoicedataextraction_com.schemas import FORMATS
from sandbox.invoicedataextraction_com.telling import expires_at, is_kept, output_address, pages_body, review_body
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.visits import Json

MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


async def output(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return a fresh download address for one format; this body has no ``success``."""
    form = word(request.query_params, "format", FORMATS)
    if form is None:
        raise invalid("is required", "format")
    row = _completed(vendor, request, api_key, form)
    address, lives = output_address(vendor, request, row, form)
    return Json({"download_url": address, "format": form, "expires_in_seconds": int(lives)})


async def results(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return a page of rows."""
    offset = whole_number(request.query_params, "offset", 0, 10**9, 0)
    limit = whole_number(request.query_params, "limit", 1, 1_000, 100)
    row = _completed(vendor, request, api_key, "results")
    outcome, typed = vendor.extractions.outcome(row), _is_typed(vendor, row)
    page = outcome.rows[offset : offset + limit]
    more = offset + len(page) < len(outcome.rows)
    body: dict[str, Any] = {
        "success": True,
        "extraction_id": row["id"],
        "status": "completed",
        "output_structure": outcome.structure,
        "output_expires_at": expires_at(row),
        "json_typed_values": typed,
        "columns": list(outcome.columns),
        "rows": [_told(one, typed=typed) for one in page],
        "offset": offset,
        "limit": limit,
        "row_count": len(page),
        "total_rows": len(outcome.rows),
        "has_more": more,
        "next_offset": offset + len(page) if more else None,
        "review_needed": review_body(outcome),
        "pages": pages_body(outcome.pages),
    }
    return Json(body)


async def download(vendor: Vendor, request: Request) -> Response:
    """Return the file behind a download address; the address is all the permission there is."""
    extraction_id, form = request.path_params["extraction_id"], request.path_params["form"]
    api_key = vendor.extractions.exists(extraction_id)
    refused = vendor.addresses.refusal(request, vendor.now(api_key))
    if refused is not None:
        return refused
    row = vendor.extractions.find(api_key, extraction_id) if api_key else None
    if row is None or api_key is None:
        return storage_refusal(404, "NoSuchKey", "The specified key does not exist.")
    content = rendered(vendor.extractions.outcome(row), form, typed=_is_typed(vendor, row))
    kind = {"Content-Disposition": f'attachment; filename="extraction.{form}"', "X-Content-Type-Options": "nosniff"}
    return vendor.spoilt(Response(content, media_type=MEDIA[form], headers=kind), "download", api_key)


def rendered(outcome: Outcome, form: str, *, typed: bool) -> bytes:
    """Return the rows as a file."""
    if form == "json":
        return dumps([_told(row, typed=typed) for row in outcome.rows]).encode()
    return _csv(outcome) if form == "csv" else _xlsx(outcome)


def _completed(vendor: Vendor, request: Request, api_key: str, form: str) -> Row:
    row = vendor.found(request, api_key)
    if row["status"] != "completed" or {form, "all", "on"} & set(vendor.knob("missing_outputs", api_key)):
        raise Refused("OUTPUT_NOT_AVAILABLE", "There is no such output.", {"status": row["status"]})
    if not is_kept(vendor, row):
        raise Refused("OUTPUT_EXPIRED", "The outputs of this extraction were deleted after 90 days.")
    return row


def _is_typed(vendor: Vendor, row: Row) -> bool:
    told = vendor.knob("typed_values", row["api_key"])
    if told != "as_asked":
        return bool(told == "always")
    return bool(json.loads(row["request"]).get("options", {}).get("json_typed_values", False))


def _told(row: dict[str, Value], *, typed: bool) -> dict[str, Value]:
    return row if typed else {name: _text(value) for name, value in row.items()}


def _text(value: Value) -> str:
    if value is None:
        return ""
    return format(value, ",f") if isinstance(value, Decimal) else value


def _csv(outcome: Outcome) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, outcome.columns)
    writer.writeheader()
    writer.writerows(_told(row, typed=False) for row in outcome.rows)
    return text.getvalue().encode()


def _xlsx(outcome: Outcome) -> bytes:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True, "strings_to_formulas": False}) as book:
        sheet = book.add_worksheet("Extraction")
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, outcome.columns)
        for number, row in enumerate(outcome.rows, start=1):
            for position, name in enumerate(outcome.columns):
                _write(sheet, number, position, name, row[name], day)
    return content.getvalue()


def _write(sheet: Any, number: int, position: int, name: str, value: Value, day: Any) -> None:
    if isinstance(value, Decimal):
        sheet.write_number(number, position, value)
    elif value is not None and name.lower().endswith("date"):
        sheet.write_datetime(number, position, dt.datetime.fromisoformat(value), day)
    elif value is not None:
        sheet.write_string(number, position, value)
