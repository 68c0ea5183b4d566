"""The room's OpenAPI document: its routes, what they ask, and what each may answer (sheet 03, section 2)."""

from __future__ import annotations

from sandbox.billflowai.calls import KINDS, MOST_PER_PAGE
from sandbox.billflowai.refusals import STATUSES
from sandbox.openapi import (
    DOCUMENTS,
    INSTANT,
    SWITCH,
    TEXT,
    UUID,
    Schema,
    body,
    entity,
    form,
    listed,
    maybe,
    operation,
    parameter,
    ref,
    response,
    whole,
    words,
)
from sandbox.openapi import document as made

_AMOUNT = maybe("number", "string")
_WORD = maybe("string")
_KIND = {**words(*KINDS), "default": "expense"}
_ID = parameter("id", "path", TEXT)
_PAGES = (parameter("page", "query", whole(1, 999_999_999)), parameter("pageSize", "query", whole(1, MOST_PER_PAGE)))
_LINE = entity({"description": _WORD, "quantity": _AMOUNT, "price": _AMOUNT, "line_total": _AMOUNT})
_META = entity(
    {"source": words("extracted", "cache", "duplicate"), "invoiceId": UUID, "duplicate": SWITCH},
    ("source", "invoiceId"),
)
_FIELDS: Schema = {
    "invoice_number": _WORD, "date": _WORD, "counterparty": _WORD, "total": _AMOUNT, "subtotal": _AMOUNT,
    "discount": _AMOUNT, "tax": _AMOUNT, "currency": _WORD, "items": listed(_LINE),
}  # fmt: skip
_SCHEMAS: Schema = {
    "Extracted": entity({**_FIELDS, "invoice_kind": words(*KINDS), "meta": _META}, ()),
    "Stored": entity(
        {
            "id": UUID, "invoice_number": _WORD, "counterparty": _WORD, "invoice_kind": words(*KINDS),
            "file_url": _WORD, "created_at": INSTANT, "parsed_data": {"type": "object"},
        }
    ),
    "Error": entity(
        {
            "error": entity(
                {
                    "code": words(*STATUSES), "message": TEXT,
                    "details": listed(entity({"field": TEXT, "message": TEXT})),
                },
                ("code", "message"),
            )
        }
    ),
}  # fmt: skip
_THROTTLED = {"Retry-After": {"schema": TEXT, "description": "seconds or an HTTP date; may be absent"}}
_REFUSALS = {
    400: response("VALIDATION or INVALID_URL", ref("Error")),
    401: response("UNAUTHORIZED", ref("Error")),
    402: response("QUOTA_EXCEEDED", ref("Error")),
    404: response("NOT_FOUND", ref("Error")),
    422: response("FETCH_FAILED or EXTRACTION_FAILED", ref("Error")),
    429: response("RATE_LIMITED", ref("Error"), _THROTTLED),
    500: response("PERSIST_FAILED or INTERNAL", ref("Error")),
}


def _answers(schema: Schema, *refusals: int) -> dict[int, Schema]:
    everywhere = (401, 429, 500)
    return {200: response("done", schema), **{status: _REFUSALS[status] for status in sorted({*refusals, *everywhere})}}


_URL_BODY = body(entity({"file_url": {"type": "string", "format": "uri"}, "invoice_kind": _KIND}, ("file_url",),
                        is_open=True))  # fmt: skip
_FILE: Schema = {"type": "string", "format": "binary"}
_FILE_BODY = form(entity({"file": _FILE, "invoice_kind": _KIND}, ("file",)), *DOCUMENTS)
_CHANGE_BODY = body(entity({"invoice_kind": words(*KINDS), "parsed_data": {"type": "object"}}, (), is_open=True))
_PAGE = entity(
    {
        "invoices": listed(ref("Stored")),
        "pagination": entity(
            {"page": whole(1), "pageSize": whole(1, MOST_PER_PAGE), "totalPages": whole(0), "total": whole(0)}
        ),
    }
)
_DELETED = entity({"id": UUID, "deleted": {"const": True}})
_PATHS: Schema = {
    "/api/extract-invoice": {
        "post": operation("extractInvoice", "Download and read the file of a public address",
                          _answers(ref("Extracted"), 400, 402, 422), asks=_URL_BODY),
    },
    "/api/extract-invoice-file": {
        "post": operation("extractInvoiceFile", "Read an uploaded PDF, JPG or PNG file",
                          _answers(ref("Extracted"), 400, 402, 422), asks=_FILE_BODY),
    },
    "/api/invoices": {
        "get": operation("listInvoices", "Stored invoices, newest first", _answers(_PAGE, 400), parameters=_PAGES),
    },
    "/api/invoices/{id}": {
        "get": operation("getInvoice", "One stored invoice", _answers(ref("Stored"), 404), parameters=(_ID,)),
        "patch": operation("patchInvoice", "Correct a stored invoice", _answers(ref("Stored"), 400, 404),
                           asks=_CHANGE_BODY, parameters=(_ID,)),
        "delete": operation("deleteInvoice", "Delete a stored invoice", _answers(_DELETED, 404), parameters=(_ID,)),
    },
}  # fmt: skip


def document(server: str) -> Schema:
    """Return the OpenAPI 3.1 document of this room, served at ``server``."""
    return made("BillflowAI sandbox", server, _PATHS, _SCHEMAS)
