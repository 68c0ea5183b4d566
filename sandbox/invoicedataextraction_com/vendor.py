"""The vendor: authentication, rate limits, faults, its upload sessions and its extractions."""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.errors import TASK_ERRORS, ApiError, build_error_body, build_garbled_response
from sandbox.invoicedataextraction_com.extraction_store import ExtractionStore, Row
from sandbox.invoicedataextraction_com.limits import CALLS_PER_MINUTE, BucketRateLimiter
from sandbox.invoicedataextraction_com.presigned_urls import PresignedUrlSigner
from sandbox.invoicedataextraction_com.upload_store import UploadStore
from sandbox.journal import Journal
from sandbox.request_context import ExactJsonResponse, LostResponse, get_request_context
from sandbox.settings import SandboxSettings

RouteHandler = Callable[["Vendor", Request, str], Awaitable[Response]]
COUNTED_SETTING_TARGETS = {
    "lost_response": (
        "balance", "session", "parts", "put", "complete", "submit", "status", "output", "download", "delete", "list",
        "results", "details", "cancel", "answers",
    ),
    "limits": tuple(CALLS_PER_MINUTE),
    "task_fail_code": tuple(TASK_ERRORS),
}  # fmt: skip
COUNTED_SETTING_TARGETS["http_500_after_work"] = COUNTED_SETTING_TARGETS["lost_response"]
COUNTED_SETTING_TARGETS["garbled_response"] = COUNTED_SETTING_TARGETS["lost_response"]
"""The settings that are names with counts, and the names that each accepts."""
UNLIMITED_COUNT = 2**31


class Vendor:
    """invoicedataextraction.com: its stores, limits and settings, shared by all routes."""

    def __init__(self, journal: Journal, settings: SandboxSettings, minute_seconds: float) -> None:
        self.upload_store, self.extraction_store = UploadStore(journal), ExtractionStore(journal)
        self.url_signer = PresignedUrlSigner(journal)
        self.minute_seconds = minute_seconds
        self._settings, self._rate_limiter = settings, BucketRateLimiter(journal, minute_seconds)
        self._call_counts: dict[str, int] = {}
        self._first_put_times: dict[str, float] = {}
        self._remaining_counts: dict[tuple[str, str], tuple[Any, dict[str, int]]] = {}
        self._change_events: dict[str, asyncio.Event] = {}

    def get_setting(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's setting for an API key."""
        return self._settings.get_value(f"invoicedataextraction_com.{name}", api_key)

    def consume_fault(self, name: str, api_key: str) -> bool:
        """Return whether a counting fault setting applies to this call, and count it down."""
        return self._settings.consume_fault(f"invoicedataextraction_com.{name}", api_key)

    def get_setting_counts(self, name: str, api_key: str) -> dict[str, int]:
        """Return the remaining counts of a setting like ``submit=1,complete=2``; a caller may change them."""
        value = self.get_setting(name, api_key)
        counted_value, remaining = self._remaining_counts.get((name, api_key), (None, {}))
        if counted_value is not value:
            remaining = _parse_setting_counts(name, value)
            self._remaining_counts[name, api_key] = (value, remaining)
        return remaining

    def consume_counted_fault(self, name: str, target: str, api_key: str) -> bool:
        """Return whether a setting like ``submit=1,complete=2`` applies to this call, and count it down."""
        remaining = self.get_setting_counts(name, api_key)
        remaining[target] = remaining.get(target, 0) - 1
        return remaining[target] >= 0

    def get_current_time(self, api_key: str | None) -> float:
        """Return the vendor's time as this key sees it, in seconds since the epoch."""
        return time.time() + float(self.get_setting("clock", api_key))

    def convert_to_real_seconds(self, seconds: float) -> float:
        """Return the real seconds of a number of the vendor's seconds."""
        return seconds * self.minute_seconds / 60

    async def handle_request(self, request: Request, route: str, bucket: str, handler: RouteHandler) -> Response:
        """Check the key and the rate limit, call the handler, then apply the fault settings to its response."""
        await request.body()  # an answer before the body is read would break the caller's connection
        try:
            api_key = self._authenticate_request(request)
            rate_limit_response = self._check_rate_limit(api_key, bucket)
            if rate_limit_response is not None:
                return rate_limit_response
            if self._should_fail_nth_call(api_key):
                raise ApiError("INTERNAL_ERROR", "Something went wrong.")
            self.extraction_store.finish_due_extractions(api_key, self.get_current_time(api_key))
            response = await handler(self, request, api_key)
            return self.apply_response_faults(response, route, api_key)
        except ApiError as error:
            return error.build_response()

    def apply_response_faults(self, response: Response, route: str, api_key: str) -> Response:
        """Return the response, or the fault that a setting puts in its place after the work is done."""
        if self.consume_counted_fault("lost_response", route, api_key):
            return LostResponse()
        if self.consume_counted_fault("http_500_after_work", route, api_key):
            return ApiError("INTERNAL_ERROR", "Something went wrong.").build_response()
        if self.consume_counted_fault("garbled_response", route, api_key):
            return build_garbled_response(self.get_setting_counts("garbled_response", api_key)[route], response)
        return response

    def compute_put_wait(self, api_key: str) -> float:
        """Return the seconds for which the storage accepts no PUT."""
        now = time.time()
        busy_until = self._first_put_times.setdefault(api_key, now) + self.get_setting("put_busy_seconds", api_key)
        return max(0.0, float(busy_until - now))

    def get_balance_and_reserved_credits(self, api_key: str) -> tuple[int, int]:
        """Return a key's balance and the credits that its running extractions reserve."""
        balance = self.get_setting("credits", api_key) - self.extraction_store.sum_charged_pages(api_key)
        _, reserved_credits = self.extraction_store.count_running_and_reserved_credits(api_key)
        return balance, reserved_credits

    def get_requested_extraction(self, request: Request, api_key: str) -> Row:
        """Return the extraction in the path; raises ApiError if the key has no such extraction."""
        row = self.extraction_store.find_extraction(api_key, request.path_params["extraction_id"].lower())
        if row is None:
            raise ApiError("EXTRACTION_NOT_FOUND", "No such extraction.")
        return row

    def notify_extraction_changed(self, extraction_id: str) -> None:
        """Wake the calls that wait for a change of an extraction."""
        event = self._change_events.pop(extraction_id, None)
        if event is not None:
            event.set()

    async def wait_for_extraction_change(self, extraction_id: str, seconds: float) -> None:
        """Wait until a call changes an extraction, at most for ``seconds``."""
        event = self._change_events.setdefault(extraction_id, asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    def _authenticate_request(self, request: Request) -> str:
        api_key = get_request_context(request).api_key
        if api_key is None:
            raise ApiError("UNAUTHENTICATED", "The API key is missing or wrong.")
        key_state = self.get_setting("key_state", api_key)
        if key_state != "valid":
            raise ApiError(f"API_KEY_{key_state.upper()}", f"The API key is {key_state}.")
        return api_key

    def _check_rate_limit(self, api_key: str, bucket: str) -> Response | None:
        limit = self.get_setting_counts("limits", api_key).get(bucket, CALLS_PER_MINUTE[bucket])
        wait_seconds = self._rate_limiter.record_call_and_compute_wait(api_key, bucket, limit, time.time())
        if wait_seconds is None or not self.get_setting("rate_limits", api_key):
            return None
        headers = _build_retry_after_header(self.get_setting("retry_after", api_key), wait_seconds)
        if self.get_setting("rate_limit_body", api_key) == "html":
            html = "<html><body><h1>429 Too Many Requests</h1></body></html>"
            return Response(html, 429, headers=headers, media_type="text/html")
        details = {"retry_after": round(wait_seconds, 3), "retry_after_seconds": round(wait_seconds, 3)}
        error = build_error_body("RATE_LIMITED", f"Rate limit exceeded for {bucket} endpoint", details)
        return ExactJsonResponse({"success": False, "error": error}, 429, headers=headers)

    def _should_fail_nth_call(self, api_key: str) -> bool:
        self._call_counts[api_key] = self._call_counts.get(api_key, 0) + 1
        failure_interval = self.get_setting("http_500_every", api_key)
        return bool(failure_interval and self._call_counts[api_key] % failure_interval == 0)


def _build_retry_after_header(header_format: str, wait_seconds: float) -> dict[str, str]:
    if header_format == "absent":
        return {}
    seconds = max(1, math.ceil(wait_seconds))
    if header_format == "http_date":
        return {"Retry-After": email.utils.formatdate(math.ceil(time.time() + wait_seconds), usegmt=True)}
    return {"Retry-After": str(seconds)}


def _parse_setting_counts(name: str, value: tuple[str, ...]) -> dict[str, int]:
    counts = {}
    for entry in value:
        target, _, count = entry.partition("=")
        if target not in COUNTED_SETTING_TARGETS[name] or not (count or "1").isdecimal():
            known_targets = ", ".join(COUNTED_SETTING_TARGETS[name])
            raise ApiError(
                "INTERNAL_ERROR", f"setting {name} cannot be {entry!r}; it accepts {known_targets}, each with =count"
            )
        counts[target] = int(count) if count else UNLIMITED_COUNT
    return counts
