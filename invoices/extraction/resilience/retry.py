"""The one place that waits for a vendor and retries: within the rate limit, as long as the vendor requests, bounded."""

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

MAX_BACKOFF_SECONDS = 32.0  # apis/README §2.2
COOL_DOWN_SECONDS = 30.0  # an open breaker lets no call pass for this long
MAX_ATTEMPTS = 5  # of one call (apis/README §2.2)
ATTEMPTS_COUNTED_BY_BREAKER = 2  # of one call: a document that always fails must not suspend the vendor
ALL_ROUTES = "calls"  # the route group of a vendor that counts all calls together

CallResult = TypeVar("CallResult")


class VendorSuspended(Exception):
    """The vendor must not be called again in this run; its documents keep waiting, with this reason."""

    def __init__(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        """Keep a reason code, a sentence, and whether the run ends with an error to notify a person."""
        super().__init__(reason)
        self.reason_code, self.reason, self.is_problem = reason_code, reason, is_problem


class RetryingCaller:
    """Calls one vendor with rate limits, retries and a circuit breaker; safe to use from several threads.

    ``rate_limiters`` has one entry for each group of routes that the vendor counts separately; a group without one is
    not limited. ``sleep`` takes real seconds.
    """

    def __init__(
        self, vendor: str, rate_limiters: Mapping[str, RateLimiter], sleep: Callable[[float], object] | None = None
    ) -> None:
        """Start with a closed circuit breaker."""
        self._vendor, self._rate_limiters = vendor, rate_limiters
        self._circuit_breaker, self._lock, self._probe_lock = CircuitBreaker(), threading.Lock(), threading.Lock()
        self._suspended_event = threading.Event()
        self._sleep = sleep or self._suspended_event.wait
        self._suspension: VendorSuspended | None = None

    def send_with_retries(self, send_request: Callable[[], CallResult], route_group: str = ALL_ROUTES) -> CallResult:
        """Return the result of ``send_request``, repeated after each TransientError; other errors pass through.

        ``send_request`` must be safe to repeat after a TransientError: the client raises it only when nothing was done.

        Raises:
            VendorSuspended: the vendor refuses the account, keeps failing, or the wait would exceed the maximum.
            TransientError: this call failed ``MAX_ATTEMPTS`` times; other calls to the vendor may succeed.
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
                except (DocumentError, ContractError):  # the vendor is available
                    self._record_success(openings_before)
                    raise
                else:
                    self._record_success(openings_before)
                    return response

    def suspend_vendor(self, reason_code: str, reason: str, *, is_problem: bool) -> NoReturn:
        """Make this and every later call raise VendorSuspended, with the first reason given."""
        with self._lock:
            if self._suspension is None:
                self._suspension = VendorSuspended(reason_code, reason, is_problem=is_problem)
            suspension = self._suspension
        self._suspended_event.set()
        raise suspension

    def stop_all_calls(self) -> None:
        """Wake up all sleeping threads; every later call raises VendorSuspended."""
        with suppress(VendorSuspended):
            self.suspend_vendor("interrupted", "The run was interrupted; a later run continues.", is_problem=False)

    def block_route_group(self, seconds: float, route_group: str = ALL_ROUTES) -> None:
        """Allow no call of the route group for ``seconds``, as the vendor requested."""
        self._rate_limiters[route_group].block_for_seconds(seconds)

    def apply_reported_limit(self, reported_limit: RateLimit | None, route_group: str = ALL_ROUTES) -> None:
        """Block the route group until its window ends when the vendor reports that no call is left."""
        if (
            reported_limit is not None
            and reported_limit.remaining == 0
            and reported_limit.seconds_until_reset is not None
        ):
            self.block_route_group(reported_limit.seconds_until_reset, route_group)

    @contextmanager
    def _acquire_probe_if_half_open(self) -> Iterator[bool]:
        """Yield True to one thread at a time while the breaker is half open, and False to all threads otherwise."""
        if self._circuit_breaker.is_half_open:
            with self._probe_lock:
                if self._circuit_breaker.is_half_open:
                    yield True
                    return
        yield False

    def _wait_until_allowed(self, route_group: str, *, is_probe: bool) -> int | None:
        """Wait until a call is allowed and return the breaker's openings; None if the breaker has opened meanwhile."""
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
                reason = f"{self._vendor}: the plan's rate limit is used up for now; a later run continues."
                self.suspend_vendor("rate_limited", reason, is_problem=False)
            self._sleep(pause)

    def _record_success(self, openings_before: int) -> None:
        with self._lock:
            self._circuit_breaker.record_success(openings_before)

    def _record_failure(self, error: InvoicesError, openings_before: int) -> None:
        """Count a failure; block all route groups when the breaker opens, and suspend the vendor when it breaks."""
        with self._lock:
            state = self._circuit_breaker.record_failure(openings_before)
        if state == "open":
            for rate_limiter in self._rate_limiters.values():
                rate_limiter.block_for_seconds(COOL_DOWN_SECONDS * rate_limiter.time_scale)
        elif state == "broken":
            with suppress(VendorSuspended):  # raised by the next call; this one has its own error
                self.suspend_vendor("vendor_unavailable", f"{self._vendor} is not available: {error}", is_problem=True)

    def _apply_backoff(self, retry_after: float | None, attempts: int, route_group: str) -> None:
        """Block the route group for as long as the vendor requests, or for a random time that grows per attempt."""
        rate_limiter = self._rate_limiters.get(route_group) or next(iter(self._rate_limiters.values()))
        backoff = random.uniform(0, min(2.0**attempts, MAX_BACKOFF_SECONDS)) * rate_limiter.time_scale  # noqa: S311  not used as a secret
        pause = backoff if retry_after is None else retry_after
        if route_group in self._rate_limiters:
            rate_limiter.block_for_seconds(pause)
        else:
            self._sleep(min(pause, rate_limiter.max_wait_seconds))
