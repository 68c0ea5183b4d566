"""Rate limits and waits in every encoding; a wait is never negative, never over one hour, and never invented."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from invoices.clients.rate_limit_headers import RateLimit, find_rate_limit, find_retry_after, try_parse_timestamp

NOW = dt.datetime(2024, 1, 29, 12, tzinfo=dt.UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "body_value", "seconds"),
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
def test_the_wait_is_read_from_every_known_header(
    headers: dict[str, str], body_value: object, seconds: float | None
) -> None:
    assert find_retry_after(CaseInsensitiveDict(headers), body_value, NOW) == seconds


@pytest.mark.parametrize(("seconds_ahead", "seconds"), [(0.0, 40), (1.5, 38.5), (2.0, 40), (-0.5, 40), (-7.0, 40)])
def test_the_date_header_is_used_if_our_clock_differs_from_it(seconds_ahead: float, seconds: float) -> None:
    headers = {"X-RateLimit-Reset": str(EPOCH + 40), "Date": format_datetime(NOW, usegmt=True)}
    assert find_retry_after(headers, None, NOW + dt.timedelta(seconds=seconds_ahead)) == seconds


@given(
    st.text(max_size=80),
    st.text(max_size=80),
    st.text(max_size=80),
    st.none() | st.integers() | st.floats() | st.text(),
)
def test_no_header_makes_a_wait_beyond_its_bounds(after: str, reset: str, date: str, body_value: object) -> None:
    wait = find_retry_after({"Retry-After": after, "X-RateLimit-Reset": reset, "Date": date}, body_value)
    assert wait is None or 0 <= wait <= 3600


def test_the_rate_limit_is_read_from_the_headers_that_are_there() -> None:
    assert find_rate_limit({}) is None
    assert find_rate_limit({"X-RateLimit-Remaining": "abc"}) is None
    assert find_rate_limit({"X-RateLimit-Remaining": "0"}) == RateLimit(None, 0, None)
    headers = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": str(EPOCH)}
    assert find_rate_limit(headers) == RateLimit(10, 3, NOW)


@pytest.mark.parametrize(
    "text", [None, 5, "", "²", "99999999999999999999", "9" * 15, "0001-01-01T00:00:00+23:59", "x" * 99]
)
def test_a_text_that_is_no_timestamp_is_none(text: object) -> None:
    assert try_parse_timestamp(text) is None


clock_times = st.timedeltas(dt.timedelta(days=-400), dt.timedelta(days=400)).map(lambda error: NOW + error)
seconds_away = st.integers(-100_000, 100_000)
RESET_ENCODINGS = {
    "epoch seconds": lambda timestamp: str(int(timestamp.timestamp())),
    "epoch milliseconds": lambda timestamp: str(int(timestamp.timestamp() * 1000)),
    "ISO 8601": lambda timestamp: timestamp.isoformat(),
    "HTTP date": lambda timestamp: format_datetime(timestamp, usegmt=True),
}


@given(seconds_away, clock_times)
def test_a_date_to_wait_for_is_measured_by_the_vendors_clock(seconds: int, our_clock: dt.datetime) -> None:
    until = format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)
    headers = {"Date": format_datetime(NOW, usegmt=True), "Retry-After": until}
    assert find_retry_after(headers, now=our_clock) == min(max(seconds, 0), 3600)


@given(seconds_away, clock_times, st.sampled_from(sorted(RESET_ENCODINGS)))
def test_a_reset_is_measured_by_the_vendors_clock_in_any_encoding(
    seconds: int, our_clock: dt.datetime, encoding: str
) -> None:
    reset = RESET_ENCODINGS[encoding](NOW + dt.timedelta(seconds=seconds))
    headers = {"Date": format_datetime(NOW, usegmt=True), "X-RateLimit-Reset": reset}
    wait = min(seconds, 3600) if seconds > 0 else None
    assert find_retry_after(headers, now=our_clock) == wait
    rate_limit = find_rate_limit(headers, our_clock)
    assert rate_limit is not None
    assert rate_limit.seconds_until_reset == wait


@given(st.sampled_from(["", "abc", "-5", "nan", "1e9", "5 minutes", "٣", "+5"]), st.integers(1, 3600))
def test_an_unreadable_retry_after_falls_back_to_the_reset(unreadable: str, seconds: int) -> None:
    headers = {"Retry-After": unreadable, "X-RateLimit-Reset": str(EPOCH + seconds)}
    assert find_retry_after(headers, now=NOW) == seconds
    assert find_retry_after({**headers, "X-RateLimit-Reset": str(EPOCH - seconds)}, now=NOW) is None


@given(st.integers(0, 10**14))
def test_a_wait_is_limited_to_one_hour(seconds: int) -> None:
    past = {"X-RateLimit-Reset": str(EPOCH - 60)}
    assert find_retry_after({"Retry-After": str(seconds), **past}, now=NOW) == min(seconds, 3600)


def test_without_a_date_our_own_clock_is_used() -> None:
    rate_limit = find_rate_limit({"X-RateLimit-Reset": str(EPOCH + 40)}, NOW)
    assert rate_limit is not None
    assert rate_limit.seconds_until_reset == 40


def test_a_reset_is_no_wait_while_calls_remain() -> None:
    reset = {"Date": "Thu, 15 Jan 2026 10:30:00 GMT", "X-RateLimit-Reset": "2026-01-15T10:31:00Z"}
    assert find_retry_after({**reset, "X-RateLimit-Remaining": "7"}) is None
    assert find_retry_after({**reset, "X-RateLimit-Remaining": "0"}) == 60.0
