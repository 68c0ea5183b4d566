"""Pacing: the one place that waits and tries again, as the vendor asks, within bounds, and not for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle, repeat

import pytest
from pyrate_limiter import InMemoryBucket, Rate

from invoices.errors import AccountError, ContractError, DocumentError, InvoicesError, TransientError, UnknownOutcome
from invoices.extraction.patience.breaker import FAILURES_TO_OPEN
from invoices.extraction.patience.budget import PATIENCE_SECONDS, Budget, Window
from invoices.extraction.patience.pacing import CALLS, COOL_DOWN, TRIES, TRIES_THAT_COUNT, Pacing, VendorStopped

BUSY = TransientError("busy")


class Clock:
    """A clock that sleeping moves; several threads may sleep."""

    def __init__(self) -> None:
        self.now, self.slept, self._lock = 1000.0, [0.0], threading.Lock()

    def seconds(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)


class ClockedBucket(InMemoryBucket):
    """A bucket that goes by such a clock."""

    def __init__(self, rates: list[Rate], clock: Clock) -> None:
        super().__init__(rates)
        self._told = clock

    def now(self) -> int:
        return int(self._told.now * 1000)


class Vendor:
    """Answers in the order it was told; counts how often it was called, and how many called at the same time."""

    def __init__(self, *answers: InvoicesError | str, then: Iterator[InvoicesError | str] | None = None) -> None:
        self._answers = iter(answers)
        self._then = then or repeat("fine")
        self._lock = threading.Lock()
        self.calls = 0

    def __call__(self) -> str:
        with self._lock:
            self.calls += 1
            answer = next(self._answers, None) or next(self._then)
        if isinstance(answer, InvoicesError):
            raise answer
        return answer


@pytest.fixture
def clock() -> Clock:
    """The time that waiting takes."""
    return Clock()


@pytest.fixture
def pacing(clock: Clock) -> Pacing:
    """Pacing within a budget that hardly ever runs out."""
    return paced(clock, Window(10_000, 60))


def paced(clock: Clock, window: Window, scale: float = 1.0) -> Pacing:
    bucket = ClockedBucket([window.as_rate(scale)], clock)
    return Pacing("vendor.example", {CALLS: Budget((window,), bucket, scale, clock.seconds)}, clock.sleep)


def work(pacing: Pacing, vendor: Callable[[], str], documents: int) -> tuple[int, str | None]:
    """Ask about documents one after the other; return how many were answered, and why it was stopped."""
    answered = 0
    for _ in range(documents):
        try:
            answered += pacing.call(vendor) == "fine"
        except VendorStopped as stop:
            return answered, stop.reason_code
        except (TransientError, UnknownOutcome):
            continue
    return answered, None


def test_what_was_asked_for_comes_back_without_a_wait(pacing: Pacing, clock: Clock) -> None:
    assert pacing.call(Vendor()) == "fine"
    assert sum(clock.slept) == 0


@pytest.mark.parametrize("asked", [0.0, 7.0, 40.0])
def test_a_wait_that_the_vendor_asks_for_is_kept(pacing: Pacing, clock: Clock, asked: float) -> None:
    assert pacing.call(Vendor(TransientError("wait", retry_after=asked))) == "fine"
    assert sum(clock.slept) == pytest.approx(asked)


def test_a_wait_longer_than_patience_ends_the_run_and_is_no_problem(pacing: Pacing, clock: Clock) -> None:
    vendor = Vendor(TransientError("wait", retry_after=36_000))
    with pytest.raises(VendorStopped) as caught:
        pacing.call(vendor)
    assert (caught.value.reason_code, caught.value.is_problem) == ("rate_limited", False)
    assert (vendor.calls, sum(clock.slept)) == (1, 0)


def test_a_full_budget_is_waited_for_and_one_that_is_full_for_long_is_left(clock: Clock) -> None:
    minute = paced(clock, Window(1, 60))
    assert work(minute, Vendor(), 3) == (3, None)
    assert 120 < sum(clock.slept) < 125
    hour = paced(clock, Window(2, 3600))
    assert work(hour, Vendor(), 3) == (2, "rate_limited")


def test_backoff_is_full_jitter_that_doubles(clock: Clock) -> None:
    slept: list[list[float]] = [[] for _ in range(TRIES)]
    for _ in range(200):
        before = len(clock.slept)
        paced(clock, Window(10_000, 60)).call(Vendor(BUSY, BUSY, BUSY, BUSY))
        for number, seconds in enumerate(clock.slept[before:]):
            slept[number].append(seconds)
    for number, waits in enumerate(slept[: TRIES - 1], start=1):
        assert 0 <= min(waits) < 0.2 * 2**number
        assert 0.8 * 2**number < max(waits) <= 2**number


def test_a_call_is_tried_five_times_and_then_given_up_alone(clock: Clock) -> None:
    pacing = paced(clock, Window(10_000, 60), scale=0.5)
    vendor = Vendor(then=repeat(BUSY))
    with pytest.raises(TransientError, match="busy"):
        pacing.call(vendor)
    assert vendor.calls == TRIES
    assert sum(clock.slept) <= 0.5 * (2 + 4 + 8 + 16)
    assert pacing.call(Vendor()) == "fine"


@pytest.mark.parametrize(
    "error", [DocumentError("torn", reason_code="x"), ContractError("odd"), UnknownOutcome("lost")]
)
def test_other_errors_pass_through_at_once(pacing: Pacing, error: InvoicesError) -> None:
    vendor = Vendor(error)
    with pytest.raises(type(error)):
        pacing.call(vendor)
    assert vendor.calls == 1
    assert pacing.call(vendor) == "fine"


def test_a_refused_account_stops_everything_and_everybody_hears_the_first_reason(pacing: Pacing) -> None:
    vendor = Vendor(AccountError("402"))
    for _ in range(2):
        with pytest.raises(VendorStopped, match="refuses the account: 402") as caught:
            pacing.call(vendor)
        assert caught.value.is_problem
    with pytest.raises(VendorStopped, match="402"):
        pacing.stop("contract_changed", "Something else.", is_problem=True)
    assert vendor.calls == 1


@pytest.mark.parametrize("error", [BUSY, UnknownOutcome("lost")])
def test_a_storm_over_a_thousand_documents_costs_a_handful_of_calls(pacing: Pacing, error: InvoicesError) -> None:
    vendor = Vendor(then=repeat(error))
    assert work(pacing, vendor, 1000) == (0, "vendor_unavailable")
    assert vendor.calls <= TRIES * FAILURES_TO_OPEN / TRIES_THAT_COUNT + 2


def opened(pacing: Pacing) -> None:
    """Make failures of several calls open the breaker."""
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(UnknownOutcome):
            pacing.call(Vendor(UnknownOutcome("lost")))


def test_documents_at_which_a_vendor_always_fails_do_not_keep_the_others_from_it(pacing: Pacing) -> None:
    for _ in range(10):
        with pytest.raises(TransientError):
            pacing.call(Vendor(then=repeat(BUSY)))
        assert work(pacing, Vendor(), 3) == (3, None)


def test_a_vendor_that_fails_every_second_call_is_not_asked_much_more_often_than_there_are_documents(
    pacing: Pacing,
) -> None:
    vendor = Vendor(then=cycle([BUSY, "fine"]))
    answered, stopped = work(pacing, vendor, 100)
    assert stopped == "vendor_unavailable"
    assert answered <= vendor.calls <= 1.2 * 100


def test_an_open_breaker_lets_nobody_pass_for_a_while_and_a_good_probe_goes_on(pacing: Pacing, clock: Clock) -> None:
    opened(pacing)
    before = clock.now
    assert pacing.call(Vendor()) == "fine"
    assert clock.now - before > COOL_DOWN - 0.01
    assert work(pacing, Vendor(), 100) == (100, None)


def test_a_vendor_that_answers_about_a_document_is_there(pacing: Pacing) -> None:
    vendor = Vendor(*[BUSY] * FAILURES_TO_OPEN, DocumentError("torn", reason_code="x"), BUSY)
    with pytest.raises(TransientError):
        pacing.call(vendor)
    with pytest.raises(DocumentError):
        pacing.call(vendor)
    assert pacing.call(vendor) == "fine"


def test_while_the_breaker_is_half_open_one_thread_tries_for_all(pacing: Pacing) -> None:
    opened(pacing)
    calls, seen = count(1), list[int]()

    def ask() -> str:
        if next(calls) == 1:
            threading.Event().wait(0.1)  # time for the others to come in, if they could
            seen.append(next(calls))
        return "fine"

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: pacing.call(ask), range(8))) == ["fine"] * 8
    assert seen == [2]


def test_the_failures_of_calls_that_were_under_way_do_not_make_an_opening_final(pacing: Pacing) -> None:
    together, numbers = threading.Barrier(8, timeout=30), count()

    def ask() -> str:
        if next(numbers) >= 8:
            return "fine"
        together.wait()
        raise UnknownOutcome("lost")

    with ThreadPoolExecutor(8) as threads:
        lost = [threads.submit(pacing.call, ask) for _ in range(8)]
        assert {type(one.exception(30)) for one in lost} == {UnknownOutcome}
    assert pacing.call(ask) == "fine"


def test_a_storm_that_hits_many_threads_costs_a_handful_of_calls_too(clock: Clock) -> None:
    pacing, vendor = paced(clock, Window(10_000, 60)), Vendor(then=repeat(BUSY))
    with ThreadPoolExecutor(8) as threads:
        ended = list(threads.map(lambda _: work(pacing, vendor, 125), range(8)))
    assert {reason for _, reason in ended} == {"vendor_unavailable"}
    assert vendor.calls <= 8 + FAILURES_TO_OPEN + 1


def test_halting_wakes_whoever_sleeps() -> None:
    window = Window(1, 60)
    pacing = Pacing("vendor.example", {CALLS: Budget((window,), InMemoryBucket([window.as_rate(1.0)]))})
    pacing.call(Vendor())
    with ThreadPoolExecutor(3) as threads:
        asleep = [threads.submit(pacing.call, Vendor()) for _ in range(3)]
        pacing.halt()
        reasons = [error.reason_code for one in asleep if isinstance(error := one.exception(30), VendorStopped)]
    assert reasons == ["interrupted"] * 3


def test_a_group_of_routes_without_a_budget_rests_within_patience(clock: Clock) -> None:
    pacing = paced(clock, Window(10_000, 60))
    assert pacing.call(Vendor(TransientError("wait", retry_after=36_000)), "storage") == "fine"
    assert sum(clock.slept) == PATIENCE_SECONDS


def test_the_vendor_may_ask_for_quiet_at_any_time(pacing: Pacing, clock: Clock) -> None:
    pacing.block(12)
    pacing.call(Vendor())
    assert sum(clock.slept) == pytest.approx(12)
