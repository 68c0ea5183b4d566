"""Handlers for status, details, list, cancel, answers, delete and the credit balance (sheet 02 §2.6, §2.9)."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import itertools
import time

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.errors import ApiError, build_invalid_input_error
from sandbox.invoicedataextraction_com.extraction_store import Row
from sandbox.invoicedataextraction_com.request_validation import (
    parse_query_choice,
    parse_query_integer,
    parse_valid_body,
)
from sandbox.invoicedataextraction_com.responses import (
    SAMPLE_QUESTION,
    build_details,
    build_list_item,
    build_status_body,
    format_timestamp,
)
from sandbox.invoicedataextraction_com.schemas import EXTRACTION_STATUSES
from sandbox.invoicedataextraction_com.submission_handlers import compute_completion_time
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.request_context import ExactJsonResponse

RUNNING_STATUSES = ("processing", "input_required")


async def get_credit_balance(vendor: Vendor, _request: Request, api_key: str) -> Response:
    """Return the key's credits."""
    credits, reserved = vendor.get_balance_and_reserved_credits(api_key)
    return ExactJsonResponse({"success": True, "credits_balance": credits, "credits_reserved": reserved})


async def get_extraction_status(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return the status of an extraction; with ``?wait=`` as soon as it stops processing."""
    wait_seconds = parse_query_integer(request.query_params, "wait", 1, 45, 0)
    row = vendor.get_requested_extraction(request, api_key)
    if vendor.get_setting("wait_supported", api_key):
        row = await _wait_while_processing(vendor, request, api_key, row, wait_seconds)
    if row["status"] == "processing":
        vendor.extraction_store.record_poll(row)
    return ExactJsonResponse(build_status_body(vendor, request, row))


async def get_extraction_details(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return everything that is stored about an extraction."""
    return ExactJsonResponse(
        {"success": True, "extraction": build_details(vendor, vendor.get_requested_extraction(request, api_key))}
    )


async def list_extractions(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return a page of the key's extractions, newest first."""
    query = request.query_params
    limit = parse_query_integer(query, "limit", 1, 100, 25)
    status = parse_query_choice(query, "status", EXTRACTION_STATUSES)
    method = parse_query_choice(query, "submission_method", ("api", "web_app"))
    created_after = _parse_instant(query.get("created_after"), "created_after")
    created_before = _parse_instant(query.get("created_before"), "created_before")
    matching_rows = (
        row
        for row in vendor.extraction_store.iter_newest_extractions(api_key, _parse_cursor(query.get("cursor")))
        if status in (None, row["status"])
        and method != "web_app"
        and (created_after is None or row["created"] > created_after)
        and (created_before is None or row["created"] < created_before)
    )
    rows = list(itertools.islice(matching_rows, limit + 1))
    page_rows = rows[:limit]
    has_more = len(rows) > limit
    cursor = base64.urlsafe_b64encode(f"before:{page_rows[-1]['seq']}".encode()).decode() if has_more else None
    items = [build_list_item(vendor, row) for row in page_rows]
    return ExactJsonResponse({"success": True, "extractions": items, "has_more": has_more, "next_cursor": cursor})


async def cancel_extraction(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Cancel a running extraction; a repeat changes nothing."""
    row = vendor.get_requested_extraction(request, api_key)
    if row["status"] == "cancelled":
        return ExactJsonResponse(build_status_body(vendor, request, row))
    if row["status"] not in RUNNING_STATUSES:
        raise ApiError("EXTRACTION_NOT_CANCELLABLE", "This extraction has ended.", {"status": row["status"]})
    vendor.extraction_store.cancel_extraction(row, "user", vendor.get_current_time(api_key))
    vendor.notify_extraction_changed(row["id"])
    return ExactJsonResponse(
        {
            "success": True,
            "extraction_id": row["id"],
            "status": "processing",
            "cancellation_requested": True,
            "cancel_requested_at": format_timestamp(vendor.get_current_time(api_key)),
        }
    )


async def answer_questions(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Accept the answers to open questions and resume the extraction."""
    body = parse_valid_body(
        await request.body(), "AnswersRequest", strict=vendor.get_setting("strict_properties", api_key)
    )
    row = vendor.get_requested_extraction(request, api_key)
    choices = {choice["choice_id"] for choice in SAMPLE_QUESTION["choices"]}
    for index, answer in enumerate(body["answers"]):
        if row["status"] != "input_required" or answer["question_id"] != SAMPLE_QUESTION["question_id"]:
            raise build_invalid_input_error("no such open question", "answers", index, "question_id")
        if not {"choice_id", "text", "accept_recommended"} & set(answer):
            raise build_invalid_input_error("needs choice_id, text or accept_recommended", "answers", index)
        if answer.get("choice_id", "issued") not in choices:
            raise build_invalid_input_error("no such choice", "answers", index, "choice_id")
    vendor.extraction_store.resume_extraction(
        row, compute_completion_time(vendor, api_key, vendor.get_current_time(api_key))
    )
    vendor.notify_extraction_changed(row["id"])
    vendor.extraction_store.finish_due_extractions(api_key, vendor.get_current_time(api_key))
    return ExactJsonResponse(build_status_body(vendor, request, vendor.get_requested_extraction(request, api_key)))


async def delete_extraction(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Delete an extraction that has ended."""
    row = vendor.get_requested_extraction(request, api_key)
    if row["status"] in RUNNING_STATUSES:
        raise ApiError("EXTRACTION_IN_PROGRESS", "This extraction still runs.", {"status": row["status"]})
    vendor.extraction_store.delete_extraction(row)
    return ExactJsonResponse({"success": True})


async def _wait_while_processing(vendor: Vendor, request: Request, api_key: str, row: Row, wait_seconds: int) -> Row:
    deadline = time.monotonic() + wait_seconds
    while row["status"] == "processing" and (remaining_seconds := deadline - time.monotonic()) > 0:
        now = vendor.get_current_time(api_key)
        if row["due"] is not None and row["due"] <= now:
            break  # only the polls of processing_polls are missing
        try:
            await vendor.wait_for_extraction_change(
                row["id"], remaining_seconds if row["due"] is None else min(remaining_seconds, row["due"] - now)
            )
        except asyncio.CancelledError:
            break  # the server stops; answer with the current status
        vendor.extraction_store.finish_due_extractions(api_key, vendor.get_current_time(api_key))
        row = vendor.get_requested_extraction(request, api_key)
    return row


def _parse_instant(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        instant = dt.datetime.fromisoformat(text.strip().replace(" ", "+"))
        if instant.tzinfo is not None:
            return instant.timestamp()
    except (ValueError, OverflowError):
        pass
    raise build_invalid_input_error(f"{name} is an ISO 8601 instant with its zone", name)


def _parse_cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        prefix, _, seq = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        if prefix == "before" and seq.isdecimal() and len(seq) < 19:
            return int(seq)
    except ValueError:
        pass
    raise build_invalid_input_error("is not a cursor of this list", "cursor")
