"""A clock for tests that only moves when a test moves it or sleeps, and a bucket that uses it."""

from __future__ import annotations

import threading

from pyrate_limiter import InMemoryBucket, Rate


class ManualClock:
    """A clock in seconds; several threads may sleep."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def get_seconds(self) -> float:
        return self.now

    def get_milliseconds(self) -> int:
        return int(self.now * 1000)

    def sleep(self, seconds: float) -> None:
        """Move the clock by at least a millisecond, and record the sleep."""
        with self._lock:
            self.now += max(0.001, seconds)
            self.sleeps.append(seconds)


class ClockedBucket(InMemoryBucket):
    """A bucket with a manual clock."""

    def __init__(self, rates: list[Rate], clock: ManualClock) -> None:
        super().__init__(rates)
        self._clock = clock

    def now(self) -> int:
        return self._clock.get_milliseconds()
