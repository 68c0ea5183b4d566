"""The vendor: its sessions and extractions, its patience with callers, and the knobs that try theirs."""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.addresses import Addresses
from sandbox.invoicedataextraction_com.extractions import Extractions, Row
from sandbox.invoicedataextraction_com.limits import PER_MINUTE, Buckets
from sandbox.invoicedataextraction_com.refusals import TASK_STATUS, Refused, error_body
from sandbox.invoicedataextraction_com.uploads import Uploads
from sandbox.journal import Journal
from sandbox.knobs import Knobs
from sandbox.visits import Json, Lost, visit_of

Work = Callable[["Vendor", Request, str], Awaitable[Response]]
COUNTED = {
    "lost_response": (
        "balance", "session", "parts", "put", "complete", "submit", "status", "output", "download", "delete", "list",
        "results", "details", "cancel", "answers",
    ),
    "limits": tuple(PER_MINUTE),
    "task_fail_code": tuple(TASK_STATUS),
}  # fmt: skip
COUNTED["http_500_after_work"] = COUNTED["lost_response"]
"""The knobs that are names with counts, and the names they know."""
ALWAYS = 2**31


class Vendor:
    """What all routes share."""

    def __init__(self, journal: Journal, knobs: Knobs, minute_seconds: float) -> None:
        self.uploads, self.extractions, self.addresses = Uploads(journal), Extractions(journal), Addresses(journal)
        self.minute_seconds = minute_seconds
        self._knobs, self._buckets = knobs, Buckets(journal, minute_seconds)
        self._calls: dict[str, int] = {}
        self._left: dict[tuple[str, str], tuple[Any, dict[str, int]]] = {}
        self._changes: dict[str, asyncio.Event] = {}

    def knob(self, name: str, api_key: str | None) -> Any:
        """Return the value of this vendor's knob for a key."""
        return self._knobs.get(f"invoicedataextraction_com.{name}", api_key)

    def take(self, name: str, api_key: str) -> bool:
        """Return whether a counting knob strikes now."""
        return self._knobs.take(f"invoicedataextraction_com.{name}", api_key)

    def counts(self, name: str, api_key: str) -> dict[str, int]:
        """Return what is left of a knob like ``submit=1,complete=2``, to be counted down by whom it strikes."""
        value = self.knob(name, api_key)
        held, left = self._left.get((name, api_key), (None, {}))
        if held is not value:
            left = _counts(name, value)
            self._left[name, api_key] = (value, left)
        return left

    def strikes(self, name: str, what: str, api_key: str) -> bool:
        """Return whether a knob like ``submit=1,complete=2`` strikes now, and count it down."""
        left = self.counts(name, api_key)
        left[what] = left.get(what, 0) - 1
        return left[what] >= 0

    def now(self, api_key: str | None) -> float:
        """Return the vendor's time as this key sees it, in seconds of the epoch."""
        return time.time() + float(self.knob("clock", api_key))

    def scaled(self, seconds: float) -> float:
        """Return how long so many of the vendor's seconds last."""
        return seconds * self.minute_seconds / 60

    async def answer(self, request: Request, route: str, bucket: str, work: Work) -> Response:
        """Check the key and its calls a minute, then do the work, then spoil its answer where a knob says so."""
        await request.body()  # an answer before the body is read would break the caller's connection
        try:
            api_key = self._admitted(request)
            refused = self._too_many(api_key, bucket)
            if refused is not None:
                return refused
            if self._is_nth(api_key):
                raise Refused("INTERNAL_ERROR", "Something went wrong.")
            self.extractions.settle(api_key, self.now(api_key))
            answer = await work(self, request, api_key)
            return self.spoilt(answer, route, api_key)
        except Refused as refusal:
            return refusal.answer()

    def spoilt(self, answer: Response, route: str, api_key: str) -> Response:
        """Return the answer, or what a knob makes of it once the work is done."""
        if self.strikes("lost_response", route, api_key):
            return Lost()
        if self.strikes("http_500_after_work", route, api_key):
            return Refused("INTERNAL_ERROR", "Something went wrong.").answer()
        return answer

    def credits(self, api_key: str) -> tuple[int, int]:
        """Return a key's balance and what running extractions hold of it."""
        return self.knob("credits", api_key) - self.extractions.spent(api_key), self.extractions.running(api_key)[1]

    def found(self, request: Request, api_key: str) -> Row:
        """Return the extraction that the path names; raises Refused."""
        row = self.extractions.find(api_key, request.path_params["extraction_id"].lower())
        if row is None:
            raise Refused("EXTRACTION_NOT_FOUND", "No such extraction.")
        return row

    def changed(self, extraction_id: str) -> None:
        """Wake the calls that are held for an extraction."""
        event = self._changes.pop(extraction_id, None)
        if event is not None:
            event.set()

    async def change(self, extraction_id: str, seconds: float) -> None:
        """Return when an extraction changes by someone's hand, at the latest after so many seconds."""
        event = self._changes.setdefault(extraction_id, asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    def _admitted(self, request: Request) -> str:
        api_key = visit_of(request).api_key
        if api_key is None:
            raise Refused("UNAUTHENTICATED", "The API key is missing or wrong.")
        state = self.knob("key_state", api_key)
        if state != "valid":
            raise Refused(f"API_KEY_{state.upper()}", f"The API key is {state}.")
        return api_key

    def _too_many(self, api_key: str, bucket: str) -> Response | None:
        limit = self.counts("limits", api_key).get(bucket, PER_MINUTE[bucket])
        wait = self._buckets.wait(api_key, bucket, limit, time.time())
        if wait is None or not self.knob("rate_limits", api_key):
            return None
        headers = _retry_after(self.knob("retry_after", api_key), wait)
        if self.knob("rate_limit_body", api_key) == "html":
            page = "<html><body><h1>429 Too Many Requests</h1></body></html>"
            return Response(page, 429, headers=headers, media_type="text/html")
        details = {"retry_after": round(wait, 3), "retry_after_seconds": round(wait, 3)}
        error = error_body("RATE_LIMITED", f"Rate limit exceeded for {bucket} endpoint", details)
        return Json({"success": False, "error": error}, 429, headers=headers)

    def _is_nth(self, api_key: str) -> bool:
        self._calls[api_key] = self._calls.get(api_key, 0) + 1
        every = self.knob("http_500_every", api_key)
        return bool(every and self._calls[api_key] % every == 0)


def _retry_after(kind: str, wait: float) -> dict[str, str]:
    if kind == "absent":
        return {}
    seconds = max(1, math.ceil(wait))
    if kind == "http_date":
        return {"Retry-After": email.utils.formatdate(math.ceil(time.time() + wait), usegmt=True)}
    return {"Retry-After": str(seconds)}


def _counts(name: str, value: tuple[str, ...]) -> dict[str, int]:
    counts = {}
    for entry in value:
        what, _, count = entry.partition("=")
        if what not in COUNTED[name] or not (count or "1").isdecimal():
            known = ", ".join(COUNTED[name])
            raise Refused("INTERNAL_ERROR", f"knob {name} cannot be {entry!r}: it has {known}, each with =count")
        counts[what] = int(count) if count else ALWAYS
    return counts
