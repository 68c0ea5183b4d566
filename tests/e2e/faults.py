"""The faults of reliability.md §2 (F-24 to F-37) that one call can meet, by what they leave of it."""

from __future__ import annotations

import datetime as dt
import email.utils
import gzip
from collections.abc import Iterable
from dataclasses import replace

from fault_proxy import Fault

from tests.integration.scripted_server import Answer, Drop, Step

JSON = {"Content-Type": "application/json"}
PAGE = Answer(200, b"<!doctype html><title>Log in</title><form></form>", {"Content-Type": "text/html"})
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BOMB = gzip.compress(b'{"a": "' + b"0" * 30_000_000 + b'"}')
LARGE = b'{"a": "' + b"0" * 11_000_000 + b'"}'


def _refusal(status: int, **headers: str) -> Answer:
    body = b'{"success": false, "error": {"code": "SOMETHING", "message": "As the test says."}}'
    return Answer(status, body, {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}})


def _later(seconds: float) -> str:
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


def _body(body: bytes, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("", spoil=lambda answer: replace(answer, body=body, headers={**answer.headers, **named}))


def _named(faults: Iterable[tuple[str, Fault]]) -> dict[str, Fault]:
    return {name: replace(fault, name=name) for name, fault in faults}


def _cut(answer: Answer) -> Step:
    return replace(answer, cut_after=len(answer.body) // 2)


def _cut_without_length(answer: Answer) -> Step:
    return replace(answer, body=answer.body[: len(answer.body) // 2], framing="close")


WAITS = _named(
    (f"429 {name}", Fault("", instead=step))
    for name, step in {
        "for a second": _refusal(429, Retry_After="1"),
        "until a date": _refusal(429, Retry_After=_later(2)),
        "until a date that is past": _refusal(429, Retry_After=_later(-3600)),
        "for ten hours": _refusal(429, Retry_After="36000"),
        "for abc": _refusal(429, Retry_After="abc"),
        "for nobody knows how long": _refusal(429),
        "until a reset that is past": _refusal(429, X_RateLimit_Reset="1", X_RateLimit_Remaining="0"),
    }.items()
)
NOTHING_DONE = _named(
    (name, Fault("", instead=step))
    for name, step in {
        "no answer, nothing done": Drop(reset=True),
        "500, nothing done": _refusal(500),
        "503, nothing done": _refusal(503),
        "502 page, nothing done": replace(PAGE, status=502),
        "401": _refusal(401),
        "402": _refusal(402),
        "403": _refusal(403),
    }.items()
)
WORK_DONE = _named(
    {
        "answer lost": Fault("", spoil=lambda _: Drop()),
        "line reset": Fault("", spoil=lambda _: Drop(reset=True)),
        "answer cut": Fault("", spoil=_cut),
        "answer cut, without a length": Fault("", spoil=_cut_without_length),
        "500 after the work": Fault("", spoil=lambda _: _refusal(500)),
        "504 page after the work": Fault("", spoil=lambda _: replace(PAGE, status=504)),
        "login page": Fault("", spoil=lambda _: PAGE),
        "empty body": _body(b""),
        "empty object": _body(b"{}"),
        "a list": _body(b"[1]"),
        "a byte order mark": Fault("", spoil=lambda answer: replace(answer, body=b"\xef\xbb\xbf" + answer.body)),
        "UTF-16": Fault("", spoil=lambda answer: replace(answer, body=answer.body.decode("latin-1").encode("utf-16"))),
        "NaN": _body(b'{"id": NaN, "status": Infinity}'),
        "dripped": Fault("", spoil=lambda answer: replace(answer, drip=0.0002)),
    }.items()
)
LARGE_BODIES = _named(
    {
        "100,000 levels deep": _body(DEEP),
        "a bomb": _body(BOMB, Content_Encoding="gzip"),
        "11 MB": _body(LARGE),
    }.items()
)


def redirect(status: int, url: str) -> Fault:
    """Return an answer that points to another server."""
    return Fault(f"{status} to another server", instead=Answer(status, b"", {"Location": url}))


def saying(name: str, old: bytes, new: bytes) -> Fault:
    """Return the vendor's answer with one thing said differently."""
    return Fault(name, spoil=lambda answer: replace(answer, body=answer.body.replace(old, new)))


def refusing(name: str, status: int, body: bytes = b"", content_type: str = "application/xml") -> Fault:
    """Return an answer in the vendor's place."""
    return Fault(name, instead=Answer(status, body, {"Content-Type": content_type}))
