"""The vendor: whom it lets in, how many at a time, and how it reads one document."""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response

from sandbox.billflowai import readings
from sandbox.billflowai.limits import Desks, Minute
from sandbox.billflowai.refusals import GatewayPage, Refused
from sandbox.billflowai.store import Document, Filed, Store
from sandbox.billflowai.tokens import claims_of
from sandbox.journal import Journal
from sandbox.knobs import Knobs
from sandbox.visits import Json, Lost, Visit, visit_of

Work = Callable[["Vendor", Request, str], Awaitable[Response]]


class Vendor:
    """BillflowAI: its invoices, its patience with callers, and the knobs that try theirs."""

    def __init__(self, journal: Journal, knobs: Knobs, minute_seconds: float) -> None:
        self.store, self.desks = Store(journal, minute_seconds), Desks()
        self._knobs, self._minute = knobs, Minute(journal, minute_seconds)
        self._calls: dict[str, int] = {}

    def knob(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's knob for a key."""
        return self._knobs.get(f"billflowai.{name}", api_key)

    def take(self, name: str, api_key: str) -> bool:
        """Return whether a counting knob strikes now."""
        return self._knobs.take(f"billflowai.{name}", api_key)

    async def answer(self, request: Request, work: Work) -> Response:
        """Check the token and the minute, then do the work; a refusal becomes its answer."""
        visit = visit_of(request)
        try:
            api_key = self._let_in(request, visit)
            return await work(self, request, api_key)
        except Refused as refused:
            if refused.code == "RATE_LIMITED":
                self._tell_wait(visit, 1.0)
            return refused.answer()

    def _let_in(self, request: Request, visit: Visit) -> str:
        visit.api_key = visit.api_key or self._account(request)
        if visit.api_key is None:
            raise Refused("UNAUTHORIZED", "Missing or invalid credentials")
        now = time.time()
        wait = self._minute.wait(visit.api_key, self.knob("rate_limit_per_minute", visit.api_key), now)
        if wait is not None:
            self._tell_wait(visit, wait)
            raise Refused("RATE_LIMITED", "Too many requests.")
        self._calls[visit.api_key] = self._calls.get(visit.api_key, 0) + 1
        every = self.knob("http_500_every", visit.api_key)
        if every and self._calls[visit.api_key] % every == 0:
            raise Refused("INTERNAL", "Something went wrong.")
        return visit.api_key

    def _account(self, request: Request) -> str | None:
        """Return whose world a session token opens, None where it is none of ours or has expired."""
        claims = claims_of(request.headers.get("authorization"))
        if claims is None:
            return None
        account = str(claims["sub"])
        return account if time.time() < claims["iat"] + self.knob("jwt_ttl", account) else None

    def _tell_wait(self, visit: Visit, wait: float) -> None:
        form = self.knob("retry_after", visit.api_key)
        if form == "seconds":
            visit.headers.setdefault("Retry-After", str(max(1, math.ceil(wait))))
        elif form == "http_date":
            at = email.utils.formatdate(math.ceil(time.time() + wait), usegmt=True)
            visit.headers.setdefault("Retry-After", at)

    def free(self, api_key: str) -> int | None:
        """Return how many extractions the key has left, None where it has no quota."""
        total = self.knob("quota_total", api_key)
        return total - self.knob("quota_used", api_key) - self.store.charged(api_key) if total else None

    def check_turn(self, api_key: str) -> None:
        """Raise Refused where a knob lets this extraction fail, or the quota is used up."""
        code, _, times = str(self.knob("fail_code", api_key)).partition("=")
        if code:
            self._count_down(code, times, api_key)
            raise GatewayPage(int(code)) if code in {"502", "503", "504"} else Refused(code, "As the knob says.")
        free = self.free(api_key)
        if free is not None and free <= 0:
            raise Refused("QUOTA_EXCEEDED", "The quota of the plan is used up.")

    def _count_down(self, code: str, times: str, api_key: str) -> None:
        if times.isdecimal():
            left = int(times) - 1
            self._knobs.wear("billflowai.fail_code", api_key, f"{code}={left}" if left > 0 else "")

    async def read(self, document: Document) -> Response:
        """Return what is read of a document: from memory where its bytes came before, else by work, for a charge."""
        cached = self.recalled(document.api_key, sha256=document.sha256)
        if cached is not None:
            return self.tell(document.api_key, cached)
        await asyncio.sleep(self.knob("latency_ms", document.api_key) / 1000)
        filed = self._work(document)
        return Lost() if self.take("lost_response", document.api_key) else self.tell(document.api_key, filed)

    def recalled(self, api_key: str, *, sha256: str | None = None, url: str | None = None) -> Filed | None:
        """Return what the vendor remembers of these bytes or this address, unless a knob says what it shall tell."""
        return self.store.cached(api_key, sha256=sha256, url=url) if self.knob("source", api_key) == "auto" else None

    def _work(self, document: Document) -> Filed:
        key = document.api_key
        strangers, sample = self.knob("read_strangers", key), self.knob("vendor_sample", key)
        try:
            reading = readings.read(document.sha256, document.kind, reads_strangers=strangers, tells_sample=sample)
        except readings.Unreadable as unreadable:
            raise Refused("EXTRACTION_FAILED", str(unreadable)) from None
        if self.take("http_500_after_work", key):
            self.store.charge(document, self.free(key))
            raise Refused("PERSIST_FAILED", "The result could not be stored.")
        return self.store.file(document, reading, self.knob("source", key), self.free(key))

    def tell(self, api_key: str, filed: Filed) -> Response:
        """Return a reading as an answer, in the shape that the key's knobs ask for."""
        reading = filed.reading
        if filed.source == "duplicate" and self.knob("duplicate_answer", api_key) == "stored":
            reading = (self.store.find(api_key, filed.invoice_id or "") or {}).get("parsed_data", reading)
        body = {**reading, "invoice_kind": filed.kind, **_meta(filed)}
        return Json(
            readings.told(
                body,
                nulled=self.knob("null_fields", api_key),
                dropped=self.knob("drop_fields", api_key),
                no_line_totals=self.knob("line_total_null", api_key),
                as_strings=self.knob("numbers_as_strings", api_key),
            )
        )


def _meta(filed: Filed) -> dict[str, Any]:
    if filed.source is None:
        return {}
    flag = {"duplicate": True} if filed.source == "duplicate" else {}
    return {"meta": {"source": filed.source, "invoiceId": filed.invoice_id, **flag}}
