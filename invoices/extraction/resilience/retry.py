"""The one place that waits for a vendor and retries: within the rate limit, as long as the vendor requests, bounded."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

from invoices.clients.error_mapping import Conflict
from invoices.clients.rate_limit_headers import RateLimit
from invoices.errors import (
    AccountError,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
    UnreadableResponse,
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


class StorageSuspended(VendorSuspended):
    """The vendor's storage must not be called again in this run; its API may be."""


class _Host:
    """One host of a vendor, the API or its storage: its circuit breaker and rate limiters; each fails on its own."""

    def __init__(
        self, name: str, suspension_type: type[VendorSuspended], rate_limiters: Mapping[str, RateLimiter]
    ) -> None:
        self.name, self.suspension_type, self.rate_limiters = name, suspension_type, rate_limiters
        self.circuit_breaker, self.probe_lock = CircuitBreaker(), threading.Lock()
        self.suspension: VendorSuspended | None = None


class RetryingCaller:
    """Calls one vendor with rate limits, retries and circuit breakers; safe to use from several threads.

    ``rate_limiters`` has one entry for each group of routes that the vendor counts separately. ``storage_groups`` are
    groups of routes that it does not count, on another host than its API. ``sleep`` takes real seconds.
    """

    def __init__(
        self,
        vendor: str,
        rate_limiters: Mapping[str, RateLimiter],
        sleep: Callable[[float], object] | None = None,
        storage_groups: Collection[str] = (),
    ) -> None:
        """Start with closed circuit breakers."""
        unlimited = next(iter(rate_limiters.values())).build_unlimited()
        storage_limiters = dict.fromkeys(storage_groups, unlimited)
        self._api = _Host(vendor, VendorSuspended, rate_limiters)
        self._storage = _Host(f"the storage of {vendor}", StorageSuspended, storage_limiters)
        self._lock, self._suspended_event = threading.Lock(), threading.Event()
        self._sleep = sleep or self._suspended_event.wait

    def send_with_retries(
        self,
        send_request: Callable[[], CallResult],
        route_group: str = ALL_ROUTES,
        *,
        repeats_unreadable: bool = True,
        min_pause_seconds: float = 0.0,
    ) -> CallResult:
        """Return the result of ``send_request``, repeated after each TransientError; other errors pass through.

        ``send_request`` must be safe to repeat after a TransientError: the client raises it only when nothing was done.
        A read without a usable response is repeated as well, unless ``repeats_unreadable`` is off because the caller
        does it. Two attempts are at least ``min_pause_seconds`` of the vendor's time apart.

        Raises:
            VendorSuspended: the vendor refuses the account, keeps failing, or the wait would exceed the maximum.
            StorageSuspended: the same for its storage.
            TransientError: this call failed ``MAX_ATTEMPTS`` times; other calls to the vendor may succeed.
            UnreadableResponse: the same for a read without a usable response.
        """
        host, attempts = self._find_host(route_group), 0
        while True:
            with self._acquire_probe_if_half_open(host) as is_probe:
                openings_before = self._wait_until_allowed(host, route_group, is_probe=is_probe)
                if openings_before is None:
                    continue
                try:
                    response = send_request()
                except AccountError as error:
                    self.suspend_vendor(
                        "account_stopped", f"{self._api.name} refuses the account: {error}", is_problem=True
                    )
                except (TransientError, UnreadableResponse) as error:
                    attempts += 1
                    self._record_failed_attempt(host, error, openings_before, attempts, is_probe=is_probe)
                    if isinstance(error, UnreadableResponse) and not repeats_unreadable:
                        raise
                    self._apply_backoff(host, error, attempts, route_group, min_pause_seconds)
                    if attempts >= MAX_ATTEMPTS:
                        raise
                except (DocumentError, ContractError, Conflict):  # a clear answer: the vendor is available
                    self._record_success(host, openings_before)
                    raise
                except UnknownOutcome as error:
                    self._record_failure(host, error, openings_before)
                    raise
                else:
                    self._record_success(host, openings_before)
                    return response

    def suspend_vendor(self, reason_code: str, reason: str, *, is_problem: bool) -> NoReturn:
        """Make this and every later call raise VendorSuspended, with the first reason given."""
        self._suspend_host(self._api, reason_code, reason, is_problem=is_problem)

    def stop_all_calls(self) -> None:
        """Wake up all sleeping threads; every later call raises VendorSuspended."""
        with suppress(VendorSuspended):
            self.suspend_vendor("interrupted", "The run was interrupted; a later run continues.", is_problem=False)

    def block_route_group(self, seconds: float, route_group: str = ALL_ROUTES) -> None:
        """Allow no call of the route group for ``seconds``, as the vendor requested."""
        self._find_host(route_group).rate_limiters[route_group].block_for_seconds(seconds)

    def apply_reported_limit(self, reported_limit: RateLimit | None, route_group: str = ALL_ROUTES) -> None:
        """Block the route group until its window ends when the vendor reports that no call is left."""
        if (
            reported_limit is not None
            and reported_limit.remaining == 0
            and reported_limit.seconds_until_reset is not None
        ):
            self.block_route_group(reported_limit.seconds_until_reset, route_group)

    def _find_host(self, route_group: str) -> _Host:
        return self._storage if route_group in self._storage.rate_limiters else self._api

    def _suspend_host(self, host: _Host, reason_code: str, reason: str, *, is_problem: bool) -> NoReturn:
        with self._lock:
            if host.suspension is None:
                host.suspension = host.suspension_type(reason_code, reason, is_problem=is_problem)
            suspension = host.suspension
        if host is self._api:
            self._suspended_event.set()
        raise suspension

    @contextmanager
    def _acquire_probe_if_half_open(self, host: _Host) -> Iterator[bool]:
        """Yield True to one thread at a time while the breaker is half open, and False to all threads otherwise."""
        if host.circuit_breaker.is_half_open:
            with host.probe_lock:
                if host.circuit_breaker.is_half_open:
                    yield True
                    return
        yield False

    def _wait_until_allowed(self, host: _Host, route_group: str, *, is_probe: bool) -> int | None:
        """Wait until a call is allowed and return the breaker's openings; None if the breaker has opened meanwhile."""
        rate_limiter = host.rate_limiters[route_group]
        while True:
            suspension = self._api.suspension or host.suspension
            if suspension is not None:
                raise suspension
            openings = host.circuit_breaker.openings
            if host.circuit_breaker.is_half_open and not is_probe:
                return None
            pause = rate_limiter.acquire_call_or_wait_seconds()
            if pause == 0:
                return openings
            if pause > rate_limiter.max_wait_seconds:
                reason = (
                    f"{host.name}: no call is allowed for {pause:,.0f} s, by its rate limit or because it requested "
                    "the wait; a later run continues."
                )
                self._suspend_host(host, "rate_limited", reason, is_problem=False)
            self._sleep(pause)

    def _record_success(self, host: _Host, openings_before: int) -> None:
        with self._lock:
            host.circuit_breaker.record_success(openings_before)

    def _record_failed_attempt(
        self, host: _Host, error: InvoicesError, openings_before: int, attempts: int, *, is_probe: bool
    ) -> None:
        """Count an attempt that failed; a response without sense still shows that the vendor is available."""
        if isinstance(error, UnreadableResponse):
            self._record_success(host, openings_before)
        elif is_probe or attempts <= ATTEMPTS_COUNTED_BY_BREAKER:
            self._record_failure(host, error, openings_before)

    def _record_failure(self, host: _Host, error: InvoicesError, openings_before: int) -> None:
        """Count a failure; block all routes of the host when its breaker opens, and suspend it when it breaks."""
        with self._lock:
            state = host.circuit_breaker.record_failure(openings_before)
        if state == "open":
            for rate_limiter in host.rate_limiters.values():
                rate_limiter.block_for_seconds(COOL_DOWN_SECONDS * rate_limiter.time_scale)
        elif state == "broken":
            with suppress(VendorSuspended):  # raised by the next call; this one has its own error
                self._suspend_host(
                    host, "vendor_unavailable", f"{host.name} is not available: {error}", is_problem=True
                )

    def _apply_backoff(
        self,
        host: _Host,
        error: TransientError | UnreadableResponse,
        attempts: int,
        route_group: str,
        min_pause_seconds: float,
    ) -> None:
        """Block the route group for as long as the vendor requests, or for a random time that grows per attempt."""
        rate_limiter = host.rate_limiters[route_group]
        retry_after = error.retry_after if isinstance(error, TransientError) else None
        backoff = random.uniform(0, min(2.0**attempts, MAX_BACKOFF_SECONDS)) * rate_limiter.time_scale  # noqa: S311  not used as a secret
        pause = backoff if retry_after is None else retry_after
        rate_limiter.block_for_seconds(max(pause, min_pause_seconds * rate_limiter.time_scale))
