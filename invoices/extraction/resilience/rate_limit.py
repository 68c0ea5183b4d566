"""A rate limiter: how long to wait before the next call, so that a vendor's limits are used up and never exceeded.

pyrate-limiter counts the calls in sliding windows, in one bucket that all processes on a ledger share: a SQLite file,
or a table of the PostgreSQL database that holds the ledger.
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

MAX_WAIT_SECONDS = 65.0  # a little more than a minute; longer waits are for a later run (apis/README §2.3)
CALLS_BETWEEN_CLEANUPS = 200
_CONTENTION_WAIT_SECONDS = 0.005  # until a bucket that another process has locked is tried again
_MAX_CLOCK_DIFFERENCE_MS = 1000  # between the clocks of processes that share a bucket


@dataclass(frozen=True, slots=True)
class RateWindow:
    """A limit of ``calls`` within any ``seconds``."""

    calls: int
    seconds: float

    def to_rate(self, time_scale: float) -> Rate:
        """Return the window in milliseconds, extended by 1.5% because calls arrive with different delays.

        The extension is at least 50 ms and at most one second.
        """
        seconds = self.seconds * time_scale
        return Rate(self.calls, round(1000 * (seconds + min(1.0, max(0.05, 0.015 * seconds)))))


class RateLimiter:
    """Limits the calls of one account, by its plan's windows and the vendor's last response; safe for several threads.

    ``time_scale`` shortens every time span for a rehearsal: 1.0 is real time, with 0.05 a minute takes three seconds.
    """

    def __init__(
        self,
        windows: Sequence[RateWindow],
        bucket: AbstractBucket | None,
        time_scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count calls in ``bucket``, whose rates must be those of ``windows`` (``RateWindow.to_rate``).

        Without a bucket, calls are limited only by the waits that the vendor requests.
        """
        self._windows, self._bucket, self.time_scale, self._clock = windows, bucket, time_scale, clock
        self._blocked_until = float("-inf")
        self._counted_calls = 0
        self._lock = threading.Lock()

    def acquire_call_or_wait_seconds(self) -> float:
        """Count one call and return 0.0; or count nothing and return the seconds until a call is allowed.

        Raises:
            ConfigurationError: calls cannot be counted, so none may be made.
        """
        with self._lock:
            blocked_seconds = self._blocked_until - self._clock()
            if blocked_seconds > 0:
                return blocked_seconds
            if self._bucket is None:
                return 0.0
            with translate_bucket_errors(), self._bucket.limiter_lock() or nullcontext():  # type: ignore[attr-defined]  # an object
                return self._count_call_or_wait_seconds(self._bucket, int(self._bucket.now()))  # type: ignore[no-untyped-call]  # the library's

    def _count_call_or_wait_seconds(self, bucket: AbstractBucket, now_ms: int) -> float:
        decision = _put_calls(bucket, now_ms)
        if decision.allowed:
            self._counted_calls += 1
            if self._counted_calls % CALLS_BETWEEN_CLEANUPS == 0:
                bucket.leak(now_ms)
            return 0.0
        if decision.retry_after_ms is None:
            return _CONTENTION_WAIT_SECONDS * (1 + random.random())  # noqa: S311  not used as a secret
        if (
            decision.failing_rate is not None
            and decision.retry_after_ms > decision.failing_rate.interval + _MAX_CLOCK_DIFFERENCE_MS
        ):
            return _reset_after_clock_change(bucket, now_ms)
        return max(decision.retry_after_ms, 1) / 1000

    def block_for_seconds(self, seconds: float) -> None:
        """Allow no call for ``seconds`` of real time."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    def build_unlimited(self) -> RateLimiter:
        """Return a limiter with the same time scale and clock for routes that the vendor does not count."""
        return RateLimiter((), None, self.time_scale, self._clock)

    @property
    def max_wait_seconds(self) -> float:
        """The longest wait in real seconds; for a longer one, documents are deferred to a later run."""
        return MAX_WAIT_SECONDS * self.time_scale

    @property
    def seconds_per_call(self) -> float:
        """The real seconds per call when calls are spread evenly over the slowest window."""
        return max(window.seconds * self.time_scale / window.calls for window in self._windows)


@contextmanager
def translate_bucket_errors(location: str = "") -> Iterator[None]:
    """Turn errors of a bucket's database into a ConfigurationError; they contain no secret."""
    try:
        yield
    except (sqlite3.Error, psycopg.Error, OSError) as error:
        raise ConfigurationError(f"calls to a vendor cannot be counted{location}: {error}") from error


def _reset_after_clock_change(bucket: AbstractBucket, now_ms: int) -> float:
    """Drop counted calls that lie in the future because the clock was set back; return the seconds to wait.

    They would block all calls for as long as the clock was wrong. The tightest window counts as full instead.
    """
    tightest_rate = bucket.rates[0]
    bucket.flush()
    _put_calls(bucket, now_ms, tightest_rate.limit)
    return tightest_rate.interval / 1000


def _put_calls(bucket: AbstractBucket, now_ms: int, calls: int = 1) -> Decision:
    decision = bucket.put_decision(RateItem("call", now_ms, calls))
    if not isinstance(decision, Decision):
        raise TypeError("asyncio buckets are not supported")
    return decision
