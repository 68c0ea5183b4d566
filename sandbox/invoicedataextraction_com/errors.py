"""The errors of this vendor: the HTTP status of each code, and whether the caller may retry (sheet 02 §4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from starlette.responses import Response

from sandbox.request_context import ExactJsonResponse

API_ERRORS: dict[str, tuple[int, bool]] = {
    "RATE_LIMITED": (429, True),
    "INTERNAL_ERROR": (500, True),
    "UPLOAD_COMPLETE_FAILED": (502, True),
    "SUBMISSIONS_PAUSED": (503, True),
    "UNAUTHENTICATED": (401, False),
    "API_KEY_EXPIRED": (401, False),
    "API_KEY_REVOKED": (401, False),
    "FORBIDDEN": (403, False),
    "INVALID_INPUT": (400, False),
    "DUPLICATE_FILE_NAME": (400, False),
    "DUPLICATE_FILE_ID": (400, False),
    "FILE_TOO_LARGE": (400, False),
    "TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED": (400, False),
    "INSUFFICIENT_CREDITS": (402, False),
    "SESSION_ALREADY_INITIALIZED": (409, False),
    "FILE_NOT_FOUND": (404, False),
    "FILE_NOT_UPLOADABLE": (409, False),
    "FILE_ABORTED": (409, False),
    "UPLOAD_ID_NOT_FOUND": (409, False),
    "INVALID_COMPLETION_PARTS": (400, False),
    "OBJECT_SIZE_MISMATCH": (422, False),
    "SUBMISSION_ID_ALREADY_USED": (409, False),
    "EXTRACTION_NOT_FOUND": (404, False),
    "NOT_FOUND": (404, False),
    "METHOD_NOT_ALLOWED": (405, False),
    "OUTPUT_NOT_AVAILABLE": (404, False),
    "OUTPUT_EXPIRED": (404, False),
    "EXTRACTION_IN_PROGRESS": (409, False),
    "EXTRACTION_NOT_CANCELLABLE": (409, False),
}
TASK_ERRORS: dict[str, tuple[int, bool]] = {
    "CONCURRENT_TASK_LIMIT": (409, True),
    "SUBMISSION_STALLED": (409, True),
    "INTERNAL_ERROR": (500, True),
    "INSUFFICIENT_CREDITS": (402, False),
    "ENCRYPTED_FILE": (422, False),
    "FILE_PAGE_LIMIT_EXCEEDED": (422, False),
    "NO_PAGES_FOUND": (422, False),
    "PROMPT_REJECTED": (422, False),
    "PROMPT_UNCLEAR": (422, False),
    "VALIDATION_FAILED": (422, False),
    "FILE_SIZE_LIMIT_EXCEEDED": (422, False),
    "PROCESSING_FILE_SIZE_LIMIT_EXCEEDED": (422, False),
}
"""Errors of a task (sheet 02 §4.2): the HTTP status with ``task_errors=as_http``, and whether a retry may succeed."""


class ApiError(Exception):
    """The vendor refuses the call with this error."""

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def build_response(self) -> Response:
        """Return the error in the vendor's envelope."""
        status, _ = API_ERRORS.get(self.code) or TASK_ERRORS[self.code]
        return ExactJsonResponse(
            {"success": False, "error": build_error_body(self.code, self.message, self.details)}, status
        )


def build_invalid_input_error(message: str, *path: str | int) -> ApiError:
    """Return INVALID_INPUT with one issue."""
    return ApiError("INVALID_INPUT", message, {"issues": [{"message": message, "path": list(path)}]})


def build_error_body(code: str, message: str, details: dict[str, Any] | None) -> dict[str, Any]:
    """Return the ``error`` object of an envelope or of a failed task."""
    _, is_retryable = API_ERRORS.get(code) or TASK_ERRORS[code]
    return {"code": code, "message": message, "retryable": is_retryable, "details": details}


def build_storage_error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error in the XML format of the storage behind presigned URLs."""
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(code)}</Code><Message>{escape(message)}'
    return Response(f"{xml}</Message></Error>", status, headers, media_type="application/xml")


def build_garbled_response(number: int, response: Response) -> Response:
    """Return a 200 without sense in place of ``response``: by turns a page, half of its body, and an empty object."""
    if number % 3 == 0:
        return Response("<html><body>Please log in</body></html>", media_type="text/html")
    body = bytes(response.body)[: len(response.body) // 2] if number % 3 == 1 else b"{}"
    return Response(body, media_type="application/json")
