"""The five error envelopes of this vendor (sheet 05, section 8)."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Response

from sandbox.journal import get_utc_timestamp
from sandbox.request_context import ExactJsonResponse
from sandbox.smartbills_io.receipt_validation import ErrorDetail


def build_error_response(
    envelope: str, status: int, code: str, message: str, request_id: str, details: Sequence[ErrorDetail] = ()
) -> Response:
    """Return an error in one of the envelopes 1 to 5."""
    title = HTTPStatus(status).phrase
    if envelope == "2":
        return ExactJsonResponse(_build_problem_details(status, title, code, message, details), status)
    if envelope == "3":
        return ExactJsonResponse({"status": status, "code": code, "error": title, "message": message}, status)
    if envelope == "4":
        rows = details or [{"code": code, "message": message, "field": ""}]
        errors = [{"code": row["code"], "message": row["message"], "parameter": row["field"]} for row in rows]
        return ExactJsonResponse({"statusCode": status, "errors": errors}, status)
    if envelope == "5":
        html = f"<html><body><h1>{status} {title}</h1><pre>Authorization: Bearer sk_test_…\n{code}</pre></body></html>"
        return Response(html, status, media_type="text/html")
    error: dict[str, Any] = {"code": code, "message": message, "details": list(details)}
    return ExactJsonResponse({"error": {**error, "requestId": request_id, "timestamp": get_utc_timestamp()}}, status)


def _build_problem_details(
    status: int, title: str, code: str, message: str, details: Sequence[ErrorDetail]
) -> dict[str, Any]:
    errors: dict[str, list[str]] = {}
    for row in details:
        errors.setdefault(row["field"], []).append(row["message"])
    problem = {"type": "about:blank", "title": title, "status": status, "detail": message, "instance": "", "code": code}
    return {**problem, "errors": errors}


def format_retry_after(header_format: str, wait_seconds: float, refill_period: float) -> str | None:
    """Return the Retry-After header of a 429, or None; ``auto`` gives the refill period in whole seconds."""
    if header_format == "absent":
        return None
    if header_format == "http_date":
        return email.utils.formatdate(math.ceil(time.time() + wait_seconds), usegmt=True)
    return str(max(1, math.ceil(refill_period))) if header_format == "auto" else header_format
