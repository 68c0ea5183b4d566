"""How many calls a key has: fixed windows of a minute and an hour, and the token bucket."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sandbox.journal import Journal

PLANS = {"free": (10, 100), "pro": (100, 1_000), "enterprise": (1_000, 10_000)}
"""Calls a minute and an hour of each plan (sheet 01, section 5)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands: the window with fewer calls left, and whether this call is within it."""

    is_allowed: bool
    limit: int
    remaining: int
    resets_at: float


class Windows:
    """Counts calls per key in two windows, each begun by a key's first call in it; refused calls count as well."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal = journal
        self._lengths = {"minute": minute_seconds, "hour": 60 * minute_seconds}

    def count(self, api_key: str, plan: str, now: float) -> Standing:
        """Count one call and return where the key stands after it."""
        standings = []
        for (name, length), limit in zip(self._lengths.items(), PLANS[plan], strict=True):
            started, used = self._journal.window(api_key, name)
            if not started <= now < started + length:
                started, used = now, 0
            used += 1
            self._journal.windows[api_key, name] = (started, used)
            standings.append(Standing(used <= limit, limit, max(0, limit - used), started + length))
        return min(standings, key=lambda s: (s.is_allowed, s.remaining, -s.resets_at))

    def untouched(self, plan: str, now: float) -> Standing:
        """Return the standing told to someone without a valid key."""
        return Standing(True, PLANS[plan][0], PLANS[plan][0], now + self._lengths["minute"])


class Buckets:
    """Token buckets per key: 1,000 tokens, 100 more every 5 seconds of the vendor's minute (sheet 05, section 8)."""

    CAPACITY, REFILL, EVERY = 1_000, 100, 5.0
    LEAKY_CAPACITY = 100

    def __init__(self, minute_seconds: float) -> None:
        self.period = self.EVERY * minute_seconds / 60
        self._minute = minute_seconds
        self._levels: dict[str, tuple[float, float]] = {}

    def wait(self, api_key: str, model: str, now: float) -> float | None:
        """Take one token; return None where there was one, else the seconds until there is."""
        if model == "off":
            return None
        steps = model == "token_bucket"
        capacity = self.CAPACITY if steps else self.LEAKY_CAPACITY
        level, since = self._levels.get(f"{model}:{api_key}", (float(capacity), now))
        if steps:
            refills = math.floor((now - since) / self.period)
            level, since = min(float(capacity), level + self.REFILL * refills), since + refills * self.period
        else:
            level, since = min(float(capacity), level + capacity * (now - since) / self._minute), now
        granted = level >= 1
        self._levels[f"{model}:{api_key}"] = (level - 1 if granted else level, since)
        if granted:
            return None
        return max(0.0, since + self.period - now) if steps else self._minute / capacity
