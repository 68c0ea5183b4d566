"""The bodies that describe an extraction: status, list item, details (sheet 02 §2.6, §2.9)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from sandbox.invoicedataextraction_com.extraction_store import Row, compute_elapsed_share
from sandbox.invoicedataextraction_com.outcomes import REVIEW_MESSAGE, SOURCE_FILE_COLUMN, ExtractionOutcome, PageResult
from sandbox.invoicedataextraction_com.sample_answers import UNKNOWN_DOCUMENT_MESSAGE
from sandbox.invoicedataextraction_com.schemas import OUTPUT_FORMATS
from sandbox.invoicedataextraction_com.vendor import Vendor

JsonBody = dict[str, Any]
RETENTION_SECONDS = 90 * 86_400.0
DOWNLOAD_LIFETIME_SECONDS = 300.0
MAX_PREVIEW_NAMES = 5
SAMPLE_QUESTION: JsonBody = {
    "question_id": "q_1",
    "type": "single_choice",
    "question": "Which date is the invoice date?",
    "scope": {"level": "extraction", "applies_to": "All documents"},
    "choices": [
        {"choice_id": "issued", "label": "The day of issue", "recommended": True},
        {"choice_id": "supplied", "label": "The day of supply"},
    ],
}


def build_status_body(vendor: Vendor, request: Request, row: Row) -> JsonBody:
    """Return the body of the status route."""
    api_key = row["api_key"]
    body: JsonBody = {"success": row["status"] != "failed", "status": row["status"], "extraction_id": row["id"]}
    if row["status"] == "failed":
        return {**body, "error": json.loads(row["error"])}
    if row["status"] == "processing":
        body["status"] = vendor.get_setting("unknown_status", api_key) or "processing"
        return {**body, "progress": compute_progress(row, vendor.get_current_time(api_key))}
    if row["status"] == "input_required":
        return {**body, "progress": 20, "answer_by": format_timestamp(row["answer_by"]), "questions": [SAMPLE_QUESTION]}
    balance, reserved = vendor.get_balance_and_reserved_credits(api_key)
    body |= {
        "credits_deducted": find_deducted_credits(vendor, row),
        "credits_balance": balance,
        "credits_reserved": reserved,
    }
    if row["status"] == "cancelled":
        return {**body, "cancellation_reason": row["reason"]}
    return {**body, **_build_completed_body(vendor, row), "output": _build_output_urls(vendor, request, row)}


def build_list_item(vendor: Vendor, row: Row) -> JsonBody:
    """Return the item of an extraction in the list."""
    file_names = [file.name for file in vendor.extraction_store.list_files(row)]
    preview = {
        "file_names_preview": file_names[:MAX_PREVIEW_NAMES],
        "file_names_truncated": len(file_names) > MAX_PREVIEW_NAMES,
    }
    return {**_build_record_body(vendor, row, len(file_names)), **preview}


def build_details(vendor: Vendor, row: Row) -> JsonBody:
    """Return everything the vendor stores about an extraction."""
    file_names = [file.name for file in vendor.extraction_store.list_files(row)]
    submitted_request = json.loads(row["request"])
    body = {
        **_build_record_body(vendor, row, len(file_names)),
        "file_names": file_names,
        "prompt": submitted_request["prompt"],
    }
    body["options"] = submitted_request.get("options", {})
    if row["status"] == "completed":
        body |= {
            name: value for name, value in _build_completed_body(vendor, row).items() if name != "output_structure"
        }
    elif row["status"] == "failed":
        body["error"] = json.loads(row["error"])
    elif row["status"] == "input_required":
        body["questions"] = [SAMPLE_QUESTION]
    return body


def build_pages_body(pages: Sequence[PageResult]) -> JsonBody:
    """Return ``pages``: successful and failed pages; failure reasons in the places of the old and the new contract."""
    successful_pages = [
        {"file_name": page.file_name, "page": page.number} for page in pages if page.failure_reason is None
    ]
    failed_pages = [page for page in pages if page.failure_reason is not None]
    return {
        "successful_count": len(successful_pages),
        "failed_count": len(failed_pages),
        "successful": successful_pages,
        "failed": [
            {"file_name": page.file_name, "page": page.number, "reason": page.failure_reason} for page in failed_pages
        ],
        "failure_reasons": _build_failure_reasons(failed_pages),
    }


def build_review_body(outcome: ExtractionOutcome) -> JsonBody:
    """Return ``review_needed``: the numbers, from 1, of the rows that a person should check."""
    items = [
        {
            "message": REVIEW_MESSAGE,
            "affected_fields": ["Total amount" if "Total amount" in outcome.columns else outcome.columns[0]],
            "output_row_numbers": [row_number],
            "source_references": [str(outcome.rows[row_number - 1].get(SOURCE_FILE_COLUMN) or "")],
        }
        for row_number in outcome.review_row_numbers
    ]
    return {"count": len(items), "items": items}


def compute_progress(row: Row, now: float) -> int:
    """Return the progress of a running extraction in percent, 0 to 99."""
    return min(99, int(100 * compute_elapsed_share(row, now)))


def find_deducted_credits(vendor: Vendor, row: Row) -> int | None:
    """Return the credits that an extraction cost, None before it ends or if a setting hides them."""
    return None if vendor.get_setting("credits_null", row["api_key"]) else row["deducted"]


def is_output_retained(vendor: Vendor, row: Row) -> bool:
    """Return whether an extraction's outputs are still stored."""
    return vendor.get_current_time(row["api_key"]) < float(row["created"]) + RETENTION_SECONDS


def build_output_url(vendor: Vendor, request: Request, row: Row, output_format: str) -> tuple[str, float]:
    """Return a new download URL and its lifetime in seconds."""
    lifetime = vendor.get_setting("download_expiry", row["api_key"])
    lifetime = vendor.convert_to_real_seconds(DOWNLOAD_LIFETIME_SECONDS) if lifetime is None else lifetime
    path = f"/storage/outputs/{row['id']}/{output_format}"
    return vendor.url_signer.sign_url(request, "GET", path, vendor.get_current_time(row["api_key"]), lifetime), lifetime


def format_timestamp(epoch_seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    return dt.datetime.fromtimestamp(epoch_seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_output_expiry(row: Row) -> str:
    """Return when an extraction's outputs are deleted."""
    return format_timestamp(row["created"] + RETENTION_SECONDS)


def _build_completed_body(vendor: Vendor, row: Row) -> JsonBody:
    outcome = vendor.extraction_store.get_outcome(row)
    return {
        "output_structure": outcome.output_structure,
        "output_expires_at": format_output_expiry(row),
        "pages": build_pages_body(outcome.pages),
        "ai_uncertainty_notes": [
            {
                "topic": topic,
                "description": f"The documents leave {topic} open; the most likely value was taken.",
                "suggested_prompt_additions": [
                    {"purpose": f"Say how to read {topic}", "instructions": [f"Take {topic} as printed."]}
                ],
            }
            for topic in outcome.note_topics
        ],
        "review_needed": build_review_body(outcome),
    }


def _build_output_urls(vendor: Vendor, request: Request, row: Row) -> JsonBody:
    hidden_formats = set(vendor.get_setting("null_urls", row["api_key"]))
    has_urls = is_output_retained(vendor, row) and not hidden_formats & {"all", "on"}
    urls: JsonBody = {}
    for output_format in OUTPUT_FORMATS:
        is_shown = has_urls and output_format not in hidden_formats
        url = build_output_url(vendor, request, row, output_format)[0] if is_shown else None
        urls[f"{output_format}_url"] = url
    return urls


def _build_record_body(vendor: Vendor, row: Row, file_count: int) -> JsonBody:
    submitted_request = json.loads(row["request"])
    body: JsonBody = {
        "extraction_id": row["id"],
        "submission_id": row["submission_id"],
        "task_name": submitted_request.get("task_name"),
        "status": row["status"],
        "created_at": row["at"],
        "submission_method": "api",
        "file_count": file_count,
        "output_structure": submitted_request["output_structure"],
        "credits_deducted": find_deducted_credits(vendor, row),
        "available_outputs": list(OUTPUT_FORMATS)
        if row["status"] == "completed" and is_output_retained(vendor, row)
        else [],
        "output_expires_at": format_output_expiry(row),
    }
    if row["status"] in ("processing", "input_required"):
        body["progress"] = compute_progress(row, vendor.get_current_time(row["api_key"]))
    if row["reason"]:
        body["cancellation_reason"] = row["reason"]
    if row["status"] == "failed":
        error = json.loads(row["error"])
        body["error"] = {"code": error["code"], "retryable": error["retryable"]}
    return body


def _build_failure_reasons(failed_pages: Sequence[PageResult]) -> list[JsonBody]:
    pages_by_reason: dict[str, dict[str, list[int]]] = {}
    for page in failed_pages:
        pages_by_reason.setdefault(str(page.failure_reason), {}).setdefault(page.file_name, []).append(page.number)
    return [
        {
            "code": "REHEARSAL" if reason == UNKNOWN_DOCUMENT_MESSAGE else "PAGE_UNREADABLE",
            "message": reason,
            "affected_pages": [
                {"file_name": name, "pages": page_numbers} for name, page_numbers in pages_by_file.items()
            ],
        }
        for reason, pages_by_file in pages_by_reason.items()
    ]
