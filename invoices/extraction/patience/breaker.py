"""A circuit breaker: after too many failures no call is made for a while, then a single one tries.

Kept libraries open after failures in a row only; a vendor that fails every second call would never be left alone
(reliability F-28), so the share of the last calls counts here as well.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

FAILURES_TO_OPEN = 5  # in a row
REMEMBERED = 10  # calls
SHARE_TO_OPEN = 0.5  # of the remembered calls, once there are so many
SUCCESSES_TO_TRUST = 50  # until then, a second opening is the last

State = Literal["closed", "open", "broken"]


class Breaker:
    """Closed: calls pass. Open: none does for a while, then one does, and its outcome decides. Broken: give up.

    Whoever calls takes note of ``openings`` before: what a call that was under way when the breaker opened comes to
    says nothing about the time since.
    """

    def __init__(self) -> None:
        """Start closed."""
        self._outcomes: deque[bool] = deque(maxlen=REMEMBERED)
        self._failures_in_a_row = 0
        self._has_opened = False
        self._successes = 0
        self.openings = 0
        self.is_half_open = False

    def succeeded(self, began: int) -> None:
        """Take note of a call that went well; it closes a breaker that was half open when it began."""
        if began != self.openings:
            return
        if self.is_half_open:
            self._outcomes.clear()
            self.is_half_open, self._successes = False, 0
        self._outcomes.append(True)
        self._failures_in_a_row = 0
        self._successes += 1
        if self._successes >= SUCCESSES_TO_TRUST:
            self._has_opened = False

    def failed(self, began: int) -> State:
        """Take note of a failure; return where that leaves the breaker."""
        if began != self.openings:
            return "closed"
        self._failures_in_a_row += 1
        self._outcomes.append(False)
        if self.is_half_open:
            return "broken"
        if not self._is_too_much():
            return "closed"
        if self._has_opened:
            return "broken"
        self._has_opened = self.is_half_open = True
        self.openings += 1
        return "open"

    def _is_too_much(self) -> bool:
        is_flapping = len(self._outcomes) == REMEMBERED and self._outcomes.count(False) >= SHARE_TO_OPEN * REMEMBERED
        return is_flapping or self._failures_in_a_row >= FAILURES_TO_OPEN
