"""The room's OpenAPI document: routes, their parameters, and what each may answer (sheet 02 §2)."""

from __future__ import annotations

from typing import Any

from sandbox.invoicedataextraction_com.schemas import FORMATS, ID, INSTANT, SCHEMAS, STATUSES, UUID, Schema, ref, words

_SESSION: Schema = {"name": "upload_session_id", "in": "path", "required": True, "schema": ID}
_EXTRACTION: Schema = {"name": "extraction_id", "in": "path", "required": True, "schema": UUID}


def _query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_SCOPE = _query("scope", words("own", "team"))
_LIST = (
    _query("status", words(*STATUSES)), _query("submission_method", words("api", "web_app")),
    _query("created_after", INSTANT), _query("created_before", INSTANT), _query("limit", _whole(1, 100)),
    _query("cursor", {"type": "string"}), _SCOPE,
)  # fmt: skip
Route = tuple[str, str, str, str | None, str, tuple[int, ...], tuple[Schema, ...]]
_OF_ONE = (400, 403, 404)
_ROUTES: tuple[Route, ...] = (
    ("get", "/credits/balance", "balance", None, "Balance", (), ()),
    ("post", "/uploads/sessions", "session", "CreateSession", "Session", (400, 402, 409), ()),
    ("post", "/uploads/sessions/{upload_session_id}/parts", "parts", "PartsRequest", "PartsResponse", (400, 404, 409),
     (_SESSION,)),
    ("post", "/uploads/sessions/{upload_session_id}/complete", "complete", "CompleteRequest", "CompleteResponse",
     (400, 404, 409, 422, 502), (_SESSION,)),
    ("post", "/extractions", "submit", "SubmitRequest", "SubmitResponse", (400, 402, 409, 422, 503), ()),
    ("get", "/extractions", "list", None, "List", (400, 403), _LIST),
    ("get", "/extractions/{extraction_id}", "status", None, "StatusResponse", _OF_ONE,
     (_EXTRACTION, _query("wait", _whole(1, 45)), _SCOPE)),
    ("delete", "/extractions/{extraction_id}", "delete", None, "Deleted", (*_OF_ONE, 409), (_EXTRACTION, _SCOPE)),
    ("get", "/extractions/{extraction_id}/output", "output", None, "OutputResponse", _OF_ONE,
     (_EXTRACTION, _query("format", words(*FORMATS), required=True), _SCOPE)),
    ("get", "/extractions/{extraction_id}/results", "results", None, "Results", _OF_ONE,
     (_EXTRACTION, _query("offset", _whole(0, 10**9)), _query("limit", _whole(1, 1_000)), _SCOPE)),
    ("get", "/extractions/{extraction_id}/details", "details", None, "Details", _OF_ONE, (_EXTRACTION, _SCOPE)),
    ("post", "/extractions/{extraction_id}/cancel", "cancel", None, "CancelResponse", (*_OF_ONE, 409),
     (_EXTRACTION, _SCOPE)),
    ("post", "/extractions/{extraction_id}/answers", "answers", "AnswersRequest", "StatusResponse", _OF_ONE,
     (_EXTRACTION, _SCOPE)),
)  # fmt: skip


def document(server: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this room, served below ``server``."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, name, asks, answers, refusals, parameters in _ROUTES:
        paths.setdefault(path, {})[method] = _operation(name, asks, answers, refusals, parameters)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Invoice Data Extraction sandbox", "version": "1"},
        "servers": [{"url": server}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}, "schemas": SCHEMAS},
    }


def _operation(
    name: str, asks: str | None, answers: str, refusals: tuple[int, ...], parameters: tuple[Schema, ...]
) -> dict[str, Any]:
    status = "202" if name == "submit" else "200"
    operation: dict[str, Any] = {"operationId": name, "responses": {status: _content(answers)}}
    operation["responses"] |= {str(code): _content("ErrorEnvelope") for code in (*refusals, 401, 429, 500)}
    if parameters:
        operation["parameters"] = list(parameters)
    if asks:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(asks)}}}
    return operation


def _content(schema: str) -> dict[str, Any]:
    return {"description": schema, "content": {"application/json": {"schema": ref(schema)}}}
