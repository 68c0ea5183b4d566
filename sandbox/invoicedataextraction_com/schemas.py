"""The schemas of this vendor's bodies: the OpenAPI document shows them, requests are validated with them (sheet 02)."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
OUTPUT_LANGUAGES = (
    "automatic", "en", "ar", "zh-Hant", "zh-Hans", "nl", "fr", "de", "el", "he", "it", "ja", "pl", "pt", "es", "th",
)  # fmt: skip
EXTRACTION_STATUSES = ("processing", "input_required", "completed", "failed", "cancelled")
OUTPUT_FORMATS = ("xlsx", "csv", "json")
FILE_NAME_PATTERN = (
    r"^[^/\\\s\x00-\x1f\x7f-\x9f][^/\\\x00-\x1f\x7f-\x9f]*\.([pP][dD][fF]|[jJ][pP][eE]?[gG]|[pP][nN][gG])$"
)


def build_object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object."""
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def build_closed_object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object that has no other properties."""
    return {**build_object(required, **properties), "additionalProperties": False}


def build_array(items: Schema, **bounds: int) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items, **bounds}


def build_ref(schema_name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{schema_name}"}


STRING: Schema = {"type": "string"}
NON_NEGATIVE_INTEGER: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
ALWAYS_TRUE: Schema = {"type": "boolean", "const": True}
DATE_TIME: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
URI: Schema = {"type": "string", "format": "uri"}
CALLER_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,200}$"}
PART_NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 10_000}
NULLABLE_CREDITS: Schema = {"type": ["integer", "null"]}
FILL_COLOR: Schema = {"type": "string", "enum": ["none", "yellow", "orange", "red"]}


def build_enum(*choices: str) -> Schema:
    """Return the schema of a string that is one of ``choices``."""
    return {"type": "string", "enum": list(choices)}


_REQUEST_SCHEMAS: dict[str, Schema] = {
    "CreateSession": build_closed_object(
        ("upload_session_id", "files"), upload_session_id=CALLER_ID,
        files=build_array(build_ref("DeclaredFile"), minItems=1, maxItems=6_000),
    ),
    "DeclaredFile": build_closed_object(
        ("file_id", "file_name", "file_size_bytes"), file_id=CALLER_ID,
        file_name={"type": "string", "minLength": 1, "maxLength": 200, "pattern": FILE_NAME_PATTERN},
        file_size_bytes={"type": "integer", "minimum": 1},
    ),
    "PartsRequest": build_closed_object(
        ("file_id", "part_numbers"), file_id=CALLER_ID,
        part_numbers=build_array(PART_NUMBER, minItems=1, maxItems=1_000)
    ),
    "CompleteRequest": build_closed_object(
        ("file_id", "parts"), file_id=CALLER_ID,
        parts=build_array(
            build_closed_object(("part_number", "e_tag"), part_number=PART_NUMBER,
                e_tag={"type": "string", "minLength": 1}),
            minItems=1, maxItems=10_000,
        ),
    ),
    "PromptField": build_closed_object(
        ("name",), name={"type": "string", "minLength": 2, "maxLength": 50},
        prompt={"type": "string", "maxLength": 600},
    ),
    "PromptObject": build_closed_object(
        ("fields",), fields=build_array(build_ref("PromptField"), minItems=1, maxItems=20),
        general_prompt={"type": "string", "maxLength": 1_500},
    ),
    "Options": build_closed_object(
        exclude_columns=build_array(build_enum("source_file", "review_needed")),
        output_language=build_enum(*OUTPUT_LANGUAGES), review_needed_fill_color=FILL_COLOR,
        affected_field_fill_color=FILL_COLOR,
        send_completion_email=BOOLEAN, json_typed_values=BOOLEAN, ask_questions=BOOLEAN,
    ),
    "SubmitRequest": build_closed_object(
        ("submission_id", "upload_session_id", "file_ids", "prompt", "output_structure"),
        submission_id=CALLER_ID, upload_session_id=CALLER_ID,
        file_ids=build_array(CALLER_ID, minItems=1, maxItems=6_000),
        task_name={"type": "string", "minLength": 3, "maxLength": 40},
        prompt={"oneOf": [{"type": "string", "minLength": 1, "maxLength": 5_000}, build_ref("PromptObject")]},
        output_structure=build_enum("automatic", "per_invoice", "per_line_item"), options=build_ref("Options"),
    ),
    "AnswersRequest": build_closed_object(
        ("answers",),
        answers=build_array(
            build_closed_object(
                ("question_id",), question_id=STRING, choice_id=STRING, accept_recommended=ALWAYS_TRUE,
                text={"type": "string", "minLength": 1, "maxLength": 1_000},
            ),
            minItems=1, maxItems=15,
        ),
    ),
}  # fmt: skip
_PAGE_SCHEMA = build_object(
    ("file_name", "page"), file_name=STRING, page={"type": "integer", "minimum": 1}, reason=STRING
)
_SHARED_SCHEMAS: dict[str, Schema] = {
    "ErrorObject": build_object(
        ("code", "message", "retryable"), code=STRING, message=STRING, retryable=BOOLEAN,
        details={"type": ["object", "null"]}
    ),
    "ErrorEnvelope": build_object(
        ("success", "error"), success={"type": "boolean", "const": False}, error=build_ref("ErrorObject")
    ),
    "Pages": build_object(
        ("successful_count", "failed_count", "successful", "failed", "failure_reasons"),
        successful_count=NON_NEGATIVE_INTEGER,
        failed_count=NON_NEGATIVE_INTEGER, successful=build_array(_PAGE_SCHEMA), failed=build_array(_PAGE_SCHEMA),
        failure_reasons=build_array(
            build_object(
                ("code", "message", "affected_pages"), code=STRING, message=STRING,
                affected_pages=build_array(build_object(("file_name", "pages"), file_name=STRING,
                    pages=build_array(NON_NEGATIVE_INTEGER))),
            )
        ),
    ),
    "Note": build_object(
        ("topic", "description"), topic=STRING, description=STRING,
        suggested_prompt_additions=build_array(build_object(purpose=STRING, instructions=build_array(STRING))),
    ),
    "ReviewNeeded": build_object(
        ("count", "items"), count=NON_NEGATIVE_INTEGER,
        items=build_array(
            build_object(
                message=STRING, affected_fields=build_array(STRING),
                output_row_numbers=build_array(NON_NEGATIVE_INTEGER),
                source_references=build_array(STRING),
            )
        ),
    ),
    "Question": build_object(
        ("question_id", "type", "question", "choices"), question_id=STRING,
        type=build_enum("single_choice", "free_text"),
        question=STRING,
        choices=build_array(build_object(("choice_id", "label"), choice_id=STRING, label=STRING, recommended=BOOLEAN)),
    ),
}  # fmt: skip


def _build_status_schema(status_name: str, *required: str, is_success: bool = True, **properties: Schema) -> Schema:
    return build_object(
        ("success", "status", "extraction_id", *required),
        success={"type": "boolean", "const": is_success},
        status={"type": "string", "const": status_name},
        extraction_id=UUID,
        **properties,
    )


_NULLABLE_URI: Schema = {"type": ["string", "null"], "format": "uri"}
_STATUS_SCHEMAS: dict[str, Schema] = {
    "Processing": _build_status_schema("processing", "progress",
        progress={"type": "integer", "minimum": 0, "maximum": 100}),
    "InputRequired": _build_status_schema(
        "input_required", "questions", "answer_by", progress=NON_NEGATIVE_INTEGER, answer_by=DATE_TIME,
        questions=build_array(build_ref("Question")),
    ),
    "Completed": _build_status_schema(
        "completed", "credits_deducted", "pages", "ai_uncertainty_notes", "review_needed", "output",
        credits_deducted=NULLABLE_CREDITS, credits_balance={"type": "integer"}, credits_reserved=NON_NEGATIVE_INTEGER,
        output_structure=build_enum("per_invoice", "per_line_item"), output_expires_at=DATE_TIME,
        pages=build_ref("Pages"),
        ai_uncertainty_notes=build_array(build_ref("Note")), review_needed=build_ref("ReviewNeeded"),
        output=build_object(
            ("xlsx_url", "csv_url", "json_url"), xlsx_url=_NULLABLE_URI, csv_url=_NULLABLE_URI,
            json_url=_NULLABLE_URI,
        ),
    ),
    "Failed": _build_status_schema("failed", "error", is_success=False, error=build_ref("ErrorObject")),
    "Cancelled": _build_status_schema(
        "cancelled", "credits_deducted", "cancellation_reason", credits_deducted=NULLABLE_CREDITS,
        cancellation_reason=build_enum("user", "unanswered", "answers_rejected"), credits_balance={"type": "integer"},
        credits_reserved=NON_NEGATIVE_INTEGER,
    ),
    "StatusResponse": {
        "oneOf": [build_ref(name) for name in ("Processing", "InputRequired", "Completed", "Failed", "Cancelled")]
    },
}  # fmt: skip
_RECORD_PROPERTIES = {
    "extraction_id": UUID, "submission_id": STRING, "task_name": {"type": ["string", "null"]},
    "status": build_enum(*EXTRACTION_STATUSES),
    "created_at": DATE_TIME, "submission_method": build_enum("api", "web_app"), "file_count": NON_NEGATIVE_INTEGER,
    "output_structure": build_enum("automatic", "per_invoice", "per_line_item"), "credits_deducted": NULLABLE_CREDITS,
    "available_outputs": build_array(build_enum(*OUTPUT_FORMATS)), "output_expires_at": DATE_TIME,
    "progress": NON_NEGATIVE_INTEGER,
    "cancellation_reason": STRING, "error": build_object(("code", "retryable"), code=STRING, retryable=BOOLEAN),
}  # fmt: skip
_RECORD_REQUIRED = ("extraction_id", "submission_id", "status", "created_at")
_RESPONSE_SCHEMAS: dict[str, Schema] = {
    "Balance": build_object(
        ("success", "credits_balance", "credits_reserved"), success=ALWAYS_TRUE, credits_balance={"type": "integer"},
        credits_reserved=NON_NEGATIVE_INTEGER,
    ),
    "Session": build_object(
        ("success", "upload_session_id", "files"), success=ALWAYS_TRUE, upload_session_id=CALLER_ID,
        files=build_array(build_object(("file_id", "file_name", "part_size"), file_id=CALLER_ID, file_name=STRING,
            part_size=NON_NEGATIVE_INTEGER)),
    ),
    "PartsResponse": build_object(
        ("success", "part_urls"), success=ALWAYS_TRUE, upload_session_id=CALLER_ID, file_id=CALLER_ID,
        file_name=STRING, part_size=NON_NEGATIVE_INTEGER,
        part_urls=build_array(build_object(("part_number", "url"), part_number=PART_NUMBER, url=URI)),
    ),
    "CompleteResponse": build_object(
        ("success", "file_id"), success=ALWAYS_TRUE, upload_session_id=CALLER_ID, file_id=CALLER_ID, file_name=STRING,
        status={"type": "string", "const": "completed"},
    ),
    "SubmitResponse": build_object(
        ("success", "extraction_id", "submission_state"), success=ALWAYS_TRUE, extraction_id=UUID,
        submission_state=STRING
    ),
    "OutputResponse": build_object(
        ("download_url", "format", "expires_in_seconds"), download_url=URI, format=build_enum(*OUTPUT_FORMATS),
        expires_in_seconds=NON_NEGATIVE_INTEGER,
    ),
    "Results": build_object(
        ("success", "rows", "columns", "row_count", "total_rows", "has_more", "next_offset"), success=ALWAYS_TRUE,
        extraction_id=UUID, status={"type": "string", "const": "completed"},
        output_structure=build_enum("per_invoice", "per_line_item"), output_expires_at=DATE_TIME,
        json_typed_values=BOOLEAN,
        columns=build_array(STRING), rows=build_array({"type": "object"}), offset=NON_NEGATIVE_INTEGER,
        limit=NON_NEGATIVE_INTEGER, row_count=NON_NEGATIVE_INTEGER,
        total_rows=NON_NEGATIVE_INTEGER, has_more=BOOLEAN, next_offset={"type": ["integer", "null"]},
        review_needed=build_ref("ReviewNeeded"),
        pages=build_ref("Pages"),
    ),
    "ListItem": build_object(_RECORD_REQUIRED, **_RECORD_PROPERTIES, file_names_preview=build_array(STRING),
        file_names_truncated=BOOLEAN),
    "List": build_object(
        ("success", "extractions", "has_more", "next_cursor"), success=ALWAYS_TRUE,
        extractions=build_array(build_ref("ListItem")),
        has_more=BOOLEAN, next_cursor={"type": ["string", "null"]},
    ),
    "Details": build_object(("success", "extraction"), success=ALWAYS_TRUE, extraction=build_ref("Record")),
    "Record": build_object(
        _RECORD_REQUIRED, **_RECORD_PROPERTIES, file_names=build_array(STRING),
        prompt={"oneOf": [STRING, build_ref("PromptObject")]},
        options=build_ref("Options"), pages=build_ref("Pages"), ai_uncertainty_notes=build_array(build_ref("Note")),
        review_needed=build_ref("ReviewNeeded"), questions=build_array(build_ref("Question")),
    ),
    "CancelRequested": build_object(
        ("success", "extraction_id", "status", "cancellation_requested", "cancel_requested_at"), success=ALWAYS_TRUE,
        extraction_id=UUID, status={"type": "string", "const": "processing"}, cancellation_requested=ALWAYS_TRUE,
        cancel_requested_at=DATE_TIME,
    ),
    "CancelResponse": {"oneOf": [build_ref("CancelRequested"), build_ref("Cancelled")]},
    "Deleted": build_object(("success",), success=ALWAYS_TRUE),
}  # fmt: skip
SCHEMAS: dict[str, Schema] = {**_REQUEST_SCHEMAS, **_SHARED_SCHEMAS, **_STATUS_SCHEMAS, **_RESPONSE_SCHEMAS}
