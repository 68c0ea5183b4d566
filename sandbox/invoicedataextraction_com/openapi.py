"""The OpenAPI document of this API: routes, parameters, requests and responses (sheet 02 §2)."""

from __future__ import annotations

from typing import Any

from sandbox.invoicedataextraction_com.schemas import (
    CALLER_ID,
    DATE_TIME,
    EXTRACTION_STATUSES,
    OUTPUT_FORMATS,
    SCHEMAS,
    UUID,
    Schema,
    build_enum,
    build_ref,
)

_SESSION_PARAMETER: Schema = {"name": "upload_session_id", "in": "path", "required": True, "schema": CALLER_ID}
_EXTRACTION_PARAMETER: Schema = {"name": "extraction_id", "in": "path", "required": True, "schema": UUID}


def _build_query_parameter(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _build_integer(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


_SCOPE_PARAMETER = _build_query_parameter("scope", build_enum("own", "team"))
_LIST_PARAMETERS = (
    _build_query_parameter("status", build_enum(*EXTRACTION_STATUSES)),
    _build_query_parameter("submission_method", build_enum("api", "web_app")),
    _build_query_parameter("created_after", DATE_TIME),
    _build_query_parameter("created_before", DATE_TIME),
    _build_query_parameter("limit", _build_integer(1, 100)),
    _build_query_parameter("cursor", {"type": "string"}),
    _SCOPE_PARAMETER,
)
RouteDescription = tuple[str, str, str, str | None, str, tuple[int, ...], tuple[Schema, ...]]
_SINGLE_EXTRACTION_ERRORS = (400, 403, 404)
_ROUTES: tuple[RouteDescription, ...] = (
    ("get", "/credits/balance", "balance", None, "Balance", (), ()),
    ("post", "/uploads/sessions", "session", "CreateSession", "Session", (400, 402, 409), ()),
    (
        "post",
        "/uploads/sessions/{upload_session_id}/parts",
        "parts",
        "PartsRequest",
        "PartsResponse",
        (400, 404, 409),
        (_SESSION_PARAMETER,),
    ),
    (
        "post",
        "/uploads/sessions/{upload_session_id}/complete",
        "complete",
        "CompleteRequest",
        "CompleteResponse",
        (400, 404, 409, 422, 502),
        (_SESSION_PARAMETER,),
    ),
    ("post", "/extractions", "submit", "SubmitRequest", "SubmitResponse", (400, 402, 409, 422, 503), ()),
    ("get", "/extractions", "list", None, "List", (400, 403), _LIST_PARAMETERS),
    (
        "get",
        "/extractions/{extraction_id}",
        "status",
        None,
        "StatusResponse",
        _SINGLE_EXTRACTION_ERRORS,
        (_EXTRACTION_PARAMETER, _build_query_parameter("wait", _build_integer(1, 45)), _SCOPE_PARAMETER),
    ),
    (
        "delete",
        "/extractions/{extraction_id}",
        "delete",
        None,
        "Deleted",
        (*_SINGLE_EXTRACTION_ERRORS, 409),
        (_EXTRACTION_PARAMETER, _SCOPE_PARAMETER),
    ),
    (
        "get",
        "/extractions/{extraction_id}/output",
        "output",
        None,
        "OutputResponse",
        _SINGLE_EXTRACTION_ERRORS,
        (
            _EXTRACTION_PARAMETER,
            _build_query_parameter("format", build_enum(*OUTPUT_FORMATS), required=True),
            _SCOPE_PARAMETER,
        ),
    ),
    (
        "get",
        "/extractions/{extraction_id}/results",
        "results",
        None,
        "Results",
        _SINGLE_EXTRACTION_ERRORS,
        (
            _EXTRACTION_PARAMETER,
            _build_query_parameter("offset", _build_integer(0, 10**9)),
            _build_query_parameter("limit", _build_integer(1, 1_000)),
            _SCOPE_PARAMETER,
        ),
    ),
    (
        "get",
        "/extractions/{extraction_id}/details",
        "details",
        None,
        "Details",
        _SINGLE_EXTRACTION_ERRORS,
        (_EXTRACTION_PARAMETER, _SCOPE_PARAMETER),
    ),
    (
        "post",
        "/extractions/{extraction_id}/cancel",
        "cancel",
        None,
        "CancelResponse",
        (*_SINGLE_EXTRACTION_ERRORS, 409),
        (_EXTRACTION_PARAMETER, _SCOPE_PARAMETER),
    ),
    (
        "post",
        "/extractions/{extraction_id}/answers",
        "answers",
        "AnswersRequest",
        "StatusResponse",
        _SINGLE_EXTRACTION_ERRORS,
        (_EXTRACTION_PARAMETER, _SCOPE_PARAMETER),
    ),
)


def build_document(server_url: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this API, served at ``server_url``."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation_id, request_schema, response_schema, error_statuses, parameters in _ROUTES:
        paths.setdefault(path, {})[method] = _build_operation(
            operation_id, request_schema, response_schema, error_statuses, parameters
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Invoice Data Extraction sandbox", "version": "1"},
        "servers": [{"url": server_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}, "schemas": SCHEMAS},
    }


def _build_operation(
    operation_id: str,
    request_schema: str | None,
    response_schema: str,
    error_statuses: tuple[int, ...],
    parameters: tuple[Schema, ...],
) -> dict[str, Any]:
    status = "202" if operation_id == "submit" else "200"
    operation: dict[str, Any] = {
        "operationId": operation_id,
        "responses": {status: _build_json_response(response_schema)},
    }
    operation["responses"] |= {
        str(error_status): _build_json_response("ErrorEnvelope") for error_status in (*error_statuses, 401, 429, 500)
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if request_schema:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": build_ref(request_schema)}},
        }
    return operation


def _build_json_response(schema_name: str) -> dict[str, Any]:
    return {"description": schema_name, "content": {"application/json": {"schema": build_ref(schema_name)}}}
