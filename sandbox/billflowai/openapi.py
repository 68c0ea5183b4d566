"""The OpenAPI document of this API: routes, requests and responses (sheet 03, section 2)."""

from __future__ import annotations

from sandbox.billflowai.errors import STATUS_BY_CODE
from sandbox.billflowai.handlers import INVOICE_KINDS, MAX_PAGE_SIZE
from sandbox.openapi import (
    BOOLEAN,
    DATE_TIME,
    DOCUMENT_MEDIA_TYPES,
    STRING,
    UUID,
    Schema,
    build_array,
    build_enum,
    build_integer,
    build_multipart_body,
    build_nullable,
    build_object,
    build_openapi_document,
    build_operation,
    build_parameter,
    build_ref,
    build_request_body,
    build_response,
)

_NULLABLE_AMOUNT = build_nullable("number", "string")
_NULLABLE_STRING = build_nullable("string")
_INVOICE_KIND = {**build_enum(*INVOICE_KINDS), "default": "expense"}
_ID_PARAMETER = build_parameter("id", "path", STRING)
_PAGE_PARAMETERS = (
    build_parameter("page", "query", build_integer(1, 999_999_999)),
    build_parameter("pageSize", "query", build_integer(1, MAX_PAGE_SIZE)),
)
_LINE_ITEM = build_object(
    {
        "description": _NULLABLE_STRING,
        "quantity": _NULLABLE_AMOUNT,
        "price": _NULLABLE_AMOUNT,
        "line_total": _NULLABLE_AMOUNT,
    }
)
_META = build_object(
    {"source": build_enum("extracted", "cache", "duplicate"), "invoiceId": UUID, "duplicate": BOOLEAN},
    ("source", "invoiceId"),
)
_EXTRACTED_FIELDS: Schema = {
    "invoice_number": _NULLABLE_STRING,
    "date": _NULLABLE_STRING,
    "counterparty": _NULLABLE_STRING,
    "total": _NULLABLE_AMOUNT,
    "subtotal": _NULLABLE_AMOUNT,
    "discount": _NULLABLE_AMOUNT,
    "tax": _NULLABLE_AMOUNT,
    "currency": _NULLABLE_STRING,
    "items": build_array(_LINE_ITEM),
}
_SCHEMAS: Schema = {
    "Extracted": build_object({**_EXTRACTED_FIELDS, "invoice_kind": build_enum(*INVOICE_KINDS), "meta": _META}, ()),
    "Stored": build_object(
        {
            "id": UUID,
            "invoice_number": _NULLABLE_STRING,
            "counterparty": _NULLABLE_STRING,
            "invoice_kind": build_enum(*INVOICE_KINDS),
            "file_url": _NULLABLE_STRING,
            "created_at": DATE_TIME,
            "parsed_data": {"type": "object"},
        }
    ),
    "Error": build_object(
        {
            "error": build_object(
                {
                    "code": build_enum(*STATUS_BY_CODE),
                    "message": STRING,
                    "details": build_array(build_object({"field": STRING, "message": STRING})),
                },
                ("code", "message"),
            )
        }
    ),
}
_RETRY_AFTER_HEADER = {"Retry-After": {"schema": STRING, "description": "seconds or an HTTP date; may be absent"}}
_ERROR_RESPONSES = {
    400: build_response("VALIDATION or INVALID_URL", build_ref("Error")),
    401: build_response("UNAUTHORIZED", build_ref("Error")),
    402: build_response("QUOTA_EXCEEDED", build_ref("Error")),
    404: build_response("NOT_FOUND", build_ref("Error")),
    422: build_response("FETCH_FAILED or EXTRACTION_FAILED", build_ref("Error")),
    429: build_response("RATE_LIMITED", build_ref("Error"), _RETRY_AFTER_HEADER),
    500: build_response("PERSIST_FAILED or INTERNAL", build_ref("Error")),
}


def _build_responses(schema: Schema, *error_statuses: int) -> dict[int, Schema]:
    common_statuses = (401, 429, 500)
    return {
        200: build_response("done", schema),
        **{status: _ERROR_RESPONSES[status] for status in sorted({*error_statuses, *common_statuses})},
    }


_URL_BODY = build_request_body(
    build_object(
        {"file_url": {"type": "string", "format": "uri"}, "invoice_kind": _INVOICE_KIND},
        ("file_url",),
        allows_additional=True,
    )
)
_FILE_SCHEMA: Schema = {"type": "string", "format": "binary"}
_FILE_BODY = build_multipart_body(
    build_object({"file": _FILE_SCHEMA, "invoice_kind": _INVOICE_KIND}, ("file",)), *DOCUMENT_MEDIA_TYPES
)
_UPDATE_BODY = build_request_body(
    build_object(
        {"invoice_kind": build_enum(*INVOICE_KINDS), "parsed_data": {"type": "object"}}, (), allows_additional=True
    )
)
_INVOICE_PAGE = build_object(
    {
        "invoices": build_array(build_ref("Stored")),
        "pagination": build_object(
            {
                "page": build_integer(1),
                "pageSize": build_integer(1, MAX_PAGE_SIZE),
                "totalPages": build_integer(0),
                "total": build_integer(0),
            }
        ),
    }
)
_DELETED_INVOICE = build_object({"id": UUID, "deleted": {"const": True}})
_PATHS: Schema = {
    "/api/extract-invoice": {
        "post": build_operation(
            "extractInvoice",
            "Download and read the file of a public address",
            _build_responses(build_ref("Extracted"), 400, 402, 422),
            request_body=_URL_BODY,
        ),
    },
    "/api/extract-invoice-file": {
        "post": build_operation(
            "extractInvoiceFile",
            "Read an uploaded PDF, JPG or PNG file",
            _build_responses(build_ref("Extracted"), 400, 402, 422),
            request_body=_FILE_BODY,
        ),
    },
    "/api/invoices": {
        "get": build_operation(
            "listInvoices",
            "Stored invoices, newest first",
            _build_responses(_INVOICE_PAGE, 400),
            parameters=_PAGE_PARAMETERS,
        ),
    },
    "/api/invoices/{id}": {
        "get": build_operation(
            "getInvoice", "One stored invoice", _build_responses(build_ref("Stored"), 404), parameters=(_ID_PARAMETER,)
        ),
        "patch": build_operation(
            "patchInvoice",
            "Correct a stored invoice",
            _build_responses(build_ref("Stored"), 400, 404),
            request_body=_UPDATE_BODY,
            parameters=(_ID_PARAMETER,),
        ),
        "delete": build_operation(
            "deleteInvoice",
            "Delete a stored invoice",
            _build_responses(_DELETED_INVOICE, 404),
            parameters=(_ID_PARAMETER,),
        ),
    },
}


def build_document(server_url: str) -> Schema:
    """Return the OpenAPI 3.1 document of this API, served at ``server_url``."""
    return build_openapi_document("BillflowAI sandbox", server_url, _PATHS, _SCHEMAS)
