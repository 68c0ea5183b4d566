"""How many calls a minute a key has in each bucket: fixed windows, in which refused calls count (sheet 02 §2)."""

from __future__ import annotations

from sandbox.journal import Journal

PER_MINUTE = {
    "balance": 60, "upload": 600, "submit": 30, "poll": 120, "download": 30, "delete": 30,
    "list": 60, "results": 60, "details": 60, "cancel": 30, "answers": 30,
}  # fmt: skip


class Buckets:
    """Counts calls per key and bucket; a window begins with a key's first call in it."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal, self._length = journal, minute_seconds

    def wait(self, api_key: str, bucket: str, limit: int, now: float) -> float | None:
        """Count one call; return None where it is within the limit, else the seconds until the window ends."""
        name = f"invoicedataextraction_com.{bucket}"
        started, used = self._journal.window(api_key, name)
        if not started <= now < started + self._length:
            started, used = now, 0
        self._journal.windows[api_key, name] = (started, used + 1)
        return None if used < limit else started + self._length - now
