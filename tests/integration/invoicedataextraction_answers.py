"""What api.invoicedataextraction.com is asked and answers, for the tests of its client."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import FileToUpload, InvoiceDataExtraction, Submission

KEY = "ide_key_4f1e"
CONTRACT = Path(os.environ.get("INVOICES_API_CONTRACTS", Path(__file__).parents[3] / "shared/apis/openapi"))
ID = "7b0c6b0a-0000-4000-8000-000000000001"
OTHER = "7b0c6b0a-0000-4000-8000-000000000002"
FILES = [FileToUpload("f1", "3f2a_a.pdf", 10), FileToUpload("f:2", "77aa_b.jpg", 4)]
SESSION = {
    "success": True,
    "upload_session_id": "sess:1",
    "files": [{"file_id": one.file_id, "file_name": one.file_name, "part_size": 8} for one in FILES],
}
PARTS = {
    "success": True,
    "file_id": "f1",
    "part_urls": [{"part_number": n, "url": f"https://s.test/{n}"} for n in (1, 2)],
}
COMPLETE = {"success": True, "upload_session_id": "sess:1", "file_id": "f1", "status": "completed"}
FIELDS = {
    "fields": [{"name": "Invoice Number", "prompt": "As printed: “Nº 7”"}],
    "general_prompt": "Dates as YYYY-MM-DD.",
}
SUBMISSION = Submission(
    "sub:1", "sess:1", ("f1", "f:2"), "batch 0001", FIELDS, "per_line_item", {"json_typed_values": True}
)
SUBMITTED = {"success": True, "extraction_id": ID, "submission_state": "received"}
PROCESSING = {"success": True, "status": "processing", "extraction_id": ID, "progress": 42}
COMPLETED = {
    "success": True, "status": "completed", "extraction_id": ID, "credits_deducted": 2, "credits_balance": 48,
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
FAILED = {
    "success": False, "status": "failed", "extraction_id": ID,
    "error": {"code": "ENCRYPTED_FILE", "message": "Locked", "retryable": False, "details": {"file_names": ["a.pdf"]}},
}  # fmt: skip
PAGE = {
    "success": True, "extraction_id": ID, "columns": ["No", "Total"], "rows": [{"No": "A", "Total": 1}],
    "row_count": 1, "total_rows": 1, "has_more": False, "next_offset": None, "json_typed_values": True,
    "output_structure": "per_invoice",
}  # fmt: skip

Ask = Callable[[InvoiceDataExtraction], Any]
ROUTES: dict[str, tuple[Ask, Any, str, str, Any]] = {  # call, answer, method and target seen, schema, body seen
    "balance": (
        lambda c: c.balance(), {"success": True, "credits_balance": 5, "credits_reserved": 1},
        "GET /v1/credits/balance", "", None,
    ),
    "session": (
        lambda c: c.open_session("sess:1", FILES), SESSION, "POST /v1/uploads/sessions", "CreateSession",
        {"upload_session_id": "sess:1", "files": [
            {"file_id": "f1", "file_name": "3f2a_a.pdf", "file_size_bytes": 10},
            {"file_id": "f:2", "file_name": "77aa_b.jpg", "file_size_bytes": 4},
        ]},
    ),
    "parts": (
        lambda c: c.part_urls("sess:1", "f1", [1, 2]), PARTS, "POST /v1/uploads/sessions/sess:1/parts",
        "PartsRequest", {"file_id": "f1", "part_numbers": [1, 2]},
    ),
    "complete": (
        lambda c: c.complete("sess:1", "f1", {2: '"b"', 1: '"a"'}), COMPLETE,
        "POST /v1/uploads/sessions/sess:1/complete", "CompleteRequest",
        {"file_id": "f1", "parts": [{"part_number": 1, "e_tag": '"a"'}, {"part_number": 2, "e_tag": '"b"'}]},
    ),
    "submit": (
        lambda c: c.submit(SUBMISSION), SUBMITTED, "POST /v1/extractions", "SubmitRequest",
        {"submission_id": "sub:1", "upload_session_id": "sess:1", "file_ids": ["f1", "f:2"], "task_name": "batch 0001",
         "prompt": FIELDS, "output_structure": "per_line_item", "options": {"json_typed_values": True}},
    ),
    "status": (lambda c: c.extraction(ID), PROCESSING, f"GET /v1/extractions/{ID}", "", None),
    "held status": (lambda c: c.extraction(ID, wait=45), PROCESSING, f"GET /v1/extractions/{ID}?wait=45", "", None),
    "results": (
        lambda c: c.results_page(ID, 0, 7), PAGE, f"GET /v1/extractions/{ID}/results?offset=0&limit=7", "", None,
    ),
    "output": (
        lambda c: c.output_url(ID, "csv"), {"download_url": "https://s.test/d", "format": "csv"},
        f"GET /v1/extractions/{ID}/output?format=csv", "", None,
    ),
    "list": (
        lambda c: list(c.extractions()), {"success": True, "extractions": [], "has_more": False, "next_cursor": None},
        "GET /v1/extractions?limit=100", "", None,
    ),
    "details": (
        lambda c: c.details(ID), {"success": True, "extraction": {**FAILED, "success": True}},
        f"GET /v1/extractions/{ID}/details", "", None,
    ),
    "cancel": (
        lambda c: c.cancel(ID), {**PROCESSING, "cancellation_requested": True}, f"POST /v1/extractions/{ID}/cancel", "",
        None,
    ),
    "delete": (lambda c: c.delete(ID), {"success": True}, f"DELETE /v1/extractions/{ID}", "", None),
    "answers": (
        lambda c: c.answer(ID, [{"question_id": "q", "accept_recommended": True}]), PROCESSING,
        f"POST /v1/extractions/{ID}/answers", "", {"answers": [{"question_id": "q", "accept_recommended": True}]},
    ),
}  # fmt: skip
UNDER_OUR_ID = ["session", "parts", "complete", "submit", "cancel"]


def schema_of(name: str) -> Any:
    path = CONTRACT / "02-invoice-data-extraction.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not at hand (INVOICES_API_CONTRACTS)")
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load(path.read_text("utf-8"))
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
