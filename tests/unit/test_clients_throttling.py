"""How long to wait, told in many ways; a wait is never negative, endless or invented."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from invoices.clients.throttling import RateLimit, instant, rate_limit, retry_after

NOW = dt.datetime(2024, 1, 29, 12, tzinfo=dt.UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "told", "seconds"),
    [
        ({"Retry-After": "60"}, None, 60),
        ({"Retry-After": " 0.5 "}, None, 0.5),
        ({"Retry-After": "0"}, 9, 0),
        ({"Retry-After": "Mon, 29 Jan 2024 12:00:30 GMT"}, None, 30),
        ({"Retry-After": "Mon, 29 Jan 2024 11:00:00 GMT"}, None, 0),
        ({"Retry-After": "36000"}, None, 3600),
        ({"Retry-After": "abc"}, None, None),
        ({"Retry-After": "abc"}, 8, 8),
        ({"Retry-After": "-5"}, None, None),
        ({"Retry-After": "nan"}, None, None),
        ({"Retry-After": "1e9"}, None, None),
        ({"Retry-After": "5"}, 9, 5),
        ({}, "12", 12),
        ({}, True, None),
        ({}, float("inf"), None),
        ({}, -1, None),
        ({}, [1], None),
        ({}, 10**400, None),
        ({"X-RateLimit-Reset": str(EPOCH + 40)}, None, 40),
        ({"X-RateLimit-Reset": str((EPOCH + 40) * 1000)}, None, 40),
        ({"X-RateLimit-Reset": "2024-01-29T12:00:40Z"}, None, 40),
        ({"X-RateLimit-Reset": "2024-01-29T13:00:40+01:00"}, None, 40),
        ({"X-RateLimit-Reset": "Mon, 29 Jan 2024 12:00:40 GMT"}, None, 40),
        ({"X-RateLimit-Reset": str(EPOCH + 99_999)}, None, 3600),
        ({"X-RateLimit-Reset": str(EPOCH - 40)}, None, None),
        ({"X-RateLimit-Reset": "30"}, None, None),
        ({"X-RateLimit-Reset": "soon"}, None, None),
        ({"X-RateLimit-Reset": str(EPOCH + 40)}, 3, 3),
        ({"X-RateLimit-Reset": str(EPOCH + 100), "Date": "Mon, 29 Jan 2024 12:01:30 GMT"}, None, 10),
        ({"Retry-After": "Mon, 29 Jan 2024 12:02:00 GMT", "Date": "Mon, 29 Jan 2024 12:01:30 GMT"}, None, 30),
        ({}, None, None),
    ],
)
def test_the_wait_is_what_the_server_says(headers: dict[str, str], told: object, seconds: float | None) -> None:
    assert retry_after(CaseInsensitiveDict(headers), told, NOW) == seconds


@given(
    st.text(max_size=80),
    st.text(max_size=80),
    st.text(max_size=80),
    st.none() | st.integers() | st.floats() | st.text(),
)
def test_no_header_makes_a_wait_beyond_its_bounds(after: str, reset: str, date: str, told: object) -> None:
    wait = retry_after({"Retry-After": after, "X-RateLimit-Reset": reset, "Date": date}, told)
    assert wait is None or 0 <= wait <= 3600


def test_limits_are_read_where_they_are() -> None:
    assert rate_limit({}) is None
    assert rate_limit({"X-RateLimit-Remaining": "abc"}) is None
    assert rate_limit({"X-RateLimit-Remaining": "0"}) == RateLimit(None, 0, None)
    headers = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": str(EPOCH)}
    assert rate_limit(headers) == RateLimit(10, 3, NOW)


@pytest.mark.parametrize(
    "text", [None, 5, "", "²", "99999999999999999999", "9" * 15, "0001-01-01T00:00:00+23:59", "x" * 99]
)
def test_what_is_no_instant_is_none(text: object) -> None:
    assert instant(text) is None
