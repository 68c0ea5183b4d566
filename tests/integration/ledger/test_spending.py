"""Spending: an intent checks the caps, and the pages that count are always those that the jobs may cost."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from invoices.ledger import Ledger
from invoices.ledger.extractions import (
    ExtractionTerms,
    find_job,
    list_extraction_rows,
    record_intent,
    update_extraction,
)
from invoices.ledger.spending import NO_PAGE_CAPS, CapReached, PageCaps, compute_remaining_pages
from invoices.ledger.tables import spending

VENDOR = "smartbills_com"
THIS_DAY, THIS_MONTH = "day:2026-11-30", "month:2026-11"
NEXT_DAY, NEXT_MONTH = "day:2026-12-01", "month:2026-12"


class ManualClock:
    """A clock that tests move; it starts an hour before the end of a month."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def move_to_next_day(self) -> None:
        self.now += dt.timedelta(hours=2)


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the ledger."""
    return ManualClock()


@pytest.fixture
def ledger(ledger_url: str, clock: ManualClock) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    new_ledger = Ledger(ledger_url, now=clock)
    yield new_ledger
    new_ledger.close()


def record_intent_for(
    ledger: Ledger, name: str, pages: int = 1, caps: PageCaps = NO_PAGE_CAPS, run: str = "A", **values: Any
) -> None:
    with ledger.begin_transaction() as tx:
        record_intent(tx, ExtractionTerms(VENDOR, caps), name, name * 8, pages=pages, run_id=run, **values)


def update_status(ledger: Ledger, name: str, status: Any, **values: Any) -> None:
    with ledger.begin_transaction() as tx:
        update_extraction(tx, name, status, **values)


def list_spent_pages(ledger: Ledger) -> dict[str, int]:
    """Return the pages by period, without empty periods."""
    with ledger.open_snapshot() as connection:
        rows = connection.execute(select(spending.c.period, spending.c.pages).where(spending.c.vendor == VENDOR))
        return {period: pages for period, pages in rows if pages}


def test_an_intent_counts_for_its_day_its_month_and_its_run(ledger: Ledger) -> None:
    record_intent_for(ledger, "a", 3)
    record_intent_for(ledger, "b", 2, run="B")
    assert list_spent_pages(ledger) == {THIS_DAY: 5, THIS_MONTH: 5, "run:A": 3, "run:B": 2}


@pytest.mark.parametrize("caps", [PageCaps(run=3), PageCaps(day=3), PageCaps(month=3), PageCaps(9, 9, 3)])
def test_a_cap_can_be_used_up_but_not_exceeded(ledger: Ledger, caps: PageCaps) -> None:
    record_intent_for(ledger, "a", 2, caps)
    with pytest.raises(CapReached, match=r"cap of 3 pages per \w+ leaves 1, but 2 are needed"):
        record_intent_for(ledger, "b", 2, caps)
    record_intent_for(ledger, "c", 1, caps)
    assert list_spent_pages(ledger) == {THIS_DAY: 3, THIS_MONTH: 3, "run:A": 3}
    with ledger.open_snapshot() as connection:
        assert find_job(connection, "b") is None


def test_an_intent_that_a_cap_refuses_leaves_no_trace_in_a_longer_transaction(ledger: Ledger) -> None:
    record_intent_for(ledger, "a", 2)
    with ledger.begin_transaction() as tx:
        with pytest.raises(CapReached):
            record_intent(tx, ExtractionTerms(VENDOR, PageCaps(day=2)), "a", "a" * 8, pages=3, run_id="B")
        record_intent(tx, ExtractionTerms(VENDOR), "b", "b" * 8, pages=1, run_id="B")
    assert list_spent_pages(ledger) == {THIS_DAY: 3, THIS_MONTH: 3, "run:A": 2, "run:B": 1}


def test_a_cap_of_zero_refuses_every_page(ledger: Ledger) -> None:
    with pytest.raises(CapReached):
        record_intent_for(ledger, "a", 1, PageCaps(day=0))


def test_the_caps_start_again_with_each_day_month_and_run(ledger: Ledger, clock: ManualClock) -> None:
    record_intent_for(ledger, "a", 3, PageCaps(3, 3, 3))
    clock.move_to_next_day()
    with pytest.raises(CapReached, match="per run"):
        record_intent_for(ledger, "b", 3, PageCaps(3, 3, 3))
    record_intent_for(ledger, "b", 3, PageCaps(3, 3, 3), run="B")
    assert list_spent_pages(ledger) == {THIS_DAY: 3, THIS_MONTH: 3, "run:A": 3, NEXT_DAY: 3, NEXT_MONTH: 3, "run:B": 3}


def test_the_remaining_pages_are_those_of_the_tightest_cap(ledger: Ledger, clock: ManualClock) -> None:
    record_intent_for(ledger, "a", 3)
    with ledger.open_snapshot() as connection:
        assert compute_remaining_pages(connection, VENDOR, PageCaps(), clock.now, "A") is None
        assert compute_remaining_pages(connection, VENDOR, PageCaps(10, 5, 4), clock.now, "A") == 1
        assert compute_remaining_pages(connection, VENDOR, PageCaps(10, 5, 2), clock.now, "A") == 0
        assert compute_remaining_pages(connection, VENDOR, PageCaps(run=4, day=9), clock.now, "B") == 4
        assert compute_remaining_pages(connection, "another", PageCaps(day=9), clock.now, "A") == 9


def test_a_refused_job_releases_its_pages_in_the_periods_of_its_intent(ledger: Ledger, clock: ManualClock) -> None:
    record_intent_for(ledger, "a", 3)
    clock.move_to_next_day()
    update_status(ledger, "a", "refused")
    assert list_spent_pages(ledger) == {}
    record_intent_for(ledger, "a", 3, run="B")
    assert list_spent_pages(ledger) == {NEXT_DAY: 3, NEXT_MONTH: 3, "run:B": 3}


def test_the_charged_pages_of_an_answer_replace_the_reserved_ones(ledger: Ledger) -> None:
    record_intent_for(ledger, "a", 5)
    update_status(ledger, "a", "submitted", pages_charged=5)
    update_status(ledger, "a", "answered", pages_charged=2)
    record_intent_for(ledger, "b", 1)
    update_status(ledger, "b", "answered", pages_charged=4)
    assert list_spent_pages(ledger) == {THIS_DAY: 6, THIS_MONTH: 6, "run:A": 6}


def test_a_failure_that_is_not_charged_costs_nothing(ledger: Ledger) -> None:
    record_intent_for(ledger, "a", 5)
    update_status(ledger, "a", "failed", pages_charged=0)
    assert list_spent_pages(ledger) == {}


def test_a_second_intent_for_an_open_job_counts_once_in_the_periods_of_the_second(
    ledger: Ledger, clock: ManualClock
) -> None:
    record_intent_for(ledger, "a", 2)
    clock.move_to_next_day()
    record_intent_for(ledger, "a", 2, run="B")
    assert list_spent_pages(ledger) == {NEXT_DAY: 2, NEXT_MONTH: 2, "run:B": 2}


def test_a_repeat_counts_in_addition_to_the_first_try_and_alone_for_its_own_day(
    ledger: Ledger, clock: ManualClock
) -> None:
    record_intent_for(ledger, "a", 2)
    update_status(ledger, "a", "unknown")
    clock.move_to_next_day()
    record_intent_for(ledger, "a", 2, PageCaps(day=2, run=2), run="B", is_repeat=True)
    both = {THIS_DAY: 2, THIS_MONTH: 2, "run:A": 2, NEXT_DAY: 2, NEXT_MONTH: 2, "run:B": 2}
    assert list_spent_pages(ledger) == both
    update_status(ledger, "a", "answered", pages_charged=2)
    assert list_spent_pages(ledger) == both


def test_a_repeat_cannot_exceed_a_cap(ledger: Ledger) -> None:
    record_intent_for(ledger, "a", 2, PageCaps(day=3))
    update_status(ledger, "a", "unknown")
    with pytest.raises(CapReached):
        record_intent_for(ledger, "a", 2, PageCaps(day=3), is_repeat=True)
    with ledger.open_snapshot() as connection:
        job = find_job(connection, "a")
    assert job is not None
    assert (job.status, job.pages_counted, job.possible_double_charge) == ("unknown", 2, False)


def test_a_repeat_that_was_refused_leaves_the_first_counted(ledger: Ledger, clock: ManualClock) -> None:
    record_intent_for(ledger, "a", 2)
    update_status(ledger, "a", "unknown")
    clock.move_to_next_day()
    record_intent_for(ledger, "a", 2, run="B", is_repeat=True)
    update_status(ledger, "a", "unknown", possible_double_charge=False)
    assert list_spent_pages(ledger) == {THIS_DAY: 2, THIS_MONTH: 2, "run:A": 2}


def test_the_time_of_the_first_request_is_kept_while_the_job_is_open(ledger: Ledger, clock: ManualClock) -> None:
    first = clock.now
    record_intent_for(ledger, "a")
    clock.move_to_next_day()
    record_intent_for(ledger, "a", is_repeat=True)
    with ledger.open_snapshot() as connection:
        assert list_extraction_rows(connection, "a" * 8)[0]["requested_at"] == first
    update_status(ledger, "a", "refused")
    record_intent_for(ledger, "a")
    with ledger.open_snapshot() as connection:
        assert list_extraction_rows(connection, "a" * 8)[0]["requested_at"] == clock.now


def test_the_page_price_is_stored_exactly_as_set(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_intent(
            tx,
            ExtractionTerms(VENDOR, page_price=Decimal("0.0700"), page_price_currency="EUR"),
            "a",
            "d",
            pages=1,
            run_id="A",
        )
        record_intent(tx, ExtractionTerms(VENDOR, page_price_currency="EUR"), "b", "e", pages=1, run_id="A")
    with ledger.open_snapshot() as connection:
        rows = [list_extraction_rows(connection, document)[0] for document in "de"]
    assert [(row["page_price_amount"], row["page_price_currency"]) for row in rows] == [("0.0700", "EUR"), (None, None)]


Step = Callable[[Ledger, ManualClock], None]


def _build_intent_step(name: str, run: str, cap: int | None) -> Step:
    def run_intent_step(ledger: Ledger, clock: ManualClock) -> None:
        with ledger.open_snapshot() as connection:
            job = find_job(connection, name)
        if job is not None and job.status not in ("intended", "unknown", "refused"):
            return
        is_repeat = job is not None and job.status == "unknown" and not job.possible_double_charge
        spent_before = list_spent_pages(ledger)
        try:
            record_intent_for(ledger, name, "abc".index(name) + 1, PageCaps(day=cap), run, is_repeat=is_repeat)
        except CapReached:
            assert list_spent_pages(ledger) == spent_before
        else:
            assert cap is None or list_spent_pages(ledger)[f"day:{clock.now:%Y-%m-%d}"] <= cap

    return run_intent_step


def _build_update_step(name: str, status: str, pages: int) -> Step:
    def run_update_step(ledger: Ledger, _clock: ManualClock) -> None:
        values = {"pages_charged": pages} if status in ("answered", "failed", "refused") else {}
        with ledger.open_snapshot() as connection:
            job = find_job(connection, name)
        if job is not None and job.is_open:
            update_status(ledger, name, status, **values)

    return run_update_step


steps = st.lists(
    st.one_of(
        st.builds(_build_intent_step, st.sampled_from("abc"), st.sampled_from("AB"), st.sampled_from([None, 2, 4, 6])),
        st.builds(_build_update_step, st.sampled_from("abc"), st.sampled_from(["unknown", "submitted"]), st.just(0)),
        st.builds(
            _build_update_step, st.sampled_from("abc"), st.sampled_from(["answered", "failed"]), st.integers(0, 4)
        ),
        st.builds(_build_update_step, st.sampled_from("abc"), st.just("refused"), st.just(0)),
        st.just(lambda _ledger, clock: clock.move_to_next_day()),
    ),
    max_size=12,
)


@given(steps)
@settings(max_examples=25)
def test_the_spent_pages_are_always_those_that_the_jobs_count(
    tmp_path_factory: pytest.TempPathFactory, plan: list[Step]
) -> None:
    clock = ManualClock()
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('spending')}/ledger.sqlite", now=clock)
    for step in plan:
        step(ledger, clock)
        with ledger.open_snapshot() as connection:
            jobs = [find_job(connection, name) for name in "abc"]
        counted = sum(job.pages_counted for job in jobs if job is not None)
        pages_by_kind: Counter[str] = Counter()
        for period, pages in list_spent_pages(ledger).items():
            pages_by_kind[period.partition(":")[0]] += pages
        assert {pages_by_kind[kind] for kind in ("day", "month", "run")} == {counted}
    ledger.close()
