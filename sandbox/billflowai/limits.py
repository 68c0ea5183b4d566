"""Limits per API key: calls per minute, and extractions at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.billflowai.errors import ApiError
from sandbox.journal import Journal

RATE_WINDOW_NAME = "billflowai.minute"


class MinuteRateLimiter:
    """Counts calls per key in fixed windows, each started by the key's first call; refused calls count as well."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal, self._window_seconds = journal, minute_seconds

    def record_call_and_compute_wait(self, api_key: str, limit: int, now: float) -> float | None:
        """Count one call; return None if it is within ``limit`` (0: none), else the seconds until the window ends."""
        if limit == 0:
            return None
        window_start, call_count = self._journal.get_rate_window(api_key, RATE_WINDOW_NAME)
        if not window_start <= now < window_start + self._window_seconds:
            window_start, call_count = now, 0
        self._journal.rate_windows[api_key, RATE_WINDOW_NAME] = (window_start, call_count + 1)
        return None if call_count < limit else window_start + self._window_seconds - now


class ConcurrencyLimiter:
    """Counts the running extractions of each key."""

    def __init__(self) -> None:
        self._active_counts: Counter[str] = Counter()

    @contextmanager
    def hold_slot(self, api_key: str, limit: int) -> Iterator[None]:
        """Hold one of the key's ``limit`` slots (0: no limit); raises ApiError RATE_LIMITED if all are taken."""
        if limit and self._active_counts[api_key] >= limit:
            raise ApiError("RATE_LIMITED", "Too many extractions at a time.")
        self._active_counts[api_key] += 1
        try:
            yield
        finally:
            self._active_counts[api_key] -= 1
