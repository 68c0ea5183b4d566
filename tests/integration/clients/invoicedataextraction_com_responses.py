"""Requests to and responses of api.invoicedataextraction.com, for the tests of its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import FileToUpload, InvoiceDataExtractionClient, Submission
from tests.run_environment import CONTRACT_DIRECTORY

API_KEY = "ide_key_4f1e"
EXTRACTION_ID = "7b0c6b0a-0000-4000-8000-000000000001"
OTHER_EXTRACTION_ID = "7b0c6b0a-0000-4000-8000-000000000002"
FILES = [FileToUpload("f1", "3f2a_a.pdf", 10), FileToUpload("f:2", "77aa_b.jpg", 4)]
SESSION_RESPONSE = {
    "success": True,
    "upload_session_id": "sess:1",
    "files": [{"file_id": file.file_id, "file_name": file.file_name, "part_size": 8} for file in FILES],
}
PARTS_RESPONSE = {
    "success": True,
    "file_id": "f1",
    "part_urls": [{"part_number": n, "url": f"https://s.test/{n}"} for n in (1, 2)],
}
COMPLETE_RESPONSE = {"success": True, "upload_session_id": "sess:1", "file_id": "f1", "status": "completed"}
FIELDS = {
    "fields": [{"name": "Invoice Number", "prompt": "As printed: “Nº 7”"}],
    "general_prompt": "Dates as YYYY-MM-DD.",
}
SUBMISSION = Submission(
    "sub:1", "sess:1", ("f1", "f:2"), "batch 0001", FIELDS, "per_line_item", {"json_typed_values": True}
)
SUBMITTED_RESPONSE = {"success": True, "extraction_id": EXTRACTION_ID, "submission_state": "received"}
PROCESSING_RESPONSE = {"success": True, "status": "processing", "extraction_id": EXTRACTION_ID, "progress": 42}
COMPLETED_RESPONSE = {
    "success": True, "status": "completed", "extraction_id": EXTRACTION_ID, "credits_deducted": 2,
    "credits_balance": 48,
    "credits_reserved": 0, "output_structure": "per_invoice", "output_expires_at": "2026-06-30T00:00:00Z",
    "pages": {
        "successful_count": 2, "failed_count": 1,
        "successful": [{"file_name": "a.pdf", "page": 1}, {"file_name": "a.pdf", "page": 2}],
        "failed": [{"file_name": "b.pdf", "page": 1}],
        "failure_reasons": [
            {"code": "TOO_LARGE", "message": "Page", "affected_pages": [{"file_name": "b.pdf", "pages": [1]}]}
        ],
    },
    "ai_uncertainty_notes": [{"topic": "Totals", "description": "Two totals.", "suggested_prompt_additions": []}],
    "review_needed": {
        "count": 1,
        "items": [{"message": "Check", "affected_fields": ["Total"], "output_row_numbers": [2],
                   "source_references": ["a.pdf (Page 2)"]}],
    },
    "output": {"xlsx_url": "https://s.test/x?sig=very-secret", "csv_url": None, "json_url": None},
}  # fmt: skip
FAILED_RESPONSE = {
    "success": False, "status": "failed", "extraction_id": EXTRACTION_ID,
    "error": {"code": "ENCRYPTED_FILE", "message": "Locked", "retryable": False, "details": {"file_names": ["a.pdf"]}},
}  # fmt: skip
RESULTS_PAGE = {
    "success": True, "extraction_id": EXTRACTION_ID, "columns": ["No", "Total"], "rows": [{"No": "A", "Total": 1}],
    "row_count": 1, "total_rows": 1, "has_more": False, "next_offset": None, "json_typed_values": True,
    "output_structure": "per_invoice",
}  # fmt: skip

CallClient = Callable[[InvoiceDataExtractionClient], Any]
# call, response body, method and target, schema of the request body, request body
ROUTES: dict[str, tuple[CallClient, Any, str, str, Any]] = {
    "balance": (
        lambda c: c.fetch_balance(), {"success": True, "credits_balance": 5, "credits_reserved": 1},
        "GET /v1/credits/balance", "", None,
    ),
    "session": (
        lambda c: c.open_session("sess:1", FILES), SESSION_RESPONSE, "POST /v1/uploads/sessions", "CreateSession",
        {"upload_session_id": "sess:1", "files": [
            {"file_id": "f1", "file_name": "3f2a_a.pdf", "file_size_bytes": 10},
            {"file_id": "f:2", "file_name": "77aa_b.jpg", "file_size_bytes": 4},
        ]},
    ),
    "parts": (
        lambda c: c.request_part_urls("sess:1", "f1", [1, 2]), PARTS_RESPONSE, "POST /v1/uploads/sessions/sess:1/parts",
        "PartsRequest", {"file_id": "f1", "part_numbers": [1, 2]},
    ),
    "complete": (
        lambda c: c.finish_file_upload("sess:1", "f1", {2: '"b"', 1: '"a"'}), COMPLETE_RESPONSE,
        "POST /v1/uploads/sessions/sess:1/complete", "CompleteRequest",
        {"file_id": "f1", "parts": [{"part_number": 1, "e_tag": '"a"'}, {"part_number": 2, "e_tag": '"b"'}]},
    ),
    "submit": (
        lambda c: c.submit_extraction(SUBMISSION), SUBMITTED_RESPONSE, "POST /v1/extractions", "SubmitRequest",
        {"submission_id": "sub:1", "upload_session_id": "sess:1", "file_ids": ["f1", "f:2"], "task_name": "batch 0001",
         "prompt": FIELDS, "output_structure": "per_line_item", "options": {"json_typed_values": True}},
    ),
    "status": (lambda c: c.poll_extraction(EXTRACTION_ID), PROCESSING_RESPONSE, f"GET /v1/extractions/{EXTRACTION_ID}",
        "", None),
    "held status": (lambda c: c.poll_extraction(EXTRACTION_ID, hold_seconds=45), PROCESSING_RESPONSE,
        f"GET /v1/extractions/{EXTRACTION_ID}?wait=45", "", None),
    "results": (
        lambda c: c.fetch_results_page(EXTRACTION_ID, 0, 7), RESULTS_PAGE,
        f"GET /v1/extractions/{EXTRACTION_ID}/results?offset=0&limit=7", "", None,
    ),
    "output": (
        lambda c: c.fetch_output_url(EXTRACTION_ID, "csv"), {"download_url": "https://s.test/d", "format": "csv"},
        f"GET /v1/extractions/{EXTRACTION_ID}/output?format=csv", "", None,
    ),
    "list": (
        lambda c: list(c.list_extractions()),
        {"success": True, "extractions": [], "has_more": False, "next_cursor": None},
        "GET /v1/extractions?limit=100", "", None,
    ),
    "details": (
        lambda c: c.fetch_extraction_details(EXTRACTION_ID),
        {"success": True, "extraction": {**FAILED_RESPONSE, "success": True}},
        f"GET /v1/extractions/{EXTRACTION_ID}/details", "", None,
    ),
    "cancel": (
        lambda c: c.cancel_extraction(EXTRACTION_ID), {**PROCESSING_RESPONSE, "cancellation_requested": True},
        f"POST /v1/extractions/{EXTRACTION_ID}/cancel", "",
        None,
    ),
    "delete": (lambda c: c.delete_extraction(EXTRACTION_ID), {"success": True},
        f"DELETE /v1/extractions/{EXTRACTION_ID}", "", None),
    "answers": (
        lambda c: c.submit_answers(EXTRACTION_ID, [{"question_id": "q", "accept_recommended": True}]),
        PROCESSING_RESPONSE,
        f"POST /v1/extractions/{EXTRACTION_ID}/answers", "",
        {"answers": [{"question_id": "q", "accept_recommended": True}]},
    ),
}  # fmt: skip
IDEMPOTENT_ROUTES = ["session", "parts", "complete", "submit", "cancel"]


def build_schema_validator(name: str) -> Any:
    path = CONTRACT_DIRECTORY / "02-invoice-data-extraction.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not available: set INVOICES_API_CONTRACTS")
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load(path.read_text("utf-8"))
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
