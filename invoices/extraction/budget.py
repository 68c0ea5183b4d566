"""A rate budget: how long to wait before the next call, so that a vendor's limits are used and never exceeded.

The calls are counted in sliding windows by pyrate-limiter, in one bucket that all processes on a ledger share: a SQLite
file, or a table of the PostgreSQL database that holds the ledger.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pyrate_limiter import AbstractBucket, Decision, Rate, RateItem

PATIENCE_SECONDS = 65.0  # a vendor's minute, and a little; a longer wait is left for a later run (apis/README §2.3)
TIDY_EVERY = 200  # calls
_CONTENDED = 0.005  # seconds until a bucket that another process has in hand is asked again


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``calls`` within any ``seconds``."""

    calls: int
    seconds: float

    def as_rate(self, scale: float) -> Rate:
        """Return the window in milliseconds, a little longer: calls do not take the same time to arrive."""
        seconds = self.seconds * scale
        return Rate(self.calls, round(1000 * (seconds + min(1.0, max(0.05, 0.015 * seconds)))))


class Budget:
    """The calls left to one account, by its plan's windows and by what the vendor last said; several threads may ask.

    ``scale`` shortens every time span for a rehearsal: 1.0 is real time, 0.05 a minute of three seconds.
    """

    def __init__(self, windows: Sequence[Window], bucket: AbstractBucket, scale: float = 1.0) -> None:
        """Count in ``bucket``, whose rates must be those of the windows (``Window.as_rate``)."""
        self._windows, self._bucket, self.scale = windows, bucket, scale
        self._blocked_until = 0.0
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> float:
        """Count one call and return 0.0; or return the seconds until one is allowed, and count nothing."""
        with self._lock:
            blocked = self._blocked_until - time.monotonic()
            if blocked > 0:
                return blocked
            now = int(self._bucket.now())  # type: ignore[no-untyped-call]  # the library's is untyped
            decision = self._bucket.put_decision(RateItem("call", now))
            if not isinstance(decision, Decision):
                raise TypeError("a bucket for asyncio cannot be used here")
            if decision.allowed:
                self._tidy(now)
                return 0.0
            wait = decision.retry_after_ms
        return _CONTENDED * (1 + random.random()) if wait is None else max(wait, 1) / 1000  # noqa: S311  no secret

    def block(self, seconds: float) -> None:
        """Allow no call for ``seconds`` of real time, because the vendor said so."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)

    @property
    def patience(self) -> float:
        """The longest wait, in real seconds, that is slept rather than left for a later run."""
        return PATIENCE_SECONDS * self.scale

    def stretch(self, open_jobs: int) -> float:
        """Return the seconds in which every open job can be looked at once with half of the tightest window's calls."""
        return max(open_jobs * 2 * window.seconds * self.scale / window.calls for window in self._windows)

    def _tidy(self, now: int) -> None:
        self._taken += 1
        if self._taken % TIDY_EVERY == 0:
            self._bucket.leak(now)
