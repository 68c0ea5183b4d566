"""A circuit breaker: after too many failures no call is made for a while, then a single one tries.

Kept libraries open after failures in a row only; a vendor that fails every second call would never be left alone
(reliability F-28), so the share of the last calls counts here as well.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

CONSECUTIVE_FAILURES_TO_OPEN = 5  # in a row
REMEMBERED_CALLS = 10  # calls
FAILURE_RATE_TO_OPEN = 0.5  # of the remembered calls, once there are so many
SUCCESSES_TO_RECOVER = 50  # until then, a second opening is the last

BreakerState = Literal["closed", "open", "broken"]


class CircuitBreaker:
    """Closed: calls pass. Open: none does for a while, then one does, and its outcome decides. Broken: give up.

    Whoever calls takes note of ``openings`` before: what a call that was under way when the breaker opened comes to
    says nothing about the time since.
    """

    def __init__(self) -> None:
        """Start closed."""
        self._outcomes: deque[bool] = deque(maxlen=REMEMBERED_CALLS)
        self._consecutive_failures = 0
        self._has_opened_before = False
        self._recent_successes = 0
        self.openings = 0
        self.is_half_open = False

    def record_success(self, openings_before: int) -> None:
        """Take note of a call that went well; it closes a breaker that was half open when it began."""
        if openings_before != self.openings:
            return
        if self.is_half_open:
            self._outcomes.clear()
            self.is_half_open, self._recent_successes = False, 0
        self._outcomes.append(True)
        self._consecutive_failures = 0
        self._recent_successes += 1
        if self._recent_successes >= SUCCESSES_TO_RECOVER:
            self._has_opened_before = False

    def record_failure(self, openings_before: int) -> BreakerState:
        """Take note of a failure; return where that leaves the breaker."""
        if openings_before != self.openings:
            return "closed"
        self._consecutive_failures += 1
        self._outcomes.append(False)
        if self.is_half_open:
            return "broken"
        if not self._has_too_many_failures():
            return "closed"
        if self._has_opened_before:
            return "broken"
        self._has_opened_before = self.is_half_open = True
        self.openings += 1
        return "open"

    def _has_too_many_failures(self) -> bool:
        is_failure_rate_high = (
            len(self._outcomes) == REMEMBERED_CALLS
            and self._outcomes.count(False) >= FAILURE_RATE_TO_OPEN * REMEMBERED_CALLS
        )
        return is_failure_rate_high or self._consecutive_failures >= CONSECUTIVE_FAILURES_TO_OPEN
