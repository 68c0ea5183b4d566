"""The schemas of this vendor's bodies: its OpenAPI document shows them, requests are held against them (sheet 02)."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
LANGUAGES = (
    "automatic", "en", "ar", "zh-Hant", "zh-Hans", "nl", "fr", "de", "el", "he", "it", "ja", "pl", "pt", "es", "th",
)  # fmt: skip
STATUSES = ("processing", "input_required", "completed", "failed", "cancelled")
FORMATS = ("xlsx", "csv", "json")
FILE_NAME = r"^[^/\\\s\x00-\x1f\x7f-\x9f][^/\\\x00-\x1f\x7f-\x9f]*\.([pP][dD][fF]|[jJ][pP][eE]?[gG]|[pP][nN][gG])$"


def thing(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object."""
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def closed(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object that has no other properties."""
    return {**thing(required, **properties), "additionalProperties": False}


def listing(items: Schema, **bounds: int) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items, **bounds}


def ref(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TRUE: Schema = {"type": "boolean", "const": True}
INSTANT: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
ADDRESS: Schema = {"type": "string", "format": "uri"}
ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,200}$"}
PART: Schema = {"type": "integer", "minimum": 1, "maximum": 10_000}
CREDITS: Schema = {"type": ["integer", "null"]}
COLOR: Schema = {"type": "string", "enum": ["none", "yellow", "orange", "red"]}


def words(*choices: str) -> Schema:
    """Return the schema of one of several words."""
    return {"type": "string", "enum": list(choices)}


_REQUESTS: dict[str, Schema] = {
    "CreateSession": closed(
        ("upload_session_id", "files"), upload_session_id=ID,
        files=listing(ref("DeclaredFile"), minItems=1, maxItems=6_000),
    ),
    "DeclaredFile": closed(
        ("file_id", "file_name", "file_size_bytes"), file_id=ID,
        file_name={"type": "string", "minLength": 1, "maxLength": 200, "pattern": FILE_NAME},
        file_size_bytes={"type": "integer", "minimum": 1},
    ),
    "PartsRequest": closed(
        ("file_id", "part_numbers"), file_id=ID, part_numbers=listing(PART, minItems=1, maxItems=1_000)
    ),
    "CompleteRequest": closed(
        ("file_id", "parts"), file_id=ID,
        parts=listing(
            closed(("part_number", "e_tag"), part_number=PART, e_tag={"type": "string", "minLength": 1}),
            minItems=1, maxItems=10_000,
        ),
    ),
    "PromptField": closed(
        ("name",), name={"type": "string", "minLength": 2, "maxLength": 50},
        prompt={"type": "string", "maxLength": 600},
    ),
    "PromptObject": closed(
        ("fields",), fields=listing(ref("PromptField"), minItems=1, maxItems=20),
        general_prompt={"type": "string", "maxLength": 1_500},
    ),
    "Options": closed(
        exclude_columns=listing(words("source_file", "review_needed")),
        output_language=words(*LANGUAGES), review_needed_fill_color=COLOR, affected_field_fill_color=COLOR,
        send_completion_email=FLAG, json_typed_values=FLAG, ask_questions=FLAG,
    ),
    "SubmitRequest": closed(
        ("submission_id", "upload_session_id", "file_ids", "prompt", "output_structure"),
        submission_id=ID, upload_session_id=ID, file_ids=listing(ID, minItems=1, maxItems=6_000),
        task_name={"type": "string", "minLength": 3, "maxLength": 40},
        prompt={"oneOf": [{"type": "string", "minLength": 1, "maxLength": 5_000}, ref("PromptObject")]},
        output_structure=words("automatic", "per_invoice", "per_line_item"), options=ref("Options"),
    ),
    "AnswersRequest": closed(
        ("answers",),
        answers=listing(
            closed(
                ("question_id",), question_id=TEXT, choice_id=TEXT, accept_recommended=TRUE,
                text={"type": "string", "minLength": 1, "maxLength": 1_000},
            ),
            minItems=1, maxItems=15,
        ),
    ),
}  # fmt: skip
_PAGE = thing(("file_name", "page"), file_name=TEXT, page={"type": "integer", "minimum": 1}, reason=TEXT)
_PARTS: dict[str, Schema] = {
    "ErrorObject": thing(
        ("code", "message", "retryable"), code=TEXT, message=TEXT, retryable=FLAG, details={"type": ["object", "null"]}
    ),
    "ErrorEnvelope": thing(
        ("success", "error"), success={"type": "boolean", "const": False}, error=ref("ErrorObject")
    ),
    "Pages": thing(
        ("successful_count", "failed_count", "successful", "failed", "failure_reasons"), successful_count=WHOLE,
        failed_count=WHOLE, successful=listing(_PAGE), failed=listing(_PAGE),
        failure_reasons=listing(
            thing(
                ("code", "message", "affected_pages"), code=TEXT, message=TEXT,
                affected_pages=listing(thing(("file_name", "pages"), file_name=TEXT, pages=listing(WHOLE))),
            )
        ),
    ),
    "Note": thing(
        ("topic", "description"), topic=TEXT, description=TEXT,
        suggested_prompt_additions=listing(thing(purpose=TEXT, instructions=listing(TEXT))),
    ),
    "ReviewNeeded": thing(
        ("count", "items"), count=WHOLE,
        items=listing(
            thing(
                message=TEXT, affected_fields=listing(TEXT), output_row_numbers=listing(WHOLE),
                source_references=listing(TEXT),
            )
        ),
    ),
    "Question": thing(
        ("question_id", "type", "question", "choices"), question_id=TEXT, type=words("single_choice", "free_text"),
        question=TEXT, choices=listing(thing(("choice_id", "label"), choice_id=TEXT, label=TEXT, recommended=FLAG)),
    ),
}  # fmt: skip


def _status(name: str, *required: str, succeeds: bool = True, **properties: Schema) -> Schema:
    return thing(
        ("success", "status", "extraction_id", *required),
        success={"type": "boolean", "const": succeeds},
        status={"type": "string", "const": name},
        extraction_id=UUID,
        **properties,
    )


_ADDRESS_OR_NONE: Schema = {"type": ["string", "null"], "format": "uri"}
_STATUSES: dict[str, Schema] = {
    "Processing": _status("processing", "progress", progress={"type": "integer", "minimum": 0, "maximum": 100}),
    "InputRequired": _status(
        "input_required", "questions", "answer_by", progress=WHOLE, answer_by=INSTANT,
        questions=listing(ref("Question")),
    ),
    "Completed": _status(
        "completed", "credits_deducted", "pages", "ai_uncertainty_notes", "review_needed", "output",
        credits_deducted=CREDITS, credits_balance={"type": "integer"}, credits_reserved=WHOLE,
        output_structure=words("per_invoice", "per_line_item"), output_expires_at=INSTANT, pages=ref("Pages"),
        ai_uncertainty_notes=listing(ref("Note")), review_needed=ref("ReviewNeeded"),
        output=thing(
            ("xlsx_url", "csv_url", "json_url"), xlsx_url=_ADDRESS_OR_NONE, csv_url=_ADDRESS_OR_NONE,
            json_url=_ADDRESS_OR_NONE,
        ),
    ),
    "Failed": _status("failed", "error", succeeds=False, error=ref("ErrorObject")),
    "Cancelled": _status(
        "cancelled", "credits_deducted", "cancellation_reason", credits_deducted=CREDITS,
        cancellation_reason=words("user", "unanswered", "answers_rejected"), credits_balance={"type": "integer"},
        credits_reserved=WHOLE,
    ),
    "StatusResponse": {
        "oneOf": [ref(name) for name in ("Processing", "InputRequired", "Completed", "Failed", "Cancelled")]
    },
}  # fmt: skip
_RECORD = {
    "extraction_id": UUID, "submission_id": TEXT, "task_name": {"type": ["string", "null"]}, "status": words(*STATUSES),
    "created_at": INSTANT, "submission_method": words("api", "web_app"), "file_count": WHOLE,
    "output_structure": words("automatic", "per_invoice", "per_line_item"), "credits_deducted": CREDITS,
    "available_outputs": listing(words(*FORMATS)), "output_expires_at": INSTANT, "progress": WHOLE,
    "cancellation_reason": TEXT, "error": thing(("code", "retryable"), code=TEXT, retryable=FLAG),
}  # fmt: skip
_RECORD_NEEDS = ("extraction_id", "submission_id", "status", "created_at")
_ANSWERS: dict[str, Schema] = {
    "Balance": thing(
        ("success", "credits_balance", "credits_reserved"), success=TRUE, credits_balance={"type": "integer"},
        credits_reserved=WHOLE,
    ),
    "Session": thing(
        ("success", "upload_session_id", "files"), success=TRUE, upload_session_id=ID,
        files=listing(thing(("file_id", "file_name", "part_size"), file_id=ID, file_name=TEXT, part_size=WHOLE)),
    ),
    "PartsResponse": thing(
        ("success", "part_urls"), success=TRUE, upload_session_id=ID, file_id=ID, file_name=TEXT, part_size=WHOLE,
        part_urls=listing(thing(("part_number", "url"), part_number=PART, url=ADDRESS)),
    ),
    "CompleteResponse": thing(
        ("success", "file_id"), success=TRUE, upload_session_id=ID, file_id=ID, file_name=TEXT,
        status={"type": "string", "const": "completed"},
    ),
    "SubmitResponse": thing(
        ("success", "extraction_id", "submission_state"), success=TRUE, extraction_id=UUID, submission_state=TEXT
    ),
    "OutputResponse": thing(
        ("download_url", "format", "expires_in_seconds"), download_url=ADDRESS, format=words(*FORMATS),
        expires_in_seconds=WHOLE,
    ),
    "Results": thing(
        ("success", "rows", "columns", "row_count", "total_rows", "has_more", "next_offset"), success=TRUE,
        extraction_id=UUID, status={"type": "string", "const": "completed"},
        output_structure=words("per_invoice", "per_line_item"), output_expires_at=INSTANT, json_typed_values=FLAG,
        columns=listing(TEXT), rows=listing({"type": "object"}), offset=WHOLE, limit=WHOLE, row_count=WHOLE,
        total_rows=WHOLE, has_more=FLAG, next_offset={"type": ["integer", "null"]}, review_needed=ref("ReviewNeeded"),
        pages=ref("Pages"),
    ),
    "ListItem": thing(_RECORD_NEEDS, **_RECORD, file_names_preview=listing(TEXT), file_names_truncated=FLAG),
    "List": thing(
        ("success", "extractions", "has_more", "next_cursor"), success=TRUE, extractions=listing(ref("ListItem")),
        has_more=FLAG, next_cursor={"type": ["string", "null"]},
    ),
    "Details": thing(("success", "extraction"), success=TRUE, extraction=ref("Record")),
    "Record": thing(
        _RECORD_NEEDS, **_RECORD, file_names=listing(TEXT), prompt={"oneOf": [TEXT, ref("PromptObject")]},
        options=ref("Options"), pages=ref("Pages"), ai_uncertainty_notes=listing(ref("Note")),
        review_needed=ref("ReviewNeeded"), questions=listing(ref("Question")),
    ),
    "CancelRequested": thing(
        ("success", "extraction_id", "status", "cancellation_requested", "cancel_requested_at"), success=TRUE,
        extraction_id=UUID, status={"type": "string", "const": "processing"}, cancellation_requested=TRUE,
        cancel_requested_at=INSTANT,
    ),
    "CancelResponse": {"oneOf": [ref("CancelRequested"), ref("Cancelled")]},
    "Deleted": thing(("success",), success=TRUE),
}  # fmt: skip
SCHEMAS: dict[str, Schema] = {**_REQUESTS, **_PARTS, **_STATUSES, **_ANSWERS}
