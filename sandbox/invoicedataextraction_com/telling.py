"""What the vendor says of an extraction: status, list item, details (sheet 02 §2.6, §2.9)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from sandbox.invoicedataextraction_com.extractions import Row, share
from sandbox.invoicedataextraction_com.outcomes import REVIEW_MESSAGE, SOURCE_FILE, Outcome, Page
from sandbox.invoicedataextraction_com.readings import REHEARSAL
from sandbox.invoicedataextraction_com.schemas import FORMATS
from sandbox.invoicedataextraction_com.vendor import Vendor

Body = dict[str, Any]
RETENTION = 90 * 86_400.0
DOWNLOAD_LIVES = 300.0
PREVIEW = 5
QUESTION: Body = {
    "question_id": "q_1",
    "type": "single_choice",
    "question": "Which date is the invoice date?",
    "scope": {"level": "extraction", "applies_to": "All documents"},
    "choices": [
        {"choice_id": "issued", "label": "The day of issue", "recommended": True},
        {"choice_id": "supplied", "label": "The day of supply"},
    ],
}


def status_body(vendor: Vendor, request: Request, row: Row) -> Body:
    """Return the body that tells the status of an extraction."""
    api_key = row["api_key"]
    body: Body = {"success": row["status"] != "failed", "status": row["status"], "extraction_id": row["id"]}
    if row["status"] == "failed":
        return {**body, "error": json.loads(row["error"])}
    if row["status"] == "processing":
        body["status"] = vendor.knob("unknown_status", api_key) or "processing"
        return {**body, "progress": progress(row, vendor.now(api_key))}
    if row["status"] == "input_required":
        return {**body, "progress": 20, "answer_by": instant(row["answer_by"]), "questions": [QUESTION]}
    balance, reserved = vendor.credits(api_key)
    body |= {"credits_deducted": deducted(vendor, row), "credits_balance": balance, "credits_reserved": reserved}
    if row["status"] == "cancelled":
        return {**body, "cancellation_reason": row["reason"]}
    return {**body, **_completed(vendor, row), "output": _addresses(vendor, request, row)}


def list_item(vendor: Vendor, row: Row) -> Body:
    """Return what the list tells of an extraction."""
    names = [file.name for file in vendor.extractions.files(row)]
    preview = {"file_names_preview": names[:PREVIEW], "file_names_truncated": len(names) > PREVIEW}
    return {**_record(vendor, row, len(names)), **preview}


def details(vendor: Vendor, row: Row) -> Body:
    """Return everything the vendor keeps of an extraction."""
    names = [file.name for file in vendor.extractions.files(row)]
    kept = json.loads(row["request"])
    body = {**_record(vendor, row, len(names)), "file_names": names, "prompt": kept["prompt"]}
    body["options"] = kept.get("options", {})
    if row["status"] == "completed":
        body |= {name: value for name, value in _completed(vendor, row).items() if name != "output_structure"}
    elif row["status"] == "failed":
        body["error"] = json.loads(row["error"])
    elif row["status"] == "input_required":
        body["questions"] = [QUESTION]
    return body


def pages_body(pages: Sequence[Page]) -> Body:
    """Return ``pages``: what succeeded, what failed, and why, where the seed and where the newest contract have it."""
    good = [{"file_name": page.file_name, "page": page.number} for page in pages if page.reason is None]
    bad = [page for page in pages if page.reason is not None]
    return {
        "successful_count": len(good),
        "failed_count": len(bad),
        "successful": good,
        "failed": [{"file_name": page.file_name, "page": page.number, "reason": page.reason} for page in bad],
        "failure_reasons": _reasons(bad),
    }


def review_body(outcome: Outcome) -> Body:
    """Return ``review_needed``: the rows, counted from 1, that a person should look at."""
    items = [
        {
            "message": REVIEW_MESSAGE,
            "affected_fields": ["Total amount" if "Total amount" in outcome.columns else outcome.columns[0]],
            "output_row_numbers": [number],
            "source_references": [str(outcome.rows[number - 1].get(SOURCE_FILE) or "")],
        }
        for number in outcome.flagged
    ]
    return {"count": len(items), "items": items}


def progress(row: Row, now: float) -> int:
    """Return how far a running extraction is, 0 to 99."""
    return min(99, int(100 * share(row, now)))


def deducted(vendor: Vendor, row: Row) -> int | None:
    """Return the credits an extraction cost, None where a knob hides them."""
    return None if vendor.knob("credits_null", row["api_key"]) else row["deducted"]


def is_kept(vendor: Vendor, row: Row) -> bool:
    """Return whether an extraction's outputs are still kept."""
    return vendor.now(row["api_key"]) < float(row["created"]) + RETENTION


def output_address(vendor: Vendor, request: Request, row: Row, form: str) -> tuple[str, float]:
    """Return a fresh download address, and the seconds it lives."""
    lives = vendor.knob("download_expiry", row["api_key"])
    lives = vendor.scaled(DOWNLOAD_LIVES) if lives is None else lives
    path = f"/storage/outputs/{row['id']}/{form}"
    return vendor.addresses.sign(request, "GET", path, vendor.now(row["api_key"]), lives), lives


def instant(at: float) -> str:
    """Return seconds of the epoch as ISO 8601 in UTC."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def expires_at(row: Row) -> str:
    """Return when an extraction's outputs go."""
    return instant(row["created"] + RETENTION)


def _completed(vendor: Vendor, row: Row) -> Body:
    outcome = vendor.extractions.outcome(row)
    return {
        "output_structure": outcome.structure,
        "output_expires_at": expires_at(row),
        "pages": pages_body(outcome.pages),
        "ai_uncertainty_notes": [_note(topic) for topic in outcome.notes],
        "review_needed": review_body(outcome),
    }


def _addresses(vendor: Vendor, request: Request, row: Row) -> Body:
    hidden = set(vendor.knob("null_urls", row["api_key"]))
    kept = () if hidden & {"all", "on"} or not is_kept(vendor, row) else set(FORMATS) - hidden
    return {f"{form}_url": output_address(vendor, request, row, form)[0] if form in kept else None for form in FORMATS}


def _record(vendor: Vendor, row: Row, file_count: int) -> Body:
    kept = json.loads(row["request"])
    body: Body = {
        "extraction_id": row["id"],
        "submission_id": row["submission_id"],
        "task_name": kept.get("task_name"),
        "status": row["status"],
        "created_at": row["at"],
        "submission_method": "api",
        "file_count": file_count,
        "output_structure": kept["output_structure"],
        "credits_deducted": deducted(vendor, row),
        "available_outputs": list(FORMATS) if row["status"] == "completed" and is_kept(vendor, row) else [],
        "output_expires_at": expires_at(row),
    }
    if row["status"] in ("processing", "input_required"):
        body["progress"] = progress(row, vendor.now(row["api_key"]))
    if row["reason"]:
        body["cancellation_reason"] = row["reason"]
    if row["status"] == "failed":
        error = json.loads(row["error"])
        body["error"] = {"code": error["code"], "retryable": error["retryable"]}
    return body


def _note(topic: str) -> Body:
    text = f"The documents leave {topic} open; the most likely value was taken."
    purpose = {"purpose": f"Say how to read {topic}", "instructions": [f"Take {topic} as printed."]}
    return {"topic": topic, "description": text, "suggested_prompt_additions": [purpose]}


def _reasons(bad: Sequence[Page]) -> list[Body]:
    files: dict[str, dict[str, list[int]]] = {}
    for page in bad:
        files.setdefault(str(page.reason), {}).setdefault(page.file_name, []).append(page.number)
    return [
        {
            "code": "REHEARSAL" if reason == REHEARSAL else "PAGE_UNREADABLE",
            "message": reason,
            "affected_pages": [{"file_name": name, "pages": numbers} for name, numbers in named.items()],
        }
        for reason, named in files.items()
    ]
