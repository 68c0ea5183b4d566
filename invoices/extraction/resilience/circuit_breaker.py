"""A circuit breaker: after too many failures no call is made for a while, then a single probe call.

Maintained libraries open only after consecutive failures, so they never open for a vendor that fails every second call
(reliability F-28). Here the failure rate of the last calls counts as well.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

CONSECUTIVE_FAILURES_TO_OPEN = 5
REMEMBERED_CALLS = 10
FAILURE_RATE_TO_OPEN = 0.5  # of the last REMEMBERED_CALLS, not of fewer
SUCCESSES_TO_RECOVER = 50  # before that, a second opening breaks it

BreakerState = Literal["closed", "open", "broken"]


class CircuitBreaker:
    """Closed: calls pass. Open: no call passes for a while, then one probe decides. Broken: no further calls.

    The caller reads ``openings`` before each call and passes it back with the outcome. The outcome of a call that was
    running when the breaker opened is ignored.
    """

    def __init__(self) -> None:
        """Create a closed breaker."""
        self._outcomes: deque[bool] = deque(maxlen=REMEMBERED_CALLS)
        self._consecutive_failures = 0
        self._has_opened_before = False
        self._recent_successes = 0
        self.openings = 0
        self.is_half_open = False

    def record_success(self, openings_before: int) -> None:
        """Count a successful call; it closes a breaker that was half open when the call began."""
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
        """Count a failed call; return the new state of the breaker."""
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
