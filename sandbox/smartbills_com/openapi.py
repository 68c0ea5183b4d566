"""The room's OpenAPI document: its routes, what they ask, and what each may answer (sheet 01, section 2)."""

from __future__ import annotations

from sandbox.openapi import (
    DOCUMENTS,
    INSTANT,
    TEXT,
    Schema,
    entity,
    form,
    listed,
    maybe,
    operation,
    parameter,
    ref,
    response,
    words,
)
from sandbox.openapi import document as made

_NUMBER, _WORD = maybe("number"), maybe("string")
_VENDOR: Schema = {**entity({"name": _WORD, "address": _WORD}), "type": ["object", "null"]}
_VENDOR_INFO: Schema = {**entity({"company_name": _WORD}), "type": ["object", "null"]}
_LINE = entity({"description": _WORD, "quantity": _NUMBER, "unit_price": _NUMBER, "amount": _NUMBER})
_DATA = entity(
    {
        "invoice_number": _WORD, "date": _WORD, "total_amount": _NUMBER, "currency": _WORD, "vendor": _VENDOR,
        "vendor_info": _VENDOR_INFO, "line_items": listed(_LINE),
    },
    (),
)  # fmt: skip
_JOB: Schema = {"id": TEXT, "status": TEXT, "created_at": INSTANT, "file_url": {"type": "string", "format": "uri"}}
_ERROR = entity({"code": TEXT, "message": TEXT})
_SCHEMAS: Schema = {
    "Job": entity(_JOB),
    "State": entity({**_JOB, "extracted_data": _DATA, "error": _ERROR}, tuple(_JOB)),
    "Failure": entity({"success": {"const": False}, "data": {"type": "null"}, "error": _ERROR}),
}
_HEADERS: Schema = {
    name: {"schema": TEXT, "required": True}
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-ID")
}
_RETRY_AFTER: Schema = {"Retry-After": {"schema": TEXT, "description": "seconds; may be absent"}}


def _wrapped(schema: Schema) -> Schema:
    """Return the envelope of an older version, which a knob brings back."""
    return entity({"success": {"const": True}, "data": schema, "error": {"type": "null"}})


def _answers(schema: Schema, *refusals: int) -> dict[int, Schema]:
    answers = {200: response("done", schema, _HEADERS)}
    for status in sorted({*refusals, 401, 429, 500}):
        headers = {**_HEADERS, **_RETRY_AFTER} if status == 429 else _HEADERS
        answers[status] = response("refused", ref("Failure"), headers)
    return answers


def _either(schema: Schema) -> Schema:
    return {"anyOf": [schema, _wrapped(schema)]}


_UPLOAD = entity(
    {
        "file": {"type": "string", "format": "binary"},
        "extract_line_items": {**words("true", "false"), "default": "true"},
        "webhook_url": TEXT,
    },
    ("file",),
)
_FILE_ANSWERS = {
    200: response("the bytes that were uploaded", {"type": "string", "format": "binary"}, kind="application/pdf"),
    404: response("no such file", ref("Failure")),
}
_FILE_ANSWERS[200]["content"] |= {kind: {"schema": {"type": "string"}} for kind in DOCUMENTS}
_PATHS: Schema = {
    "/v1/invoices/extract": {
        "post": operation("extractInvoice", "Upload one file and start its extraction, for a charge",
                          _answers(_either(ref("Job")), 400, 413), asks=form(_UPLOAD, *DOCUMENTS)),
    },
    "/v1/invoices/{id}": {
        "get": operation("getInvoice", "The state of one extraction", _answers(_either(ref("State")), 404),
                         parameters=(parameter("id", "path", TEXT),)),
    },
    "/v1/invoices": {
        "get": operation("listInvoices", "All extractions, newest first, without what was read",
                         _answers({"anyOf": [entity({"data": listed(ref("Job"))}), _wrapped(listed(ref("Job")))]},
                                  404)),
    },
    "/files/{token}/{name}": {
        "get": {
            **operation("getFile", "What was uploaded, at an address nobody guesses", _FILE_ANSWERS,
                        parameters=(parameter("token", "path", TEXT), parameter("name", "path", TEXT))),
            "security": [],
        },
    },
}  # fmt: skip


def document(server: str) -> Schema:
    """Return the OpenAPI 3.1 document of this room, served at ``server``."""
    return made("SmartBills extraction sandbox", server, _PATHS, _SCHEMAS)
