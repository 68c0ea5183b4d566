"""The OpenAPI document of this API: routes, requests and responses (sheet 01, section 2)."""

from __future__ import annotations

from sandbox.openapi import (
    DATE_TIME,
    DOCUMENT_MEDIA_TYPES,
    STRING,
    Schema,
    build_array,
    build_enum,
    build_multipart_body,
    build_nullable,
    build_object,
    build_openapi_document,
    build_operation,
    build_parameter,
    build_ref,
    build_response,
)

_NULLABLE_NUMBER, _NULLABLE_STRING = build_nullable("number"), build_nullable("string")
_VENDOR: Schema = {**build_object({"name": _NULLABLE_STRING, "address": _NULLABLE_STRING}), "type": ["object", "null"]}
_VENDOR_INFO: Schema = {**build_object({"company_name": _NULLABLE_STRING}), "type": ["object", "null"]}
_LINE_ITEM = build_object(
    {
        "description": _NULLABLE_STRING,
        "quantity": _NULLABLE_NUMBER,
        "unit_price": _NULLABLE_NUMBER,
        "amount": _NULLABLE_NUMBER,
    }
)
_EXTRACTED_DATA = build_object(
    {
        "invoice_number": _NULLABLE_STRING,
        "date": _NULLABLE_STRING,
        "total_amount": _NULLABLE_NUMBER,
        "currency": _NULLABLE_STRING,
        "vendor": _VENDOR,
        "vendor_info": _VENDOR_INFO,
        "line_items": build_array(_LINE_ITEM),
    },
    (),
)
_JOB_PROPERTIES: Schema = {
    "id": STRING,
    "status": STRING,
    "created_at": DATE_TIME,
    "file_url": {"type": "string", "format": "uri"},
}
_ERROR = build_object({"code": STRING, "message": STRING})
_SCHEMAS: Schema = {
    "Job": build_object(_JOB_PROPERTIES),
    "State": build_object(
        {**_JOB_PROPERTIES, "extracted_data": _EXTRACTED_DATA, "error": _ERROR}, tuple(_JOB_PROPERTIES)
    ),
    "Failure": build_object({"success": {"const": False}, "data": {"type": "null"}, "error": _ERROR}),
}
_RATE_LIMIT_HEADERS: Schema = {
    name: {"schema": STRING, "required": True}
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-ID")
}
_RETRY_AFTER_HEADER: Schema = {"Retry-After": {"schema": STRING, "description": "seconds; may be absent"}}


def _build_envelope(schema: Schema) -> Schema:
    """Return the envelope of an older API version, which the setting ``envelope`` brings back."""
    return build_object({"success": {"const": True}, "data": schema, "error": {"type": "null"}})


def _build_responses(schema: Schema, *error_statuses: int) -> dict[int, Schema]:
    responses = {200: build_response("done", schema, _RATE_LIMIT_HEADERS)}
    for status in sorted({*error_statuses, 401, 429, 500}):
        headers = {**_RATE_LIMIT_HEADERS, **_RETRY_AFTER_HEADER} if status == 429 else _RATE_LIMIT_HEADERS
        responses[status] = build_response("refused", build_ref("Failure"), headers)
    return responses


def _build_bare_or_wrapped(schema: Schema) -> Schema:
    return {"anyOf": [schema, _build_envelope(schema)]}


_UPLOAD_FORM = build_object(
    {
        "file": {"type": "string", "format": "binary"},
        "extract_line_items": {**build_enum("true", "false"), "default": "true"},
        "webhook_url": STRING,
    },
    ("file",),
)
_FILE_RESPONSES = {
    200: build_response(
        "the bytes that were uploaded", {"type": "string", "format": "binary"}, media_type="application/pdf"
    ),
    404: build_response("no such file", build_ref("Failure")),
}
_FILE_RESPONSES[200]["content"] |= {kind: {"schema": {"type": "string"}} for kind in DOCUMENT_MEDIA_TYPES}
_PATHS: Schema = {
    "/v1/invoices/extract": {
        "post": build_operation(
            "extractInvoice",
            "Upload one file and start its extraction, for a charge",
            _build_responses(_build_bare_or_wrapped(build_ref("Job")), 400, 413),
            request_body=build_multipart_body(_UPLOAD_FORM, *DOCUMENT_MEDIA_TYPES),
        ),
    },
    "/v1/invoices/{id}": {
        "get": build_operation(
            "getInvoice",
            "The state of one extraction",
            _build_responses(_build_bare_or_wrapped(build_ref("State")), 404),
            parameters=(build_parameter("id", "path", STRING),),
        ),
    },
    "/v1/invoices": {
        "get": build_operation(
            "listInvoices",
            "All extractions, newest first, without the extracted data",
            _build_responses(
                {
                    "anyOf": [
                        build_object({"data": build_array(build_ref("Job"))}),
                        _build_envelope(build_array(build_ref("Job"))),
                    ]
                },
                404,
            ),
        ),
    },
    "/files/{token}/{name}": {
        "get": {
            **build_operation(
                "getFile",
                "The uploaded file, at a URL that cannot be guessed",
                _FILE_RESPONSES,
                parameters=(build_parameter("token", "path", STRING), build_parameter("name", "path", STRING)),
            ),
            "security": [],
        },
    },
}


def build_document(server_url: str) -> Schema:
    """Return the OpenAPI 3.1 document of this API, served at ``server_url``."""
    return build_openapi_document("SmartBills extraction sandbox", server_url, _PATHS, _SCHEMAS)
