"""Rate limit headers: the state of the window, and how long to wait after a refusal.

``X-RateLimit-Reset`` is a point in time, not a delay (contract sheet 01 §5). Its encoding is not documented, so epoch
seconds, epoch milliseconds, ISO 8601 and HTTP dates are all accepted. No wait is longer than one hour.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

MAX_WAIT_SECONDS = 3600.0
MIN_EPOCH_MILLISECONDS = 1e11  # from here on in milliseconds: as seconds it would be after the year 5000
_CLOCK_TOLERANCE = dt.timedelta(seconds=2)  # a Date has whole seconds, and servers may renew it only once a second
_NUMBER_PATTERN = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The window that a vendor reports with each response: its limit, the remaining calls, and when it is reset.

    ``seconds_until_reset`` (0 to 3600) counts from the response to ``reset_at``. If the response has a ``Date``, it is
    measured by the vendor's clock, so that an error of ours does no harm. It is None if the response has no reset, or
    one that is already past.
    """

    limit: int | None
    remaining: int | None
    reset_at: dt.datetime | None
    seconds_until_reset: float | None = field(default=None, compare=False)


def find_rate_limit(headers: Mapping[str, str], now: dt.datetime | None = None) -> RateLimit | None:
    """Return the window from the ``X-RateLimit-…`` headers, or None if none of them is there and readable."""
    limit, remaining = (_try_parse_count(headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining"))
    reset_at = try_parse_timestamp(headers.get("X-RateLimit-Reset"))
    if limit is None and remaining is None and reset_at is None:
        return None
    return RateLimit(limit, remaining, reset_at, _compute_seconds_until(reset_at, _get_vendor_time(headers, now)))


def find_retry_after(
    headers: Mapping[str, str], body_value: object = None, now: dt.datetime | None = None
) -> float | None:
    """Return how many seconds (0 to 3600) to wait before a retry, or None if the response does not say.

    In this order: ``Retry-After`` (seconds or HTTP date), ``body_value`` (seconds, from the body),
    ``X-RateLimit-Reset``. Times are measured against the response's ``Date``, so a wrong clock on either side does no
    harm. A reset that is already past does not count.
    """
    now = _get_vendor_time(headers, now)
    wait_seconds = _try_parse_seconds(headers.get("Retry-After"))
    if wait_seconds is None and (retry_at := _try_parse_http_date(headers.get("Retry-After"))) is not None:
        wait_seconds = max((retry_at - now).total_seconds(), 0.0)
    if wait_seconds is None:
        wait_seconds = _try_parse_seconds(body_value)
    remaining = _try_parse_count(headers.get("X-RateLimit-Remaining"))
    if wait_seconds is None and not remaining:  # with calls remaining, the rate limit is not the reason
        wait_seconds = _compute_seconds_until(try_parse_timestamp(headers.get("X-RateLimit-Reset")), now)
    return None if wait_seconds is None else min(wait_seconds, MAX_WAIT_SECONDS)


def try_parse_timestamp(text: object) -> dt.datetime | None:
    """Return the time in epoch seconds or milliseconds, ISO 8601 (without zone: UTC) or as an HTTP date, or None."""
    if not isinstance(text, str) or len(text := text.strip()) > 64:
        return None
    if _NUMBER_PATTERN.fullmatch(text):
        number = float(text)
        seconds = number / 1000 if number >= MIN_EPOCH_MILLISECONDS else number
        try:
            return dt.datetime.fromtimestamp(seconds, dt.UTC)
        except (ValueError, OverflowError, OSError):
            return None
    try:
        return _to_utc(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return _try_parse_http_date(text)


def _get_vendor_time(headers: Mapping[str, str], now: dt.datetime | None) -> dt.datetime:
    """Return the vendor's time, in whole seconds; or ours, which is more precise, if it agrees with the vendor's."""
    local_time = now or dt.datetime.now(dt.UTC)
    vendor_time = try_parse_timestamp(headers.get("Date"))
    if vendor_time is None or dt.timedelta(0) <= local_time - vendor_time < _CLOCK_TOLERANCE:
        return local_time
    return vendor_time


def _compute_seconds_until(reset_at: dt.datetime | None, now: dt.datetime) -> float | None:
    if reset_at is None or reset_at <= now:
        return None
    return min((reset_at - now).total_seconds(), MAX_WAIT_SECONDS)


def _try_parse_http_date(text: str | None) -> dt.datetime | None:
    try:
        return _to_utc(parsedate_to_datetime(text[:64])) if text else None
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _to_utc(timestamp: dt.datetime) -> dt.datetime:
    return timestamp.replace(tzinfo=dt.UTC) if timestamp.tzinfo is None else timestamp.astimezone(dt.UTC)


def _try_parse_seconds(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and not _NUMBER_PATTERN.fullmatch(value := value.strip()):
        return None
    try:
        seconds = float(value)  # type: ignore[arg-type]  # raises for what is not a number
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _try_parse_count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None
