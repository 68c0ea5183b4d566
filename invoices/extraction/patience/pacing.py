"""The one place that waits for a vendor and tries again: within the budget, as the vendor asks, and not for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

from invoices.clients.throttling import RateLimit
from invoices.errors import (
    AccountError,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
)
from invoices.extraction.patience.breaker import Breaker
from invoices.extraction.patience.budget import Budget

LONGEST_BACKOFF = 32.0  # seconds (apis/README §2.2)
COOL_DOWN = 30.0  # seconds in which an open breaker lets no call pass
TRIES = 5  # of one call (apis/README §2.2)
TRIES_THAT_COUNT = 2  # for the breaker: a document at which a vendor always fails does not speak for the others
CALLS = "calls"  # the bucket of a vendor that has but one

Answer = TypeVar("Answer")


class VendorStopped(Exception):
    """Leave the vendor alone for the rest of this run; what waits for it keeps waiting, with this reason."""

    def __init__(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Take a code, a sentence, and whether a person should be told by the run ending with an error."""
        super().__init__(reason)
        self.reason_code, self.reason, self.is_problem = reason_code, reason, is_problem


class Pacing:
    """When one vendor may be called next, and when to stop calling; several threads may use it.

    ``budgets`` has one budget for each group of routes that the vendor counts apart; a group that has none is not
    counted. ``sleep`` takes real seconds.
    """

    def __init__(
        self, vendor: str, budgets: Mapping[str, Budget], sleep: Callable[[float], object] | None = None
    ) -> None:
        """Start with no failure behind us."""
        self._vendor, self._budgets = vendor, budgets
        self._breaker, self._lock, self._probing = Breaker(), threading.Lock(), threading.Lock()
        self._halted = threading.Event()
        self._sleep = sleep or self._halted.wait
        self._stopped: VendorStopped | None = None

    def call(self, ask: Callable[[], Answer], bucket: str = CALLS) -> Answer:
        """Return what ``ask`` returns, asked in turn and again after each TransientError; other errors pass through.

        ``ask`` must be safe to repeat after a TransientError: the client raises it only where nothing was done.

        Raises:
            VendorStopped: the account is refused, failures do not end, or the wait is longer than patience.
            TransientError: this call failed five times, while others of the vendor may go well.
        """
        tries = 0
        while True:
            with self._door() as is_probe:
                began = self._take_turn(bucket, is_probe=is_probe)
                if began is None:
                    continue
                try:
                    answer = ask()
                except AccountError as error:
                    self.stop("account_stopped", f"{self._vendor} refuses the account: {error}", is_problem=True)
                except TransientError as error:
                    tries += 1
                    if is_probe or tries <= TRIES_THAT_COUNT:
                        self._failed(error, began)
                    self._rest(error.retry_after, tries, bucket)
                    if tries >= TRIES:
                        raise
                except UnknownOutcome as error:
                    self._failed(error, began)
                    raise
                except (DocumentError, ContractError):  # it answers
                    self._succeeded(began)
                    raise
                else:
                    self._succeeded(began)
                    return answer

    def stop(self, reason_code: str, reason: str, *, is_problem: bool) -> NoReturn:
        """Make this and every later call raise VendorStopped, with the first reason that was given."""
        with self._lock:
            if self._stopped is None:
                self._stopped = VendorStopped(reason_code, reason, is_problem=is_problem)
            stopped = self._stopped
        self._halted.set()
        raise stopped

    def halt(self) -> None:
        """Wake up whoever sleeps here; the next call of anybody raises VendorStopped."""
        with suppress(VendorStopped):
            self.stop("interrupted", "The run was interrupted; a later one goes on.", is_problem=False)

    def block(self, seconds: float, bucket: str = CALLS) -> None:
        """Keep quiet for so long, because the vendor said so."""
        self._budgets[bucket].block(seconds)

    def heard(self, limits: RateLimit | None, bucket: str = CALLS) -> None:
        """Stop before the wall: when the vendor says that nothing is left, keep quiet until its window ends."""
        if limits is not None and limits.remaining == 0 and limits.resets_in is not None:
            self.block(limits.resets_in, bucket)

    @contextmanager
    def _door(self) -> Iterator[bool]:
        """Let everybody in, or, while the breaker is half open, one at a time, who tries for all."""
        if self._breaker.is_half_open:
            with self._probing:
                if self._breaker.is_half_open:
                    yield True
                    return
        yield False

    def _take_turn(self, bucket: str, *, is_probe: bool) -> int | None:
        """Return the breaker's openings when it is time to call; None where it opened meanwhile, for others."""
        budget = self._budgets.get(bucket)
        while True:
            if self._stopped is not None:
                raise self._stopped
            began = self._breaker.openings
            if self._breaker.is_half_open and not is_probe:
                return None
            pause = budget.take() if budget is not None else 0.0
            if pause == 0 or budget is None:
                return began
            if pause > budget.patience:
                text = f"{self._vendor}: the limit of the plan is used up for now; a later run goes on."
                self.stop("rate_limited", text, is_problem=False)
            self._sleep(pause)

    def _succeeded(self, began: int) -> None:
        with self._lock:
            self._breaker.succeeded(began)

    def _failed(self, error: InvoicesError, began: int) -> None:
        """Let no call pass for a while after too many failures; when they do not end, let none pass any more."""
        with self._lock:
            state = self._breaker.failed(began)
        if state == "open":
            for budget in self._budgets.values():
                budget.block(COOL_DOWN * budget.scale)
        elif state == "broken":
            with suppress(VendorStopped):  # it is for the next call: this one has an error of its own
                self.stop("vendor_unavailable", f"{self._vendor} is not available: {error}", is_problem=True)

    def _rest(self, asked: float | None, tries: int, bucket: str) -> None:
        """Keep quiet for as long as the vendor asks, or else longer after each failure."""
        budget = self._budgets.get(bucket) or next(iter(self._budgets.values()))
        backoff = random.uniform(0, min(2.0**tries, LONGEST_BACKOFF)) * budget.scale  # noqa: S311  no secret
        pause = backoff if asked is None else asked
        if bucket in self._budgets:
            budget.block(pause)
        else:
            self._sleep(min(pause, budget.patience))
