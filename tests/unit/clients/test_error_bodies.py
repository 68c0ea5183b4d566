"""Parsing error bodies, and keeping secrets out of every message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.clients.error_bodies import ErrorDetail, parse_error_body, redact_secrets
from invoices.clients.error_mapping import ApiCall, build_status_error

API_KEY = "k-9f2c~long+secret/value=="


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": {"code": "A", "message": "b", "requestId": "r", "details": [{"x": 1}]}}, ErrorDetail("A", "b", "r")),
        ({"success": False, "data": None, "error": {"code": "A", "message": "b"}}, ErrorDetail("A", "b")),
        ({"title": "t", "detail": "d", "status": 400, "errors": {"f": ["m"]}}, ErrorDetail(None, "d")),
        ({"title": "t", "status": 400}, ErrorDetail(None, "t")),
        ({"code": "A", "message": "b"}, ErrorDetail("A", "b")),
        ({"status": 429, "code": "A", "error": "Too Many", "message": "b"}, ErrorDetail("A", "b")),
        ({"statusCode": 400, "errors": [{"code": "A", "message": "b", "parameter": "p"}]}, ErrorDetail("A", "b")),
        ({"error": "INVALID_FILE"}, ErrorDetail("INVALID_FILE")),
        ({"error": {"details": {"retry_after_seconds": 5}}}, ErrorDetail(retry_after=5)),
        ({"retry_after": "7"}, ErrorDetail(retry_after="7")),
        ("no", ErrorDetail(None, "no")),
        ([], ErrorDetail()),
        ({"errors": [1]}, ErrorDetail()),
        ({"error": {"code": "not a code", "message": {"a": 1}}}, ErrorDetail()),
        ({"error": {"code": 17}}, ErrorDetail("17")),
    ],
)
def test_every_known_error_shape_is_parsed(body: Any, detail: ErrorDetail) -> None:
    assert parse_error_body(json.dumps(body).encode()) == detail


@pytest.mark.parametrize("body", [b"", b"<html>x</html>", b"\xff\xfe", b'{"error":', b"[" * 100_000])
def test_a_body_that_is_not_json_has_no_details(body: bytes) -> None:
    assert parse_error_body(body) == ErrorDetail()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def", "authorization=Basic eDp5", '"token": "abc.def"', "x-api-key: abc.def",
        "sk_live_abcdef", "bf_test_abcdef", "password=abc.def", "eyJhbGci.abc.def", "https://x/?api_key=abc.def&b=1",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    shown = redact_secrets(text) or ""
    assert "[hidden]" in shown
    assert not any(part in shown for part in ("abc", "eDp5"))


@given(st.text(max_size=300), st.text(max_size=300))
def test_the_key_is_hidden_wherever_it_stands(before: str, after: str) -> None:
    shown = redact_secrets(before + API_KEY + after, (API_KEY,)) or ""
    assert API_KEY not in shown
    assert len(shown) <= 200
    assert shown.isprintable()


@given(
    st.recursive(
        st.none() | st.text() | st.just(API_KEY) | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "errors", "detail", "requestId", "retry_after", "x"]),
                inner,
            )
        ),
    )
)
def test_no_body_makes_an_error_that_shows_the_key_or_fails(body: Any) -> None:
    call = ApiCall("POST", "api.test/x", (API_KEY,))
    error = build_status_error(call, 429, {"X-Request-ID": f"{API_KEY}"}, json.dumps(body).encode())
    assert API_KEY not in f"{error} {error!r} {vars(error)} {call!r}"
    assert len(str(error)) < 700
