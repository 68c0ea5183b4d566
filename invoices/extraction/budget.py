"""A rate budget: how long to wait before the next call, so that a vendor's limits are used and never exceeded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE_SECONDS = 60.0  # a longer wait is not slept: the work is left for a later run (apis/README §2.3)


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``calls`` within any ``seconds``."""

    calls: int
    seconds: float


class Budget:
    """The calls left to one account, by its plan's windows and by what the vendor last said.

    Sliding windows are kept, which are at least as strict as the vendor's. ``scale`` shortens every time span for a
    rehearsal: 1.0 is real time, 0.05 a minute of three seconds.
    """

    def __init__(
        self, windows: Sequence[Window], scale: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with full windows."""
        self._windows = windows
        self.scale = scale
        self._clock = clock
        self._calls: deque[float] = deque(maxlen=max(window.calls for window in windows))
        self._blocked_until = 0.0

    def wait(self) -> float:
        """Return the seconds until the next call is allowed; 0 if it is now."""
        now = self._clock()
        ready = self._blocked_until
        for window in self._windows:
            if len(self._calls) >= window.calls:
                ready = max(ready, self._calls[-window.calls] + window.seconds * self.scale)
        return max(0.0, ready - now)

    def spend(self) -> None:
        """Count a call that is about to be made."""
        self._calls.append(self._clock())

    def block(self, seconds: float) -> None:
        """Allow no call for ``seconds`` of real time, because the vendor said so."""
        self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    @property
    def patience(self) -> float:
        """The longest wait, in real seconds, that is slept rather than left for a later run."""
        return PATIENCE_SECONDS * self.scale

    def stretch(self, open_jobs: int) -> float:
        """Return the seconds in which every open job can be looked at once with half of the tightest window's calls."""
        return max(open_jobs * 2 * window.seconds * self.scale / window.calls for window in self._windows)
