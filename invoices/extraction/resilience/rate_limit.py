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

MAX_WAIT_SECONDS = 65.0  # a vendor's minute, and a little; a longer wait is left for a later run (apis/README §2.3)
CALLS_BETWEEN_CLEANUPS = 200  # calls
_CONTENTION_WAIT_SECONDS = 0.005  # seconds until a bucket that another process has in hand is asked again
_MAX_CLOCK_DIFFERENCE_MS = 1000  # milliseconds by which clocks may differ


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most ``calls`` within any ``seconds``."""

    calls: int
    seconds: float

    def to_rate(self, time_scale: float) -> Rate:
        """Return the window in milliseconds, a little longer: calls do not take the same time to arrive."""
        seconds = self.seconds * time_scale
        return Rate(self.calls, round(1000 * (seconds + min(1.0, max(0.05, 0.015 * seconds)))))


class RateLimiter:
    """The calls left to one account, by its plan's windows and by what the vendor last said; several threads may ask.

    ``scale`` shortens every time span for a rehearsal: 1.0 is real time, 0.05 a minute of three seconds.
    """

    def __init__(
        self,
        windows: Sequence[RateWindow],
        bucket: AbstractBucket,
        time_scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count in ``bucket``, whose rates must be those of the windows (``Window.as_rate``)."""
        self._windows, self._bucket, self.time_scale, self._clock = windows, bucket, time_scale, clock
        self._blocked_until = float("-inf")
        self._counted_calls = 0
        self._lock = threading.Lock()

    def acquire_call_or_wait_seconds(self) -> float:
        """Count one call and return 0.0; or return the seconds until one is allowed, and count nothing.

        Raises:
            ConfigurationError: the calls cannot be counted; none must be made.
        """
        with self._lock:
            blocked_seconds = self._blocked_until - self._clock()
            if blocked_seconds > 0:
                return blocked_seconds
            with translate_bucket_errors(), self._bucket.limiter_lock() or nullcontext():  # type: ignore[attr-defined]  # an object
                return self._count_call_or_wait_seconds(int(self._bucket.now()))  # type: ignore[no-untyped-call]  # the library's

    def _count_call_or_wait_seconds(self, now_ms: int) -> float:
        decision = self._put_calls(now_ms)
        if decision.allowed:
            self._counted_calls += 1
            if self._counted_calls % CALLS_BETWEEN_CLEANUPS == 0:
                self._bucket.leak(now_ms)
            return 0.0
        if decision.retry_after_ms is None:
            return _CONTENTION_WAIT_SECONDS * (1 + random.random())  # noqa: S311  no secret
        if (
            decision.failing_rate is not None
            and decision.retry_after_ms > decision.failing_rate.interval + _MAX_CLOCK_DIFFERENCE_MS
        ):
            return self._reset_after_clock_change(now_ms)
        return max(decision.retry_after_ms, 1) / 1000

    def _reset_after_clock_change(self, now_ms: int) -> float:
        """Forget calls that seem to be still to come, since the clock was set back, as if the tightest window was full.

        They would hold up everything for as long as the clock was wrong.
        """
        tightest_rate = self._bucket.rates[0]
        self._bucket.flush()
        self._put_calls(now_ms, tightest_rate.limit)
        return tightest_rate.interval / 1000

    def _put_calls(self, now_ms: int, calls: int = 1) -> Decision:
        decision = self._bucket.put_decision(RateItem("call", now_ms, calls))
        if not isinstance(decision, Decision):
            raise TypeError("a bucket for asyncio cannot be used here")
        return decision

    def block_for_seconds(self, seconds: float) -> None:
        """Allow no call for ``seconds`` of real time, because the vendor said so."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    @property
    def max_wait_seconds(self) -> float:
        """The longest wait, in real seconds, that is slept rather than left for a later run."""
        return MAX_WAIT_SECONDS * self.time_scale

    @property
    def seconds_per_call(self) -> float:
        """The real seconds that one call is worth, where the window that allows the fewest is used evenly."""
        return max(window.seconds * self.time_scale / window.calls for window in self._windows)


@contextmanager
def translate_bucket_errors(location: str = "") -> Iterator[None]:
    """Turn what a bucket's database says in the block into a ConfigurationError; nothing of it is secret."""
    try:
        yield
    except (sqlite3.Error, psycopg.Error, OSError) as error:
        raise ConfigurationError(f"the calls to a vendor cannot be counted{location}: {error}") from error
