"""The errors of this vendor: each has a code, which determines the status, and a message (sheet 03, section 4)."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from sandbox.request_context import ExactJsonResponse

STATUS_BY_CODE = {
    "VALIDATION": 400,
    "INVALID_URL": 400,
    "UNAUTHORIZED": 401,
    "QUOTA_EXCEEDED": 402,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "FETCH_FAILED": 422,
    "EXTRACTION_FAILED": 422,
    "RATE_LIMITED": 429,
    "PERSIST_FAILED": 500,
    "INTERNAL": 500,
}


class ApiError(Exception):
    """The vendor refuses the call with this error."""

    def __init__(self, code: str, message: str, details: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def build_response(self) -> Response:
        """Return the error as a response; a code that is not in the sheet is a 500."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            error["details"] = self.details
        return ExactJsonResponse({"error": error}, STATUS_BY_CODE.get(self.code, 500))


class GatewayError(ApiError):
    """A gateway between caller and vendor answers with a page of its own."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status), "a page of a gateway")
        self.status = status

    def build_response(self) -> Response:
        """Return an HTML page."""
        html = f"<html><body><h1>{self.status}</h1></body></html>"
        return Response(html, self.status, media_type="text/html")


def build_validation_error(field: str, message: str) -> ApiError:
    """Return the error for a request that does not fit the schema."""
    return ApiError("VALIDATION", f"{field}: {message}" if field else message, [{"field": field, "message": message}])
