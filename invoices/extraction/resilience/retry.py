"""The one place that waits for a vendor and tries again: within the budget, as the vendor asks, and not for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

from invoices.clients.rate_limit_headers import RateLimit
from invoices.errors import (
    AccountError,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
)
from invoices.extraction.resilience.circuit_breaker import CircuitBreaker
from invoices.extraction.resilience.rate_limit import RateLimiter

MAX_BACKOFF_SECONDS = 32.0  # seconds (apis/README §2.2)
COOL_DOWN_SECONDS = 30.0  # seconds in which an open breaker lets no call pass
MAX_ATTEMPTS = 5  # of one call (apis/README §2.2)
ATTEMPTS_COUNTED_BY_BREAKER = (
    2  # for the breaker: a document at which a vendor always fails does not speak for the others
)
ALL_ROUTES = "calls"  # the bucket of a vendor that has but one

Answer = TypeVar("Answer")


class VendorSuspended(Exception):
    """Leave the vendor alone for the rest of this run; what waits for it keeps waiting, with this reason."""

    def __init__(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Take a code, a sentence, and whether a person should be told by the run ending with an error."""
        super().__init__(reason)
        self.reason_code, self.reason, self.is_problem = reason_code, reason, is_problem


class RetryingCaller:
    """When one vendor may be called next, and when to stop calling; several threads may use it.

    ``budgets`` has one budget for each group of routes that the vendor counts apart; a group that has none is not
    counted. ``sleep`` takes real seconds.
    """

    def __init__(
        self, vendor: str, rate_limiters: Mapping[str, RateLimiter], sleep: Callable[[float], object] | None = None
    ) -> None:
        """Start with no failure behind us."""
        self._vendor, self._rate_limiters = vendor, rate_limiters
        self._circuit_breaker, self._lock, self._probe_lock = CircuitBreaker(), threading.Lock(), threading.Lock()
        self._suspended_event = threading.Event()
        self._sleep = sleep or self._suspended_event.wait
        self._suspension: VendorSuspended | None = None

    def send_with_retries(self, send_request: Callable[[], Answer], route_group: str = ALL_ROUTES) -> Answer:
        """Return what ``ask`` returns, asked in turn and again after each TransientError; other errors pass through.

        ``ask`` must be safe to repeat after a TransientError: the client raises it only where nothing was done.

        Raises:
            VendorStopped: the account is refused, failures do not end, or the wait is longer than patience.
            TransientError: this call failed five times, while others of the vendor may go well.
        """
        attempts = 0
        while True:
            with self._acquire_probe_if_half_open() as is_probe:
                openings_before = self._wait_until_allowed(route_group, is_probe=is_probe)
                if openings_before is None:
                    continue
                try:
                    response = send_request()
                except AccountError as error:
                    self.suspend_vendor(
                        "account_stopped", f"{self._vendor} refuses the account: {error}", is_problem=True
                    )
                except TransientError as error:
                    attempts += 1
                    if is_probe or attempts <= ATTEMPTS_COUNTED_BY_BREAKER:
                        self._record_failure(error, openings_before)
                    self._apply_backoff(error.retry_after, attempts, route_group)
                    if attempts >= MAX_ATTEMPTS:
                        raise
                except UnknownOutcome as error:
                    self._record_failure(error, openings_before)
                    raise
                except (DocumentError, ContractError):  # it answers
                    self._record_success(openings_before)
                    raise
                else:
                    self._record_success(openings_before)
                    return response

    def suspend_vendor(self, reason_code: str, reason: str, *, is_problem: bool) -> NoReturn:
        """Make this and every later call raise VendorStopped, with the first reason that was given."""
        with self._lock:
            if self._suspension is None:
                self._suspension = VendorSuspended(reason_code, reason, is_problem=is_problem)
            suspension = self._suspension
        self._suspended_event.set()
        raise suspension

    def stop_all_calls(self) -> None:
        """Wake up whoever sleeps here; the next call of anybody raises VendorStopped."""
        with suppress(VendorSuspended):
            self.suspend_vendor("interrupted", "The run was interrupted; a later one goes on.", is_problem=False)

    def block_route_group(self, seconds: float, route_group: str = ALL_ROUTES) -> None:
        """Keep quiet for so long, because the vendor said so."""
        self._rate_limiters[route_group].block_for_seconds(seconds)

    def apply_reported_limit(self, reported_limit: RateLimit | None, route_group: str = ALL_ROUTES) -> None:
        """Stop before the wall: when the vendor says that nothing is left, keep quiet until its window ends."""
        if (
            reported_limit is not None
            and reported_limit.remaining == 0
            and reported_limit.seconds_until_reset is not None
        ):
            self.block_route_group(reported_limit.seconds_until_reset, route_group)

    @contextmanager
    def _acquire_probe_if_half_open(self) -> Iterator[bool]:
        """Let everybody in, or, while the breaker is half open, one at a time, who tries for all."""
        if self._circuit_breaker.is_half_open:
            with self._probe_lock:
                if self._circuit_breaker.is_half_open:
                    yield True
                    return
        yield False

    def _wait_until_allowed(self, route_group: str, *, is_probe: bool) -> int | None:
        """Return the breaker's openings when it is time to call; None where it opened meanwhile, for others."""
        rate_limiter = self._rate_limiters.get(route_group)
        while True:
            if self._suspension is not None:
                raise self._suspension
            openings = self._circuit_breaker.openings
            if self._circuit_breaker.is_half_open and not is_probe:
                return None
            pause = rate_limiter.acquire_call_or_wait_seconds() if rate_limiter is not None else 0.0
            if pause == 0 or rate_limiter is None:
                return openings
            if pause > rate_limiter.max_wait_seconds:
                reason = f"{self._vendor}: the limit of the plan is used up for now; a later run goes on."
                self.suspend_vendor("rate_limited", reason, is_problem=False)
            self._sleep(pause)

    def _record_success(self, openings_before: int) -> None:
        with self._lock:
            self._circuit_breaker.record_success(openings_before)

    def _record_failure(self, error: InvoicesError, openings_before: int) -> None:
        """Let no call pass for a while after too many failures; when they do not end, let none pass any more."""
        with self._lock:
            state = self._circuit_breaker.record_failure(openings_before)
        if state == "open":
            for rate_limiter in self._rate_limiters.values():
                rate_limiter.block_for_seconds(COOL_DOWN_SECONDS * rate_limiter.time_scale)
        elif state == "broken":
            with suppress(VendorSuspended):  # it is for the next call: this one has an error of its own
                self.suspend_vendor("vendor_unavailable", f"{self._vendor} is not available: {error}", is_problem=True)

    def _apply_backoff(self, retry_after: float | None, attempts: int, route_group: str) -> None:
        """Keep quiet for as long as the vendor asks, or else longer after each failure."""
        rate_limiter = self._rate_limiters.get(route_group) or next(iter(self._rate_limiters.values()))
        backoff = random.uniform(0, min(2.0**attempts, MAX_BACKOFF_SECONDS)) * rate_limiter.time_scale  # noqa: S311  no secret
        pause = backoff if retry_after is None else retry_after
        if route_group in self._rate_limiters:
            rate_limiter.block_for_seconds(pause)
        else:
            self._sleep(min(pause, rate_limiter.max_wait_seconds))
