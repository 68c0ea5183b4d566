"""The retrying caller waits and retries as the vendor requests, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, cycle, pairwise, repeat

import pytest
from pyrate_limiter import InMemoryBucket

from invoices.clients.error_mapping import Conflict
from invoices.errors import (
    AccountError,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
    UnreadableResponse,
)
from invoices.extraction.resilience.circuit_breaker import CONSECUTIVE_FAILURES_TO_OPEN, REMEMBERED_CALLS
from invoices.extraction.resilience.rate_limit import MAX_WAIT_SECONDS, RateLimiter, RateWindow
from invoices.extraction.resilience.retry import (
    ALL_ROUTES,
    ATTEMPTS_COUNTED_BY_BREAKER,
    COOL_DOWN_SECONDS,
    MAX_ATTEMPTS,
    RetryingCaller,
    StorageSuspended,
    VendorSuspended,
)
from tests.unit.extraction.resilience.clock import ClockedBucket, ManualClock

STORAGE = "storage"
BUSY_ERROR = TransientError("busy")


class FakeVendor:
    """Gives scripted answers, then default answers, and counts its calls."""

    def __init__(
        self, *scripted_answers: InvoicesError | str, default_answers: Iterator[InvoicesError | str] | None = None
    ) -> None:
        self._scripted_answers = iter(scripted_answers)
        self._default_answers = default_answers or repeat("fine")
        self._lock = threading.Lock()
        self.calls = 0

    def __call__(self) -> str:
        with self._lock:
            self.calls += 1
            answer = next(self._scripted_answers, None) or next(self._default_answers)
        if isinstance(answer, InvoicesError):
            raise answer
        return answer


@pytest.fixture
def clock() -> ManualClock:
    """A clock that only moves when the caller sleeps."""
    return ManualClock()


@pytest.fixture
def retrying_caller(clock: ManualClock) -> RetryingCaller:
    """A caller with a rate limit that is hardly ever reached."""
    return build_retrying_caller(clock, RateWindow(10_000, 60))


def build_retrying_caller(clock: ManualClock, window: RateWindow, scale: float = 1.0) -> RetryingCaller:
    bucket = ClockedBucket([window.to_rate(scale)], clock)
    rate_limiters = {ALL_ROUTES: RateLimiter((window,), bucket, scale, clock.get_seconds)}
    return RetryingCaller("vendor.example", rate_limiters, clock.sleep, storage_groups=(STORAGE,))


def submit_documents(
    retrying_caller: RetryingCaller, vendor: Callable[[], str], documents: int
) -> tuple[int, str | None]:
    """Submit documents one after the other; return the number of answers, and the reason code of a suspension."""
    answered = 0
    for _ in range(documents):
        try:
            answered += retrying_caller.send_with_retries(vendor) == "fine"
        except VendorSuspended as stop_error:
            return answered, stop_error.reason_code
        except (TransientError, UnknownOutcome):
            continue
    return answered, None


def test_a_successful_call_returns_without_a_wait(retrying_caller: RetryingCaller, clock: ManualClock) -> None:
    assert retrying_caller.send_with_retries(FakeVendor()) == "fine"
    assert sum(clock.sleeps) == 0


@pytest.mark.parametrize("wait_seconds", [0.0, 7.0, 40.0])
def test_a_wait_that_the_vendor_requests_is_respected(
    retrying_caller: RetryingCaller, clock: ManualClock, wait_seconds: float
) -> None:
    assert retrying_caller.send_with_retries(FakeVendor(TransientError("wait", retry_after=wait_seconds))) == "fine"
    assert sum(clock.sleeps) == pytest.approx(wait_seconds)


def test_a_wait_above_the_maximum_suspends_the_vendor_without_a_problem(
    retrying_caller: RetryingCaller, clock: ManualClock
) -> None:
    vendor = FakeVendor(TransientError("wait", retry_after=36_000))
    with pytest.raises(VendorSuspended) as caught:
        retrying_caller.send_with_retries(vendor)
    assert (caught.value.reason_code, caught.value.is_problem) == ("rate_limited", False)
    assert (vendor.calls, sum(clock.sleeps)) == (1, 0)


def test_a_full_minute_is_waited_for_and_a_full_hour_suspends_the_vendor(clock: ManualClock) -> None:
    minute = build_retrying_caller(clock, RateWindow(1, 60))
    assert submit_documents(minute, FakeVendor(), 3) == (3, None)
    assert 120 < sum(clock.sleeps) < 125
    hour = build_retrying_caller(clock, RateWindow(2, 3600))
    assert submit_documents(hour, FakeVendor(), 3) == (2, "rate_limited")


def test_backoff_uses_full_jitter_and_doubles(clock: ManualClock) -> None:
    sleeps_by_attempt: list[list[float]] = [[] for _ in range(MAX_ATTEMPTS)]
    for _ in range(200):
        before = len(clock.sleeps)
        build_retrying_caller(clock, RateWindow(10_000, 60)).send_with_retries(
            FakeVendor(BUSY_ERROR, BUSY_ERROR, BUSY_ERROR, BUSY_ERROR)
        )
        for number, seconds in enumerate(clock.sleeps[before:]):
            sleeps_by_attempt[number].append(seconds)
    for number, waits in enumerate(sleeps_by_attempt[: MAX_ATTEMPTS - 1], start=1):
        assert 0 <= min(waits) < 0.2 * 2**number
        assert 0.8 * 2**number < max(waits) <= 2**number


def test_a_call_fails_after_five_attempts_without_suspending_the_vendor(clock: ManualClock) -> None:
    caller = build_retrying_caller(clock, RateWindow(10_000, 60), scale=0.5)
    vendor = FakeVendor(default_answers=repeat(BUSY_ERROR))
    with pytest.raises(TransientError, match="busy"):
        caller.send_with_retries(vendor)
    assert vendor.calls == MAX_ATTEMPTS
    assert sum(clock.sleeps) <= 0.5 * (2 + 4 + 8 + 16)
    assert caller.send_with_retries(FakeVendor()) == "fine"


@pytest.mark.parametrize(
    "error", [DocumentError("torn", reason_code="x"), ContractError("odd"), UnknownOutcome("lost")]
)
def test_other_errors_are_raised_at_once(retrying_caller: RetryingCaller, error: InvoicesError) -> None:
    vendor = FakeVendor(error)
    with pytest.raises(type(error)):
        retrying_caller.send_with_retries(vendor)
    assert vendor.calls == 1
    assert retrying_caller.send_with_retries(vendor) == "fine"


def test_a_refused_account_suspends_the_vendor_with_the_first_reason(
    retrying_caller: RetryingCaller,
) -> None:
    vendor = FakeVendor(AccountError("402"))
    for _ in range(2):
        with pytest.raises(VendorSuspended, match="refuses the account: 402") as caught:
            retrying_caller.send_with_retries(vendor)
        assert caught.value.is_problem
    with pytest.raises(VendorSuspended, match="402"):
        retrying_caller.suspend_vendor("contract_changed", "Something else.", is_problem=True)
    assert vendor.calls == 1


@pytest.mark.parametrize("error", [BUSY_ERROR, UnknownOutcome("lost")])
def test_an_outage_over_a_thousand_documents_costs_a_few_calls(
    retrying_caller: RetryingCaller, error: InvoicesError
) -> None:
    vendor = FakeVendor(default_answers=repeat(error))
    assert submit_documents(retrying_caller, vendor, 1000) == (0, "vendor_unavailable")
    assert vendor.calls <= MAX_ATTEMPTS * CONSECUTIVE_FAILURES_TO_OPEN / ATTEMPTS_COUNTED_BY_BREAKER + 2


def open_breaker(retrying_caller: RetryingCaller) -> None:
    """Make failures of several calls open the breaker."""
    for _ in range(CONSECUTIVE_FAILURES_TO_OPEN):
        with pytest.raises(UnknownOutcome):
            retrying_caller.send_with_retries(FakeVendor(UnknownOutcome("lost")))


def test_documents_that_always_fail_do_not_suspend_the_vendor(
    retrying_caller: RetryingCaller,
) -> None:
    for _ in range(10):
        with pytest.raises(TransientError):
            retrying_caller.send_with_retries(FakeVendor(default_answers=repeat(BUSY_ERROR)))
        assert submit_documents(retrying_caller, FakeVendor(), 3) == (3, None)


def test_a_vendor_that_fails_every_second_call_is_suspended_before_many_retries(
    retrying_caller: RetryingCaller,
) -> None:
    vendor = FakeVendor(default_answers=cycle([BUSY_ERROR, "fine"]))
    answered, reason_code = submit_documents(retrying_caller, vendor, 100)
    assert reason_code == "vendor_unavailable"
    assert answered <= vendor.calls <= 1.2 * 100


def test_an_open_breaker_blocks_calls_until_a_probe_succeeds(
    retrying_caller: RetryingCaller, clock: ManualClock
) -> None:
    open_breaker(retrying_caller)
    before = clock.get_seconds()
    assert retrying_caller.send_with_retries(FakeVendor()) == "fine"
    assert clock.get_seconds() - before > COOL_DOWN_SECONDS - 0.01
    assert submit_documents(retrying_caller, FakeVendor(), 100) == (100, None)


def test_a_document_error_shows_that_the_vendor_is_available(retrying_caller: RetryingCaller) -> None:
    vendor = FakeVendor(
        *[BUSY_ERROR] * CONSECUTIVE_FAILURES_TO_OPEN, DocumentError("torn", reason_code="x"), BUSY_ERROR
    )
    with pytest.raises(TransientError):
        retrying_caller.send_with_retries(vendor)
    with pytest.raises(DocumentError):
        retrying_caller.send_with_retries(vendor)
    assert retrying_caller.send_with_retries(vendor) == "fine"


def test_only_one_thread_probes_while_the_breaker_is_half_open(retrying_caller: RetryingCaller) -> None:
    open_breaker(retrying_caller)
    calls, concurrent_calls = count(1), list[int]()

    def call_vendor() -> str:
        if next(calls) == 1:
            threading.Event().wait(0.1)  # time for the other threads to call, if they could
            concurrent_calls.append(next(calls))
        return "fine"

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: retrying_caller.send_with_retries(call_vendor), range(8))) == ["fine"] * 8
    assert concurrent_calls == [2]


def test_failures_of_calls_that_started_before_the_opening_do_not_break_the_breaker(
    retrying_caller: RetryingCaller,
) -> None:
    together, numbers = threading.Barrier(8, timeout=30), count()

    def call_vendor() -> str:
        if next(numbers) >= 8:
            return "fine"
        together.wait()
        raise UnknownOutcome("lost")

    with ThreadPoolExecutor(8) as threads:
        lost = [threads.submit(retrying_caller.send_with_retries, call_vendor) for _ in range(8)]
        assert {type(future.exception(30)) for future in lost} == {UnknownOutcome}
    assert retrying_caller.send_with_retries(call_vendor) == "fine"


def test_an_outage_with_many_threads_costs_a_few_calls(clock: ManualClock) -> None:
    caller = build_retrying_caller(clock, RateWindow(10_000, 60))
    vendor = FakeVendor(default_answers=repeat(BUSY_ERROR))
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: submit_documents(caller, vendor, 125), range(8)))
    assert {reason for _, reason in results} == {"vendor_unavailable"}
    assert vendor.calls <= 8 + CONSECUTIVE_FAILURES_TO_OPEN + 1


def test_stopping_wakes_sleeping_threads() -> None:
    window = RateWindow(1, 60)
    caller = RetryingCaller(
        "vendor.example", {ALL_ROUTES: RateLimiter((window,), InMemoryBucket([window.to_rate(1.0)]))}
    )
    caller.send_with_retries(FakeVendor())
    with ThreadPoolExecutor(3) as threads:
        asleep = [threads.submit(caller.send_with_retries, FakeVendor()) for _ in range(3)]
        caller.stop_all_calls()
        reasons = [error.reason_code for future in asleep if isinstance(error := future.exception(30), VendorSuspended)]
    assert reasons == ["interrupted"] * 3


def test_the_storage_waits_as_long_as_it_requests_and_for_all_its_calls(
    retrying_caller: RetryingCaller, clock: ManualClock
) -> None:
    with pytest.raises(DocumentError):  # the second attempt comes after the wait
        retrying_caller.send_with_retries(
            FakeVendor(TransientError("wait", retry_after=40), DocumentError("torn", reason_code="x")), STORAGE
        )
    assert sum(clock.sleeps) == pytest.approx(40)


def test_a_wait_above_the_maximum_suspends_the_storage_and_not_the_vendor(
    retrying_caller: RetryingCaller, clock: ManualClock
) -> None:
    storage = FakeVendor(TransientError("wait", retry_after=MAX_WAIT_SECONDS + 1))
    for _ in range(2):
        with pytest.raises(StorageSuspended, match="66 s") as caught:
            retrying_caller.send_with_retries(storage, STORAGE)
        assert (caught.value.reason_code, caught.value.is_problem) == ("rate_limited", False)
    assert (storage.calls, sum(clock.sleeps)) == (1, 0)
    assert retrying_caller.send_with_retries(FakeVendor()) == "fine"


def test_a_storage_that_is_down_does_not_suspend_the_vendor(retrying_caller: RetryingCaller) -> None:
    storage = FakeVendor(default_answers=repeat(BUSY_ERROR))
    for _ in range(CONSECUTIVE_FAILURES_TO_OPEN):
        with suppress(TransientError, StorageSuspended):
            retrying_caller.send_with_retries(storage, STORAGE)
    with pytest.raises(StorageSuspended, match=r"the storage of vendor\.example is not available: busy"):
        retrying_caller.send_with_retries(storage, STORAGE)
    assert retrying_caller.send_with_retries(FakeVendor()) == "fine"


def test_conflicts_do_not_open_the_breaker(retrying_caller: RetryingCaller, clock: ManualClock) -> None:
    for _ in range(2 * REMEMBERED_CALLS):
        with pytest.raises(Conflict):
            retrying_caller.send_with_retries(FakeVendor(Conflict("409, already there")))
    assert (retrying_caller.send_with_retries(FakeVendor()), sum(clock.sleeps)) == ("fine", 0)


def test_a_read_without_a_usable_response_is_repeated_within_the_rate_limit(clock: ManualClock) -> None:
    caller = build_retrying_caller(clock, RateWindow(2, 60))
    vendor = FakeVendor(*[UnreadableResponse("a login page")] * (MAX_ATTEMPTS - 1))
    assert caller.send_with_retries(vendor) == "fine"
    assert sum(clock.sleeps) >= 60 * (MAX_ATTEMPTS // 2)


def test_a_read_that_is_never_usable_fails_and_suspends_nobody(retrying_caller: RetryingCaller) -> None:
    for _ in range(REMEMBERED_CALLS):
        vendor = FakeVendor(default_answers=repeat(UnreadableResponse("a login page")))
        with pytest.raises(UnreadableResponse):
            retrying_caller.send_with_retries(vendor)
        assert vendor.calls == MAX_ATTEMPTS
    assert retrying_caller.send_with_retries(FakeVendor()) == "fine"


def test_a_caller_that_repeats_reads_itself_gets_the_first_unusable_response(retrying_caller: RetryingCaller) -> None:
    vendor = FakeVendor(UnreadableResponse("a login page"))
    with pytest.raises(UnreadableResponse):
        retrying_caller.send_with_retries(vendor, repeats_unreadable=False)
    assert vendor.calls == 1


@pytest.mark.parametrize("retry_after", [None, 0.0, 1.0])
def test_attempts_are_a_minimum_pause_apart(clock: ManualClock, retry_after: float | None) -> None:
    caller = build_retrying_caller(clock, RateWindow(10_000, 60), scale=0.5)
    sent_at: list[float] = []

    def poll() -> str:
        sent_at.append(clock.get_seconds())
        if len(sent_at) < MAX_ATTEMPTS:
            raise TransientError("busy", retry_after=retry_after)
        return "fine"

    assert caller.send_with_retries(poll, min_pause_seconds=5) == "fine"
    assert all(later - earlier >= 0.5 * 5 for earlier, later in pairwise(sent_at))


def test_a_blocked_route_group_waits(retrying_caller: RetryingCaller, clock: ManualClock) -> None:
    retrying_caller.block_route_group(12)
    retrying_caller.send_with_retries(FakeVendor())
    assert sum(clock.sleeps) == pytest.approx(12)
