"""A rate budget: how long to wait before the next call, so that a vendor's limits are used and never exceeded.

The calls are counted in sliding windows by pyrate-limiter, in one bucket that all processes on a ledger share: a SQLite
file, or a table of the PostgreSQL database that holds the ledger.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import psycopg
from pyrate_limiter import AbstractBucket, Decision, Rate, RateItem

from invoices.errors import ConfigurationError

PATIENCE_SECONDS = 65.0  # a vendor's minute, and a little; a longer wait is left for a later run (apis/README §2.3)
TIDY_EVERY = 200  # calls
_CONTENDED = 0.005  # seconds until a bucket that another process has in hand is asked again
_LEAP = 1000  # milliseconds by which clocks may differ


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

    def __init__(
        self,
        windows: Sequence[Window],
        bucket: AbstractBucket,
        scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count in ``bucket``, whose rates must be those of the windows (``Window.as_rate``)."""
        self._windows, self._bucket, self.scale, self._clock = windows, bucket, scale, clock
        self._blocked_until = float("-inf")
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> float:
        """Count one call and return 0.0; or return the seconds until one is allowed, and count nothing.

        Raises:
            ConfigurationError: the calls cannot be counted; none must be made.
        """
        with self._lock:
            blocked = self._blocked_until - self._clock()
            if blocked > 0:
                return blocked
            with counting(), self._bucket.limiter_lock() or nullcontext():  # type: ignore[attr-defined]  # an object
                return self._count_one(int(self._bucket.now()))  # type: ignore[no-untyped-call]  # the library's

    def _count_one(self, now: int) -> float:
        decision = self._put(now)
        if decision.allowed:
            self._taken += 1
            if self._taken % TIDY_EVERY == 0:
                self._bucket.leak(now)
            return 0.0
        if decision.retry_after_ms is None:
            return _CONTENDED * (1 + random.random())  # noqa: S311  no secret
        if decision.failing_rate is not None and decision.retry_after_ms > decision.failing_rate.interval + _LEAP:
            return self._begin_anew(now)
        return max(decision.retry_after_ms, 1) / 1000

    def _begin_anew(self, now: int) -> float:
        """Forget calls that seem to be still to come, since the clock was set back, as if the tightest window was full.

        They would hold up everything for as long as the clock was wrong.
        """
        tightest = self._bucket.rates[0]
        self._bucket.flush()
        self._put(now, tightest.limit)
        return tightest.interval / 1000

    def _put(self, now: int, calls: int = 1) -> Decision:
        decision = self._bucket.put_decision(RateItem("call", now, calls))
        if not isinstance(decision, Decision):
            raise TypeError("a bucket for asyncio cannot be used here")
        return decision

    def block(self, seconds: float) -> None:
        """Allow no call for ``seconds`` of real time, because the vendor said so."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    @property
    def patience(self) -> float:
        """The longest wait, in real seconds, that is slept rather than left for a later run."""
        return PATIENCE_SECONDS * self.scale

    @property
    def call_seconds(self) -> float:
        """The real seconds that one call is worth, where the window that allows the fewest is used evenly."""
        return max(window.seconds * self.scale / window.calls for window in self._windows)


@contextmanager
def counting(where: str = "") -> Iterator[None]:
    """Turn what a bucket's database says in the block into a ConfigurationError; nothing of it is secret."""
    try:
        yield
    except (sqlite3.Error, psycopg.Error, OSError) as error:
        raise ConfigurationError(f"the calls to a vendor cannot be counted{where}: {error}") from error
