"""The one place that waits for a vendor and tries again: within the budget, as the vendor asks, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from invoices.errors import AccountError, TransientError
from invoices.extraction.budget import Budget

FAILURES_TO_STOP = 5  # in a row: then the vendor is left alone until the next run
LONGEST_BACKOFF = 32.0  # seconds (apis/README §2.2)

Answer = TypeVar("Answer")


class VendorStopped(Exception):
    """Leave the vendor alone for the rest of this run; what waits for it keeps waiting, with this reason."""

    def __init__(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Take a code, a sentence, and whether a person should be told by the run ending with an error."""
        super().__init__(reason)
        self.reason_code, self.reason, self.is_problem = reason_code, reason, is_problem


class Pacing:
    """When one vendor may be called next, and when to stop calling. ``sleep`` takes real seconds."""

    def __init__(self, vendor: str, budget: Budget, sleep: Callable[[float], None] = time.sleep) -> None:
        """Start with no failure behind us."""
        self._vendor, self._budget, self._sleep = vendor, budget, sleep
        self._failures = 0

    def call(self, ask: Callable[[], Answer]) -> Answer:
        """Return what ``ask`` returns, asked in turn and again after each TransientError; other errors pass through.

        ``ask`` must be safe to repeat after a TransientError: the client raises it only where nothing was done.

        Raises:
            VendorStopped: the account is refused, failures do not end, or the wait is longer than patience.
        """
        while True:
            self._take_turn()
            try:
                answer = ask()
            except AccountError as error:
                raise VendorStopped(
                    "account_stopped", f"{self._vendor} refuses the account: {error}", is_problem=True
                ) from error
            except TransientError as error:
                self._heed(error)
            else:
                self._failures = 0
                return answer

    def _take_turn(self) -> None:
        pause = self._budget.wait()
        if pause > self._budget.patience:
            raise VendorStopped(
                "rate_limited",
                f"{self._vendor}: the limit of the plan is used up for now; a later run goes on.",
                is_problem=False,
            )
        if pause > 0:
            self._sleep(pause)
        self._budget.spend()

    def _heed(self, error: TransientError) -> None:
        """Keep quiet for as long as the vendor asks, or longer after each failure; stop after several in a row."""
        self._failures += 1
        if self._failures >= FAILURES_TO_STOP:
            raise VendorStopped(
                "vendor_unavailable", f"{self._vendor} is not available: {error}", is_problem=True
            ) from error
        backoff = min(2.0 ** (self._failures - 1), LONGEST_BACKOFF) * self._budget.scale
        self._budget.block(error.retry_after if error.retry_after is not None else backoff)
