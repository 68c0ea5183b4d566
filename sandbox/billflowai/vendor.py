"""The vendor: authentication, rate limits, faults, and the extraction of one document."""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response

from sandbox.billflowai import sample_answers
from sandbox.billflowai.errors import ApiError, GatewayError
from sandbox.billflowai.invoice_store import ExtractionResult, InvoiceStore, SubmittedFile
from sandbox.billflowai.limits import ConcurrencyLimiter, MinuteRateLimiter
from sandbox.billflowai.tokens import find_session_claims
from sandbox.journal import Journal
from sandbox.request_context import ExactJsonResponse, LostResponse, RequestContext, get_request_context
from sandbox.settings import SandboxSettings

RouteHandler = Callable[["Vendor", Request, str], Awaitable[Response]]


class Vendor:
    """BillflowAI: its stored invoices, limits and settings."""

    def __init__(self, journal: Journal, settings: SandboxSettings, minute_seconds: float) -> None:
        self.invoice_store, self.concurrency_limiter = InvoiceStore(journal, minute_seconds), ConcurrencyLimiter()
        self._settings, self._rate_limiter = settings, MinuteRateLimiter(journal, minute_seconds)
        self._call_counts: dict[str, int] = {}

    def get_setting(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's setting for an API key."""
        return self._settings.get_value(f"billflowai.{name}", api_key)

    def consume_fault(self, name: str, api_key: str) -> bool:
        """Return whether a counting fault setting applies to this call, and count it down."""
        return self._settings.consume_fault(f"billflowai.{name}", api_key)

    async def handle_request(self, request: Request, handler: RouteHandler) -> Response:
        """Check the token and the rate limit, then call the handler; an ApiError becomes its response."""
        context = get_request_context(request)
        try:
            api_key = self._authenticate_and_throttle(request, context)
            return await handler(self, request, api_key)
        except ApiError as error:
            if error.code == "RATE_LIMITED":
                self._set_retry_after_header(context, 1.0)
            return error.build_response()

    def _authenticate_and_throttle(self, request: Request, context: RequestContext) -> str:
        context.api_key = context.api_key or self._find_session_account(request)
        if context.api_key is None:
            raise ApiError("UNAUTHORIZED", "Missing or invalid credentials")
        now = time.time()
        wait_seconds = self._rate_limiter.record_call_and_compute_wait(
            context.api_key, self.get_setting("rate_limit_per_minute", context.api_key), now
        )
        if wait_seconds is not None:
            self._set_retry_after_header(context, wait_seconds)
            raise ApiError("RATE_LIMITED", "Too many requests.")
        self._call_counts[context.api_key] = self._call_counts.get(context.api_key, 0) + 1
        failure_interval = self.get_setting("http_500_every", context.api_key)
        if failure_interval and self._call_counts[context.api_key] % failure_interval == 0:
            raise ApiError("INTERNAL", "Something went wrong.")
        return context.api_key

    def _find_session_account(self, request: Request) -> str | None:
        """Return the account of a session token, None if the token is not one of the sandbox or has expired."""
        claims = find_session_claims(request.headers.get("authorization"))
        if claims is None:
            return None
        account = str(claims["sub"])
        return account if time.time() < claims["iat"] + self.get_setting("jwt_ttl", account) else None

    def _set_retry_after_header(self, context: RequestContext, wait_seconds: float) -> None:
        header_format = self.get_setting("retry_after", context.api_key)
        if header_format == "seconds":
            context.headers.setdefault("Retry-After", str(max(1, math.ceil(wait_seconds))))
        elif header_format == "http_date":
            retry_at = email.utils.formatdate(math.ceil(time.time() + wait_seconds), usegmt=True)
            context.headers.setdefault("Retry-After", retry_at)

    def compute_remaining_quota(self, api_key: str) -> int | None:
        """Return the number of extractions that the key has left, None if it has no quota."""
        quota = int(self.get_setting("quota_total", api_key))
        if not quota:
            return None
        return quota - int(self.get_setting("quota_used", api_key)) - self.invoice_store.count_recent_charges(api_key)

    def check_fault_and_quota(self, api_key: str) -> None:
        """Raise ApiError if a setting makes this extraction fail, or if the quota is used up."""
        code, _, count_text = str(self.get_setting("fail_code", api_key)).partition("=")
        if code:
            self._consume_fault_code(code, count_text, api_key)
            if code in {"502", "503", "504"}:
                raise GatewayError(int(code))
            raise ApiError(code, "Simulated failure, requested by the setting fail_code.")
        remaining_quota = self.compute_remaining_quota(api_key)
        if remaining_quota is not None and remaining_quota <= 0:
            raise ApiError("QUOTA_EXCEEDED", "The quota of the plan is used up.")

    def _consume_fault_code(self, code: str, count_text: str, api_key: str) -> None:
        if count_text.isdecimal():
            remaining_count = int(count_text) - 1
            self._settings.replace_value(
                "billflowai.fail_code", api_key, f"{code}={remaining_count}" if remaining_count > 0 else ""
            )

    async def extract_document(self, file: SubmittedFile) -> Response:
        """Return the extraction of a document: from the cache if its bytes are known, else a new, charged one."""
        cached_result = self.find_cached_result(file.api_key, sha256=file.sha256)
        if cached_result is not None:
            return self.build_extraction_response(file.api_key, cached_result)
        await asyncio.sleep(self.get_setting("latency_ms", file.api_key) / 1000)
        result = self._extract_and_record(file)
        if self.consume_fault("lost_response", file.api_key):
            return LostResponse()
        return self.build_extraction_response(file.api_key, result)

    def find_cached_result(
        self, api_key: str, *, sha256: str | None = None, url: str | None = None
    ) -> ExtractionResult | None:
        """Return the cached extraction of these bytes or this URL; None if the setting ``source`` is not auto."""
        if self.get_setting("source", api_key) != "auto":
            return None
        return self.invoice_store.find_cached_result(api_key, sha256=sha256, url=url)

    def _extract_and_record(self, file: SubmittedFile) -> ExtractionResult:
        api_key = file.api_key
        try:
            fields = sample_answers.build_invoice_fields(
                file.sha256,
                file.invoice_kind,
                accept_unknown_documents=self.get_setting("read_strangers", api_key),
                use_vendor_sample=self.get_setting("vendor_sample", api_key),
            )
        except sample_answers.UnreadableDocumentError as error:
            raise ApiError("EXTRACTION_FAILED", str(error)) from None
        if self.consume_fault("http_500_after_work", api_key):
            self.invoice_store.record_charge(file, self.compute_remaining_quota(api_key))
            raise ApiError("PERSIST_FAILED", "The result could not be stored.")
        return self.invoice_store.record_extraction(
            file, fields, self.get_setting("source", api_key), self.compute_remaining_quota(api_key)
        )

    def build_extraction_response(self, api_key: str, result: ExtractionResult) -> Response:
        """Return an extraction as a response, in the shape that the key's settings ask for."""
        fields = result.fields
        if result.source == "duplicate" and self.get_setting("duplicate_answer", api_key) == "stored":
            fields = (self.invoice_store.find_invoice(api_key, result.invoice_id or "") or {}).get(
                "parsed_data", fields
            )
        body = {**fields, "invoice_kind": result.invoice_kind, **_build_meta(result)}
        return ExactJsonResponse(
            sample_answers.shape_answer(
                body,
                null_fields=self.get_setting("null_fields", api_key),
                dropped_fields=self.get_setting("drop_fields", api_key),
                clear_line_totals=self.get_setting("line_total_null", api_key),
                numbers_as_strings=self.get_setting("numbers_as_strings", api_key),
            )
        )


def _build_meta(result: ExtractionResult) -> dict[str, Any]:
    if result.source is None:
        return {}
    duplicate_flag = {"duplicate": True} if result.source == "duplicate" else {}
    return {"meta": {"source": result.source, "invoiceId": result.invoice_id, **duplicate_flag}}
