"""The handler that starts an extraction, only once per submission id (sheet 02 §2.5, §5)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.errors import TASK_ERRORS, ApiError, build_error_body, build_invalid_input_error
from sandbox.invoicedataextraction_com.extraction_store import Row, Submission
from sandbox.invoicedataextraction_com.outcomes import (
    FIXED_SETTING_NAMES,
    SubmittedFile,
    count_file_pages,
    is_file_selected,
)
from sandbox.invoicedataextraction_com.request_validation import parse_valid_body
from sandbox.invoicedataextraction_com.sample_answers import normalise_column_name
from sandbox.invoicedataextraction_com.upload_store import SESSION_LIFETIME_SECONDS
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.request_context import ExactJsonResponse

MAX_FILE_PAGES = 5_000
QUESTION_LIFETIME_SECONDS = 40 * 3600.0
IMMEDIATE_FAILURE_CODES = ("CONCURRENT_TASK_LIMIT", "INSUFFICIENT_CREDITS")


async def submit_extraction(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Start an extraction, or return the one with the same submission id."""
    body = parse_valid_body(
        await request.body(), "SubmitRequest", strict=vendor.get_setting("strict_properties", api_key)
    )
    _validate_submission(vendor, body, api_key)
    row = vendor.extraction_store.find_by_submission_id(api_key, body["submission_id"])
    if row is None:
        _check_not_paused(vendor, api_key)
        row = vendor.extraction_store.create_extraction(api_key, _build_submission(vendor, body, api_key))
    elif not vendor.get_setting("lenient_ids", api_key):
        _check_same_submission(row, body)
    return ExactJsonResponse({"success": True, "extraction_id": row["id"], "submission_state": "received"}, 202)


def compute_completion_time(vendor: Vendor, api_key: str, now: float) -> float | None:
    """Return when an extraction that starts at ``now`` will end; None means never."""
    if vendor.consume_fault("stall", api_key):
        return None
    return now + float(vendor.get_setting("processing_seconds", api_key))


def _validate_submission(vendor: Vendor, body: dict[str, Any], api_key: str) -> None:
    prompt, max_characters = body["prompt"], vendor.get_setting("prompt_limit", api_key)
    if isinstance(prompt, str) and len(prompt) > max_characters:
        raise build_invalid_input_error(f"must have 1 to {max_characters} characters", "prompt")
    if not isinstance(prompt, str):
        _validate_prompt_fields(prompt["fields"])
    if "task_name" not in body and vendor.get_setting("task_name_required", api_key):
        raise build_invalid_input_error("is required", "task_name")
    if len(set(body["file_ids"])) < len(body["file_ids"]):
        raise build_invalid_input_error("each file may occur once", "file_ids")


def _validate_prompt_fields(fields: list[dict[str, Any]]) -> None:
    seen_names = set()
    for index, field in enumerate(fields):
        name = normalise_column_name(field["name"])
        if name in seen_names or name in ("sourcefile", "reviewneeded", ""):
            raise build_invalid_input_error(
                "must be unique, and not a column that is added to every output", "prompt", "fields", index, "name"
            )
        if 0 < len(field.get("prompt", "")) < 3:
            raise build_invalid_input_error(
                "must be empty or have 3 to 600 characters", "prompt", "fields", index, "prompt"
            )
        seen_names.add(name)


def _check_not_paused(vendor: Vendor, api_key: str) -> None:
    paused_until = vendor.get_setting("paused_until", api_key)
    if not paused_until:
        return
    if paused_until == "further notice":
        raise ApiError("SUBMISSIONS_PAUSED", "Submissions are paused.")
    try:
        pause_end = dt.datetime.fromisoformat(paused_until)
    except ValueError:
        raise ApiError(
            "INTERNAL_ERROR", f"setting paused_until cannot be {paused_until!r}; it must be an ISO 8601 instant"
        ) from None
    if vendor.get_current_time(api_key) < pause_end.astimezone(dt.UTC).timestamp():
        raise ApiError("SUBMISSIONS_PAUSED", "Submissions are paused.", {"resumes_at": paused_until})


def _check_same_submission(row: Row, body: dict[str, Any]) -> None:
    original_request = json.loads(row["request"])
    differing_fields = sorted(
        name for name in {*original_request, *body} if original_request.get(name) != body.get(name)
    )
    if differing_fields:
        details = {"extraction_id": row["id"], "differing_fields": differing_fields}
        raise ApiError("SUBMISSION_ID_ALREADY_USED", "This submission_id was used for another request.", details)


def _build_submission(vendor: Vendor, body: dict[str, Any], api_key: str) -> Submission:
    file_seqs, files = _get_submitted_files(vendor, body, api_key)
    fixed_settings = {name: vendor.get_setting(name, api_key) for name in FIXED_SETTING_NAMES}
    fixed_settings["polls"] = vendor.get_setting("processing_polls", api_key)
    page_count = sum(count_file_pages(file, fixed_settings) for file in files)
    now = vendor.get_current_time(api_key)
    error = _find_task_error(vendor, api_key, files, fixed_settings, page_count)
    if error is not None and vendor.get_setting("task_errors", api_key) == "as_http":
        raise ApiError(error["code"], error["message"], error["details"])
    asks_questions = error is None and body.get("options", {}).get("ask_questions", False)
    fails_immediately = error is not None and error["code"] in IMMEDIATE_FAILURE_CODES
    return Submission(
        request=body,
        fixed_settings={**fixed_settings, "polls": 0} if fails_immediately else fixed_settings,
        file_seqs=file_seqs,
        status="input_required" if asks_questions else "processing",
        error=error,
        created_at=now,
        completes_at=now if fails_immediately else compute_completion_time(vendor, api_key, now),
        reserved_credits=0 if error else page_count,
        answer_deadline=now + QUESTION_LIFETIME_SECONDS if asks_questions else None,
    )


def _get_submitted_files(vendor: Vendor, body: dict[str, Any], api_key: str) -> tuple[list[int], list[SubmittedFile]]:
    session = vendor.upload_store.find_session(api_key, body["upload_session_id"])
    if session is None or vendor.get_current_time(api_key) >= session["created"] + SESSION_LIFETIME_SECONDS:
        raise build_invalid_input_error("no such upload session", "upload_session_id")
    rows_by_id = {row["file_id"]: row for row in vendor.upload_store.list_files(session)}
    for index, file_id in enumerate(body["file_ids"]):
        if file_id not in rows_by_id or rows_by_id[file_id]["state"] != "completed":
            raise build_invalid_input_error("no completed file of this session", "file_ids", index)
    file_rows = [rows_by_id[file_id] for file_id in body["file_ids"]]
    return [row["seq"] for row in file_rows], [
        SubmittedFile(row["file_id"], row["name"], row["sha256"]) for row in file_rows
    ]


def _find_task_error(
    vendor: Vendor, api_key: str, files: list[SubmittedFile], fixed_settings: dict[str, Any], page_count: int
) -> dict[str, Any] | None:
    """Return the error that this task ends with, or None."""
    for code in TASK_ERRORS:
        if vendor.consume_counted_fault("task_fail_code", code, api_key):
            file_details = (
                {"file_names": [file.name for file in files]} if code.endswith(("_FILE", "_EXCEEDED")) else None
            )
            return build_error_body(code, "Simulated failure, requested by the setting task_fail_code.", file_details)
    running_count, _ = vendor.extraction_store.count_running_and_reserved_credits(api_key)
    if running_count >= vendor.get_setting("concurrency_limit", api_key):
        return build_error_body("CONCURRENT_TASK_LIMIT", "Too many extractions are running.", None)
    balance, reserved = vendor.get_balance_and_reserved_credits(api_key)
    if page_count > balance - reserved:
        details = {"credits_required": page_count, "credits_balance": balance, "credits_reserved": reserved}
        return build_error_body("INSUFFICIENT_CREDITS", "There are fewer free credits than pages.", details)
    encrypted_names = [
        file.name for file in files if is_file_selected(file, vendor.get_setting("encrypted_files", api_key))
    ]
    if encrypted_names:
        return build_error_body(
            "ENCRYPTED_FILE", "Some files are protected by a password.", {"file_names": encrypted_names}
        )
    too_long_names = [file.name for file in files if count_file_pages(file, fixed_settings) > MAX_FILE_PAGES]
    if too_long_names:
        return build_error_body(
            "FILE_PAGE_LIMIT_EXCEEDED", "Some files have too many pages.", {"file_names": too_long_names}
        )
    return None
