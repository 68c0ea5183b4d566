"""The routes that watch, stop, answer and delete extractions, and the balance (sheet 02 §2.6, §2.9)."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import itertools
import time

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.checking import body_of, whole_number, word
from sandbox.invoicedataextraction_com.extractions import Row
from sandbox.invoicedataextraction_com.refusals import Refused, invalid
from sandbox.invoicedataextraction_com.schemas import STATUSES
from sandbox.invoicedataextraction_com.submitting import due_at
from sandbox.invoicedataextraction_com.telling import QUESTION, details, instant, list_item, status_body
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.visits import Json

RUNNING = ("processing", "input_required")


async def balance(vendor: Vendor, _request: Request, api_key: str) -> Response:
    """Return the key's credits."""
    credits, reserved = vendor.credits(api_key)
    return Json({"success": True, "credits_balance": credits, "credits_reserved": reserved})


async def status(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return how an extraction stands; with ``wait`` as soon as it stops processing."""
    wait = whole_number(request.query_params, "wait", 1, 45, 0)
    row = vendor.found(request, api_key)
    if vendor.knob("wait_supported", api_key):
        row = await _held(vendor, request, api_key, row, wait)
    if row["status"] == "processing":
        vendor.extractions.poll(row)
    return Json(status_body(vendor, request, row))


async def details_of(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return everything kept of an extraction."""
    return Json({"success": True, "extraction": details(vendor, vendor.found(request, api_key))})


async def newest(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return a page of the key's extractions, newest first."""
    query = request.query_params
    limit = whole_number(query, "limit", 1, 100, 25)
    status = word(query, "status", STATUSES)
    method = word(query, "submission_method", ("api", "web_app"))
    after = _instant(query.get("created_after"), "created_after")
    before = _instant(query.get("created_before"), "created_before")
    matching = (
        row
        for row in vendor.extractions.newest(api_key, _position(query.get("cursor")))
        if status in (None, row["status"])
        and method != "web_app"
        and (after is None or row["created"] > after)
        and (before is None or row["created"] < before)
    )
    rows = list(itertools.islice(matching, limit + 1))
    page = rows[:limit]
    more = len(rows) > limit
    cursor = base64.urlsafe_b64encode(f"before:{page[-1]['seq']}".encode()).decode() if more else None
    told = [list_item(vendor, row) for row in page]
    return Json({"success": True, "extractions": told, "has_more": more, "next_cursor": cursor})


async def cancel(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Stop a running extraction; once more is no harm."""
    row = vendor.found(request, api_key)
    if row["status"] == "cancelled":
        return Json(status_body(vendor, request, row))
    if row["status"] not in RUNNING:
        raise Refused("EXTRACTION_NOT_CANCELLABLE", "This extraction has ended.", {"status": row["status"]})
    vendor.extractions.cancel(row, "user", vendor.now(api_key))
    vendor.changed(row["id"])
    return Json(
        {
            "success": True,
            "extraction_id": row["id"],
            "status": "processing",
            "cancellation_requested": True,
            "cancel_requested_at": instant(vendor.now(api_key)),
        }
    )


async def answer_questions(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Take the answers to open questions and go on."""
    body = body_of(await request.body(), "AnswersRequest", strict=vendor.knob("strict_properties", api_key))
    row = vendor.found(request, api_key)
    choices = {choice["choice_id"] for choice in QUESTION["choices"]}
    for position, answer in enumerate(body["answers"]):
        if row["status"] != "input_required" or answer["question_id"] != QUESTION["question_id"]:
            raise invalid("no such open question", "answers", position, "question_id")
        if not {"choice_id", "text", "accept_recommended"} & set(answer):
            raise invalid("needs choice_id, text or accept_recommended", "answers", position)
        if answer.get("choice_id", "issued") not in choices:
            raise invalid("no such choice", "answers", position, "choice_id")
    vendor.extractions.resume(row, due_at(vendor, api_key, vendor.now(api_key)))
    vendor.changed(row["id"])
    vendor.extractions.settle(api_key, vendor.now(api_key))
    return Json(status_body(vendor, request, vendor.found(request, api_key)))


async def delete(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Delete an extraction that has ended."""
    row = vendor.found(request, api_key)
    if row["status"] in RUNNING:
        raise Refused("EXTRACTION_IN_PROGRESS", "This extraction still runs.", {"status": row["status"]})
    vendor.extractions.delete(row)
    return Json({"success": True})


async def _held(vendor: Vendor, request: Request, api_key: str, row: Row, wait: int) -> Row:
    until = time.monotonic() + wait
    while row["status"] == "processing" and (left := until - time.monotonic()) > 0:
        now = vendor.now(api_key)
        if row["due"] is not None and row["due"] <= now:
            break  # only polls are lacking
        try:
            await vendor.change(row["id"], left if row["due"] is None else min(left, row["due"] - now))
        except asyncio.CancelledError:
            break  # the server stops; whoever waits is told how things stand
        vendor.extractions.settle(api_key, vendor.now(api_key))
        row = vendor.found(request, api_key)
    return row


def _instant(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        read = dt.datetime.fromisoformat(text.strip().replace(" ", "+"))
        if read.tzinfo is not None:
            return read.timestamp()
    except (ValueError, OverflowError):
        pass
    raise invalid(f"{name} is an ISO 8601 instant with its zone", name)


def _position(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        kind, _, seq = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        if kind == "before" and seq.isdecimal() and len(seq) < 19:
            return int(seq)
    except ValueError:
        pass
    raise invalid("no cursor of ours", "cursor")
