"""Rate limits per API key: fixed windows of a minute and an hour, token bucket and leaky bucket."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sandbox.journal import Journal

CALL_LIMITS_BY_PLAN = {"free": (10, 100), "pro": (100, 1_000), "enterprise": (1_000, 10_000)}
"""Calls a minute and an hour of each plan (sheet 01, section 5)."""


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """The state of the window with fewer calls left, and whether this call is allowed."""

    is_allowed: bool
    limit: int
    remaining: int
    resets_at: float


class FixedWindowRateLimiter:
    """Counts calls per key in two windows, each started by the key's first call in it; refused calls count as well."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal = journal
        self._window_seconds = {"minute": minute_seconds, "hour": 60 * minute_seconds}

    def record_call(self, api_key: str, plan: str, now: float) -> RateLimitStatus:
        """Count one call and return the rate limit status after it."""
        statuses = []
        for (name, window_seconds), limit in zip(self._window_seconds.items(), CALL_LIMITS_BY_PLAN[plan], strict=True):
            window_start, call_count = self._journal.get_rate_window(api_key, name)
            if not window_start <= now < window_start + window_seconds:
                window_start, call_count = now, 0
            call_count += 1
            self._journal.rate_windows[api_key, name] = (window_start, call_count)
            statuses.append(
                RateLimitStatus(call_count <= limit, limit, max(0, limit - call_count), window_start + window_seconds)
            )
        return min(statuses, key=lambda status: (status.is_allowed, status.remaining, -status.resets_at))

    def build_unused_status(self, plan: str, now: float) -> RateLimitStatus:
        """Return the status that a caller without a valid key gets."""
        return RateLimitStatus(
            True, CALL_LIMITS_BY_PLAN[plan][0], CALL_LIMITS_BY_PLAN[plan][0], now + self._window_seconds["minute"]
        )


class TokenBucketRateLimiter:
    """Token bucket per key: 1,000 tokens, 100 more every 5 seconds of the vendor's minute (sheet 05, section 8).

    The model ``leaky_bucket`` holds 100 calls and refills evenly over a minute.
    """

    CAPACITY, REFILL_TOKENS, REFILL_SECONDS = 1_000, 100, 5.0
    LEAKY_CAPACITY = 100

    def __init__(self, minute_seconds: float) -> None:
        self.refill_period = self.REFILL_SECONDS * minute_seconds / 60
        self._minute_seconds = minute_seconds
        self._levels: dict[str, tuple[float, float]] = {}

    def take_token_or_compute_wait(self, api_key: str, model: str, now: float) -> float | None:
        """Take one token; return None if there was one, else the seconds until the next."""
        if model == "off":
            return None
        is_token_bucket = model == "token_bucket"
        capacity = self.CAPACITY if is_token_bucket else self.LEAKY_CAPACITY
        level, updated_at = self._levels.get(f"{model}:{api_key}", (float(capacity), now))
        if is_token_bucket:
            refills = math.floor((now - updated_at) / self.refill_period)
            level, updated_at = (
                min(float(capacity), level + self.REFILL_TOKENS * refills),
                updated_at + refills * self.refill_period,
            )
        else:
            level, updated_at = min(float(capacity), level + capacity * (now - updated_at) / self._minute_seconds), now
        is_granted = level >= 1
        self._levels[f"{model}:{api_key}"] = (level - 1 if is_granted else level, updated_at)
        if is_granted:
            return None
        return max(0.0, updated_at + self.refill_period - now) if is_token_bucket else self._minute_seconds / capacity
