"""The faults of reliability.md §2 (F-24 to F-37) that can affect one call, before or after the vendor's work."""

from __future__ import annotations

import datetime as dt
import email.utils
import gzip
from collections.abc import Iterable
from dataclasses import replace

from tests.servers.fault_proxy import Fault
from tests.servers.scripted_http_server import Disconnect, Reply, Response

JSON_HEADERS = {"Content-Type": "application/json"}
LOGIN_PAGE = Response(200, b"<!doctype html><title>Log in</title><form></form>", {"Content-Type": "text/html"})
DEEP_JSON = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
GZIP_BOMB = gzip.compress(b'{"a": "' + b"0" * 30_000_000 + b'"}')
LARGE_JSON = b'{"a": "' + b"0" * 11_000_000 + b'"}'


def _build_error_response(status: int, **headers: str) -> Response:
    body = b'{"success": false, "error": {"code": "SOMETHING", "message": "As the test says."}}'
    return Response(
        status, body, {**JSON_HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


def _format_http_date_after(seconds: float) -> str:
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


def _build_body_fault(body: bytes, **headers: str) -> Fault:
    header_values = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(
        "", alter_response=lambda response: replace(response, body=body, headers={**response.headers, **header_values})
    )


def _map_faults_by_name(faults: Iterable[tuple[str, Fault]]) -> dict[str, Fault]:
    return {name: replace(fault, name=name) for name, fault in faults}


def _cut_response(response: Response) -> Reply:
    return replace(response, close_after_bytes=len(response.body) // 2)


def _cut_response_without_length(response: Response) -> Reply:
    return replace(response, body=response.body[: len(response.body) // 2], framing="close")


RATE_LIMIT_FAULTS = _map_faults_by_name(
    (f"429 {name}", Fault("", replacement=response))
    for name, response in {
        "for a second": _build_error_response(429, Retry_After="1"),
        "until a date": _build_error_response(429, Retry_After=_format_http_date_after(2)),
        "until a date that is past": _build_error_response(429, Retry_After=_format_http_date_after(-3600)),
        "for ten hours": _build_error_response(429, Retry_After="36000"),
        "for abc": _build_error_response(429, Retry_After="abc"),
        "without a wait": _build_error_response(429),
        "until a reset that is past": _build_error_response(429, X_RateLimit_Reset="1", X_RateLimit_Remaining="0"),
    }.items()
)
FAULTS_BEFORE_WORK = _map_faults_by_name(
    (name, Fault("", replacement=response))
    for name, response in {
        "no response, nothing done": Disconnect(is_reset=True),
        "500, nothing done": _build_error_response(500),
        "503, nothing done": _build_error_response(503),
        "502 page, nothing done": replace(LOGIN_PAGE, status=502),
        "401": _build_error_response(401),
        "402": _build_error_response(402),
        "403": _build_error_response(403),
    }.items()
)
FAULTS_AFTER_WORK = _map_faults_by_name(
    {
        "response lost": Fault("", alter_response=lambda _: Disconnect()),
        "connection reset": Fault("", alter_response=lambda _: Disconnect(is_reset=True)),
        "response cut": Fault("", alter_response=_cut_response),
        "response cut, without a length": Fault("", alter_response=_cut_response_without_length),
        "500 after the work": Fault("", alter_response=lambda _: _build_error_response(500)),
        "504 page after the work": Fault("", alter_response=lambda _: replace(LOGIN_PAGE, status=504)),
        "login page": Fault("", alter_response=lambda _: LOGIN_PAGE),
        "empty body": _build_body_fault(b""),
        "empty object": _build_body_fault(b"{}"),
        "a list": _build_body_fault(b"[1]"),
        "a byte order mark": Fault(
            "", alter_response=lambda response: replace(response, body=b"\xef\xbb\xbf" + response.body)
        ),
        "UTF-16": Fault(
            "", alter_response=lambda response: replace(response, body=response.body.decode("latin-1").encode("utf-16"))
        ),
        "NaN": _build_body_fault(b'{"id": NaN, "status": Infinity}'),
        "slow": Fault("", alter_response=lambda response: replace(response, seconds_per_byte=0.0002)),
    }.items()
)
LARGE_BODY_FAULTS = _map_faults_by_name(
    {
        "100,000 levels deep": _build_body_fault(DEEP_JSON),
        "a bomb": _build_body_fault(GZIP_BOMB, Content_Encoding="gzip"),
        "11 MB": _build_body_fault(LARGE_JSON),
    }.items()
)


def build_redirect_fault(status: int, url: str) -> Fault:
    """Return a redirect to another server."""
    return Fault(f"{status} to another server", replacement=Response(status, b"", {"Location": url}))


def build_replacement_fault(name: str, old: bytes, new: bytes) -> Fault:
    """Return the vendor's response with ``old`` replaced by ``new``."""
    return Fault(name, alter_response=lambda response: replace(response, body=response.body.replace(old, new)))


def build_error_fault(name: str, status: int, body: bytes = b"", content_type: str = "application/xml") -> Fault:
    """Return a response that replaces the vendor's."""
    return Fault(name, replacement=Response(status, body, {"Content-Type": content_type}))
