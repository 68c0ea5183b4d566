"""The route that starts an extraction: once per submission id, however often it is called (sheet 02 §2.5, §5)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.checking import body_of
from sandbox.invoicedataextraction_com.extractions import Row, Submission
from sandbox.invoicedataextraction_com.outcomes import MANNER, File, is_named, pages_of
from sandbox.invoicedataextraction_com.readings import plain
from sandbox.invoicedataextraction_com.refusals import TASK_STATUS, Refused, error_body, invalid
from sandbox.invoicedataextraction_com.uploads import SESSION_LIVES
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.visits import Json

MAX_PAGES = 5_000
QUESTION_LIVES = 40 * 3600.0
AT_ONCE = ("CONCURRENT_TASK_LIMIT", "INSUFFICIENT_CREDITS")


async def submit(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Start an extraction, or return the one that has this submission id."""
    body = body_of(await request.body(), "SubmitRequest", strict=vendor.knob("strict_properties", api_key))
    _check(vendor, body, api_key)
    row = vendor.extractions.of_submission(api_key, body["submission_id"])
    if row is None:
        _check_pause(vendor, api_key)
        row = vendor.extractions.accept(api_key, _submission(vendor, body, api_key))
    elif not vendor.knob("lenient_ids", api_key):
        _check_same(row, body)
    return Json({"success": True, "extraction_id": row["id"], "submission_state": "received"}, 202)


def due_at(vendor: Vendor, api_key: str, now: float) -> float | None:
    """Return when an extraction that starts now will end; None is never."""
    return None if vendor.take("stall", api_key) else now + float(vendor.knob("processing_seconds", api_key))


def _check(vendor: Vendor, body: dict[str, Any], api_key: str) -> None:
    prompt, most = body["prompt"], vendor.knob("prompt_limit", api_key)
    if isinstance(prompt, str) and len(prompt) > most:
        raise invalid(f"must have 1 to {most} characters", "prompt")
    if not isinstance(prompt, str):
        _check_fields(prompt["fields"])
    if "task_name" not in body and vendor.knob("task_name_required", api_key):
        raise invalid("is required", "task_name")
    if len(set(body["file_ids"])) < len(body["file_ids"]):
        raise invalid("each file may occur once", "file_ids")


def _check_fields(fields: list[dict[str, Any]]) -> None:
    seen = set()
    for position, field in enumerate(fields):
        name = plain(field["name"])
        if name in seen or name in ("sourcefile", "reviewneeded", ""):
            raise invalid("must be unique, and not a column of ours", "prompt", "fields", position, "name")
        if 0 < len(field.get("prompt", "")) < 3:
            raise invalid("must be empty or have 3 to 600 characters", "prompt", "fields", position, "prompt")
        seen.add(name)


def _check_pause(vendor: Vendor, api_key: str) -> None:
    until = vendor.knob("paused_until", api_key)
    if not until:
        return
    if until == "further notice":
        raise Refused("SUBMISSIONS_PAUSED", "Submissions are paused.")
    try:
        instant = dt.datetime.fromisoformat(until)
    except ValueError:
        raise Refused("INTERNAL_ERROR", f"knob paused_until cannot be {until!r}: it is an ISO 8601 instant") from None
    if vendor.now(api_key) < instant.astimezone(dt.UTC).timestamp():
        raise Refused("SUBMISSIONS_PAUSED", "Submissions are paused.", {"resumes_at": until})


def _check_same(row: Row, body: dict[str, Any]) -> None:
    kept = json.loads(row["request"])
    differing = sorted(name for name in {*kept, *body} if kept.get(name) != body.get(name))
    if differing:
        details = {"extraction_id": row["id"], "differing_fields": differing}
        raise Refused("SUBMISSION_ID_ALREADY_USED", "This submission_id was used for another request.", details)


def _submission(vendor: Vendor, body: dict[str, Any], api_key: str) -> Submission:
    seqs, files = _files(vendor, body, api_key)
    manner = {name: vendor.knob(name, api_key) for name in MANNER}
    manner["polls"] = vendor.knob("processing_polls", api_key)
    needed = sum(pages_of(file, manner) for file in files)
    now = vendor.now(api_key)
    error = _failure(vendor, api_key, files, manner, needed)
    if error is not None and vendor.knob("task_errors", api_key) == "as_http":
        raise Refused(error["code"], error["message"], error["details"])
    asks = error is None and body.get("options", {}).get("ask_questions", False)
    is_at_once = error is not None and error["code"] in AT_ONCE
    return Submission(
        request=body,
        manner={**manner, "polls": 0} if is_at_once else manner,
        files=seqs,
        status="input_required" if asks else "processing",
        error=error,
        created=now,
        due=now if is_at_once else due_at(vendor, api_key, now),
        reserved=0 if error else needed,
        answer_by=now + QUESTION_LIVES if asks else None,
    )


def _files(vendor: Vendor, body: dict[str, Any], api_key: str) -> tuple[list[int], list[File]]:
    session = vendor.uploads.session(api_key, body["upload_session_id"])
    if session is None or vendor.now(api_key) >= session["created"] + SESSION_LIVES:
        raise invalid("no such upload session", "upload_session_id")
    rows = {row["file_id"]: row for row in vendor.uploads.files(session)}
    for position, file_id in enumerate(body["file_ids"]):
        if file_id not in rows or rows[file_id]["state"] != "completed":
            raise invalid("no completed file of this session", "file_ids", position)
    chosen = [rows[file_id] for file_id in body["file_ids"]]
    return [row["seq"] for row in chosen], [File(row["file_id"], row["name"], row["sha256"]) for row in chosen]


def _failure(
    vendor: Vendor, api_key: str, files: list[File], manner: dict[str, Any], needed: int
) -> dict[str, Any] | None:
    """Return the error that this task ends with, or None."""
    for code in TASK_STATUS:
        if vendor.strikes("task_fail_code", code, api_key):
            named = {"file_names": [file.name for file in files]} if code.endswith(("_FILE", "_EXCEEDED")) else None
            return error_body(code, "The task failed, as its rehearsal wants.", named)
    if vendor.extractions.running(api_key)[0] >= vendor.knob("concurrency_limit", api_key):
        return error_body("CONCURRENT_TASK_LIMIT", "Too many extractions are running.", None)
    balance, reserved = vendor.credits(api_key)
    if needed > balance - reserved:
        details = {"credits_required": needed, "credits_balance": balance, "credits_reserved": reserved}
        return error_body("INSUFFICIENT_CREDITS", "There are fewer free credits than pages.", details)
    locked = [file.name for file in files if is_named(file, vendor.knob("encrypted_files", api_key))]
    if locked:
        return error_body("ENCRYPTED_FILE", "Some files are protected by a password.", {"file_names": locked})
    long = [file.name for file in files if pages_of(file, manner) > MAX_PAGES]
    if long:
        return error_body("FILE_PAGE_LIMIT_EXCEEDED", "Some files have too many pages.", {"file_names": long})
    return None
