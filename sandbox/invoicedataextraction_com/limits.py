"""Calls per minute and bucket of an API key: fixed windows, in which refused calls count (sheet 02 §2)."""

from __future__ import annotations

from sandbox.journal import Journal

CALLS_PER_MINUTE = {
    "balance": 60, "upload": 600, "submit": 30, "poll": 120, "download": 30, "delete": 30,
    "list": 60, "results": 60, "details": 60, "cancel": 30, "answers": 30,
}  # fmt: skip


class BucketRateLimiter:
    """Counts calls per key and bucket; a window starts with the key's first call in it."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal, self._window_seconds = journal, minute_seconds

    def record_call_and_compute_wait(self, api_key: str, bucket: str, limit: int, now: float) -> float | None:
        """Count one call; return None if it is within the limit, else the seconds until the window ends."""
        window_name = f"invoicedataextraction_com.{bucket}"
        window_start, call_count = self._journal.get_rate_window(api_key, window_name)
        if not window_start <= now < window_start + self._window_seconds:
            window_start, call_count = now, 0
        self._journal.rate_windows[api_key, window_name] = (window_start, call_count + 1)
        return None if call_count < limit else window_start + self._window_seconds - now
