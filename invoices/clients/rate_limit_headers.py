"""What a server says about its limits: the window's state, and how long to wait after a refusal.

``X-RateLimit-Reset`` is an instant, not a delay (contract sheet 01 §5); its encoding is open, so epoch seconds, epoch
milliseconds, ISO 8601 and HTTP dates are all read. A wait that a server asks for is bounded to one hour.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

MAX_WAIT_SECONDS = 3600.0  # seconds
MIN_EPOCH_MILLISECONDS = 1e11  # a larger epoch number is in milliseconds: as seconds it would lie beyond the year 5000
_CLOCK_TOLERANCE = dt.timedelta(
    seconds=2
)  # a Date is cut to the second, and servers may make it anew once a second only
_NUMBER_PATTERN = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The window a vendor reports with each answer: its ceiling, the calls left, and when it starts anew.

    ``resets_in`` are the seconds (0 to 3600) from the answer to ``reset_at``, by the vendor's clock where the answer
    has a ``Date``, so that ours may be wrong; None where no reset is told, or one that is already past.
    """

    limit: int | None
    remaining: int | None
    reset_at: dt.datetime | None
    seconds_until_reset: float | None = field(default=None, compare=False)


def find_rate_limit(headers: Mapping[str, str], now: dt.datetime | None = None) -> RateLimit | None:
    """Return what the ``X-RateLimit-…`` headers tell, or None when none of them is there to be read."""
    limit, remaining = (_try_parse_count(headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining"))
    reset_at = try_parse_timestamp(headers.get("X-RateLimit-Reset"))
    if limit is None and remaining is None and reset_at is None:
        return None
    return RateLimit(limit, remaining, reset_at, _compute_seconds_until(reset_at, _get_vendor_time(headers, now)))


def find_retry_after(
    headers: Mapping[str, str], body_value: object = None, now: dt.datetime | None = None
) -> float | None:
    """Return how many seconds (0 to 3600) to wait before asking again, or None when the server does not say.

    In this order: ``Retry-After`` (seconds or HTTP date), ``told`` (the body's own number of seconds),
    ``X-RateLimit-Reset``. Instants are measured against the answer's ``Date``, so a wrong clock on either side does no
    harm. A reset that is already past says nothing about the wait.
    """
    now = _get_vendor_time(headers, now)
    wait_seconds = _try_parse_seconds(headers.get("Retry-After"))
    if wait_seconds is None and (retry_at := _try_parse_http_date(headers.get("Retry-After"))) is not None:
        wait_seconds = max((retry_at - now).total_seconds(), 0.0)
    if wait_seconds is None:
        wait_seconds = _try_parse_seconds(body_value)
    if wait_seconds is None and _try_parse_count(headers.get("X-RateLimit-Remaining")) in (
        None,
        0,
    ):  # with calls left it is no refusal
        wait_seconds = _compute_seconds_until(try_parse_timestamp(headers.get("X-RateLimit-Reset")), now)
    return None if wait_seconds is None else min(wait_seconds, MAX_WAIT_SECONDS)


def try_parse_timestamp(text: object) -> dt.datetime | None:
    """Return the instant in epoch seconds or milliseconds, ISO 8601 (without zone: UTC) or an HTTP date, or None."""
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
    """Return the vendor's time, which it tells in whole seconds; where ours agrees with it, ours, which is finer."""
    local_time = now or dt.datetime.now(dt.UTC)
    vendor_time = try_parse_timestamp(headers.get("Date"))
    return (
        local_time
        if vendor_time is None or dt.timedelta(0) <= local_time - vendor_time < _CLOCK_TOLERANCE
        else vendor_time
    )


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
        seconds = float(value)  # type: ignore[arg-type]  # whatever cannot be a number says so
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _try_parse_count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None
