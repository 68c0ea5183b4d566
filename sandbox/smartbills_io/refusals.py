"""The five error envelopes seen from this vendor (sheet 05, section 8)."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Response

from sandbox.journal import now_text
from sandbox.smartbills_io.shapes import Detail
from sandbox.visits import Json


def refusal(
    envelope: str, status: int, code: str, message: str, request_id: str, details: Sequence[Detail] = ()
) -> Response:
    """Return an error answer in one of the envelopes 1 to 5."""
    title = HTTPStatus(status).phrase
    if envelope == "2":
        return Json(_problem(status, title, code, message, details), status)
    if envelope == "3":
        return Json({"status": status, "code": code, "error": title, "message": message}, status)
    if envelope == "4":
        rows = details or [{"code": code, "message": message, "field": ""}]
        errors = [{"code": row["code"], "message": row["message"], "parameter": row["field"]} for row in rows]
        return Json({"statusCode": status, "errors": errors}, status)
    if envelope == "5":
        page = f"<html><body><h1>{status} {title}</h1><pre>Authorization: Bearer sk_test_…\n{code}</pre></body></html>"
        return Response(page, status, media_type="text/html")
    error: dict[str, Any] = {"code": code, "message": message, "details": list(details)}
    return Json({"error": {**error, "requestId": request_id, "timestamp": now_text()}}, status)


def _problem(status: int, title: str, code: str, message: str, details: Sequence[Detail]) -> dict[str, Any]:
    errors: dict[str, list[str]] = {}
    for row in details:
        errors.setdefault(row["field"], []).append(row["message"])
    problem = {"type": "about:blank", "title": title, "status": status, "detail": message, "instance": "", "code": code}
    return {**problem, "errors": errors}


def retry_after(form: str, wait: float, period: float) -> str | None:
    """Return the Retry-After header of a 429, or None; ``auto`` is the bucket's period, in whole seconds."""
    if form == "absent":
        return None
    if form == "http_date":
        return email.utils.formatdate(math.ceil(time.time() + wait), usegmt=True)
    return str(max(1, math.ceil(period))) if form == "auto" else form
