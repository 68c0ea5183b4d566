"""Spending: caps are checked where the intent is written, and what counts is always what the questions may cost."""

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
from invoices.ledger.extractions import Terms, advance, extraction_rows, find_job, intend
from invoices.ledger.spending import CapReached, Caps, room
from invoices.ledger.tables import spending

VENDOR = "smartbills_com"
DAY, MONTH = "day:2026-11-30", "month:2026-11"
NEXT_DAY, NEXT_MONTH = "day:2026-12-01", "month:2026-12"


class Clock:
    """A clock that is moved by hand, an hour before the end of a month."""

    def __init__(self) -> None:
        self.at = dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.at

    def to_next_day(self) -> None:
        self.at += dt.timedelta(hours=2)


@pytest.fixture
def clock() -> Clock:
    """The time by which days end."""
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url, now=clock)
    yield opened
    opened.close()


def ask(ledger: Ledger, name: str, pages: int = 1, caps: Caps = Caps(), run: str = "A", **values: Any) -> None:  # noqa: B008  frozen
    with ledger.transaction() as tx:
        intend(tx, Terms(VENDOR, caps), name, name * 8, pages=pages, run=run, **values)


def learn(ledger: Ledger, name: str, status: Any, **values: Any) -> None:
    with ledger.transaction() as tx:
        advance(tx, name, status, **values)


def spent(ledger: Ledger) -> dict[str, int]:
    """Return the pages by period, without the periods that are empty."""
    with ledger.reading() as connection:
        rows = connection.execute(select(spending.c.period, spending.c.pages).where(spending.c.vendor == VENDOR))
        return {period: pages for period, pages in rows if pages}


def test_an_intent_counts_for_its_day_its_month_and_its_run(ledger: Ledger) -> None:
    ask(ledger, "a", 3)
    ask(ledger, "b", 2, run="B")
    assert spent(ledger) == {DAY: 5, MONTH: 5, "run:A": 3, "run:B": 2}


@pytest.mark.parametrize("caps", [Caps(run=3), Caps(day=3), Caps(month=3), Caps(9, 9, 3)])
def test_a_cap_may_be_used_up_and_not_be_passed(ledger: Ledger, caps: Caps) -> None:
    ask(ledger, "a", 2, caps)
    with pytest.raises(CapReached, match=r"cap of 3 pages per \w+ leaves 1, and a document of 2 waits"):
        ask(ledger, "b", 2, caps)
    ask(ledger, "c", 1, caps)
    assert spent(ledger) == {DAY: 3, MONTH: 3, "run:A": 3}
    with ledger.reading() as connection:
        assert find_job(connection, "b") is None


def test_what_is_refused_by_a_cap_inside_a_longer_transaction_leaves_no_trace(ledger: Ledger) -> None:
    ask(ledger, "a", 2)
    with ledger.transaction() as tx:
        with pytest.raises(CapReached):
            intend(tx, Terms(VENDOR, Caps(day=2)), "a", "a" * 8, pages=3, run="B")
        intend(tx, Terms(VENDOR), "b", "b" * 8, pages=1, run="B")
    assert spent(ledger) == {DAY: 3, MONTH: 3, "run:A": 2, "run:B": 1}


def test_a_cap_of_nothing_lets_nothing_pass(ledger: Ledger) -> None:
    with pytest.raises(CapReached):
        ask(ledger, "a", 1, Caps(day=0))


def test_caps_of_a_day_a_month_and_a_run_begin_anew_with_them(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a", 3, Caps(3, 3, 3))
    clock.to_next_day()
    with pytest.raises(CapReached, match="per run"):
        ask(ledger, "b", 3, Caps(3, 3, 3))
    ask(ledger, "b", 3, Caps(3, 3, 3), run="B")
    assert spent(ledger) == {DAY: 3, MONTH: 3, "run:A": 3, NEXT_DAY: 3, NEXT_MONTH: 3, "run:B": 3}


def test_room_is_what_the_tightest_cap_leaves(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a", 3)
    with ledger.reading() as connection:
        assert room(connection, VENDOR, Caps(), clock.at, "A") is None
        assert room(connection, VENDOR, Caps(10, 5, 4), clock.at, "A") == 1
        assert room(connection, VENDOR, Caps(10, 5, 2), clock.at, "A") == 0
        assert room(connection, VENDOR, Caps(run=4, day=9), clock.at, "B") == 4
        assert room(connection, "another", Caps(day=9), clock.at, "A") == 9


def test_a_refused_question_gives_its_pages_back_where_it_took_them(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a", 3)
    clock.to_next_day()
    learn(ledger, "a", "refused")
    assert spent(ledger) == {}
    ask(ledger, "a", 3, run="B")
    assert spent(ledger) == {NEXT_DAY: 3, NEXT_MONTH: 3, "run:B": 3}


def test_an_answer_that_cost_less_gives_the_rest_back_and_one_that_cost_more_takes_it(ledger: Ledger) -> None:
    ask(ledger, "a", 5)
    learn(ledger, "a", "submitted", pages_charged=5)
    learn(ledger, "a", "answered", pages_charged=2)
    ask(ledger, "b", 1)
    learn(ledger, "b", "answered", pages_charged=4)
    assert spent(ledger) == {DAY: 6, MONTH: 6, "run:A": 6}


def test_a_failure_that_is_not_charged_costs_nothing(ledger: Ledger) -> None:
    ask(ledger, "a", 5)
    learn(ledger, "a", "failed", pages_charged=0)
    assert spent(ledger) == {}


def test_an_intent_found_open_is_counted_once_and_where_it_is_asked(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a", 2)
    clock.to_next_day()
    ask(ledger, "a", 2, run="B")
    assert spent(ledger) == {NEXT_DAY: 2, NEXT_MONTH: 2, "run:B": 2}


def test_a_repeat_counts_beside_the_first_and_only_itself_today(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a", 2)
    learn(ledger, "a", "unknown")
    clock.to_next_day()
    ask(ledger, "a", 2, Caps(day=2, run=2), run="B", is_repeat=True)
    both = {DAY: 2, MONTH: 2, "run:A": 2, NEXT_DAY: 2, NEXT_MONTH: 2, "run:B": 2}
    assert spent(ledger) == both
    learn(ledger, "a", "answered", pages_charged=2)
    assert spent(ledger) == both


def test_a_repeat_does_not_pass_a_cap(ledger: Ledger) -> None:
    ask(ledger, "a", 2, Caps(day=3))
    learn(ledger, "a", "unknown")
    with pytest.raises(CapReached):
        ask(ledger, "a", 2, Caps(day=3), is_repeat=True)
    with ledger.reading() as connection:
        job = find_job(connection, "a")
    assert job is not None
    assert (job.status, job.pages_counted, job.possible_double_charge) == ("unknown", 2, False)


def test_a_repeat_that_was_refused_leaves_the_first_counted(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a", 2)
    learn(ledger, "a", "unknown")
    clock.to_next_day()
    ask(ledger, "a", 2, run="B", is_repeat=True)
    learn(ledger, "a", "unknown", possible_double_charge=False)
    assert spent(ledger) == {DAY: 2, MONTH: 2, "run:A": 2}


def test_when_it_was_first_asked_is_kept_as_long_as_an_answer_may_come(ledger: Ledger, clock: Clock) -> None:
    first = clock.at
    ask(ledger, "a")
    clock.to_next_day()
    ask(ledger, "a", is_repeat=True)
    with ledger.reading() as connection:
        assert extraction_rows(connection, "a" * 8)[0]["requested_at"] == first
    learn(ledger, "a", "refused")
    ask(ledger, "a")
    with ledger.reading() as connection:
        assert extraction_rows(connection, "a" * 8)[0]["requested_at"] == clock.at


def test_the_price_of_a_page_is_kept_as_it_was_set(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        intend(tx, Terms(VENDOR, page_price=Decimal("0.0700"), page_price_currency="EUR"), "a", "d", pages=1, run="A")
        intend(tx, Terms(VENDOR, page_price_currency="EUR"), "b", "e", pages=1, run="A")
    with ledger.reading() as connection:
        rows = [extraction_rows(connection, document)[0] for document in "de"]
    assert [(row["page_price_amount"], row["page_price_currency"]) for row in rows] == [("0.0700", "EUR"), (None, None)]


Step = Callable[[Ledger, Clock], None]


def _asking(name: str, run: str, cap: int | None) -> Step:
    def step(ledger: Ledger, clock: Clock) -> None:
        with ledger.reading() as connection:
            job = find_job(connection, name)
        if job is not None and job.status not in ("intended", "unknown", "refused"):
            return
        repeats = job is not None and job.status == "unknown" and not job.possible_double_charge
        before = spent(ledger)
        try:
            ask(ledger, name, "abc".index(name) + 1, Caps(day=cap), run, is_repeat=repeats)
        except CapReached:
            assert spent(ledger) == before
        else:
            assert cap is None or spent(ledger)[f"day:{clock.at:%Y-%m-%d}"] <= cap

    return step


def _learning(name: str, status: str, pages: int) -> Step:
    def step(ledger: Ledger, _clock: Clock) -> None:
        values = {"pages_charged": pages} if status in ("answered", "failed", "refused") else {}
        with ledger.reading() as connection:
            job = find_job(connection, name)
        if job is not None and job.is_open:
            learn(ledger, name, status, **values)

    return step


steps = st.lists(
    st.one_of(
        st.builds(_asking, st.sampled_from("abc"), st.sampled_from("AB"), st.sampled_from([None, 2, 4, 6])),
        st.builds(_learning, st.sampled_from("abc"), st.sampled_from(["unknown", "submitted"]), st.just(0)),
        st.builds(_learning, st.sampled_from("abc"), st.sampled_from(["answered", "failed"]), st.integers(0, 4)),
        st.builds(_learning, st.sampled_from("abc"), st.just("refused"), st.just(0)),
        st.just(lambda _ledger, clock: clock.to_next_day()),
    ),
    max_size=12,
)


@given(steps)
@settings(max_examples=25)
def test_what_is_spent_is_always_what_the_questions_count_for(
    tmp_path_factory: pytest.TempPathFactory, plan: list[Step]
) -> None:
    clock = Clock()
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('spending')}/ledger.sqlite", now=clock)
    for step in plan:
        step(ledger, clock)
        with ledger.reading() as connection:
            jobs = [find_job(connection, name) for name in "abc"]
        counted = sum(job.pages_counted for job in jobs if job is not None)
        by_kind: Counter[str] = Counter()
        for period, pages in spent(ledger).items():
            by_kind[period.partition(":")[0]] += pages
        assert {by_kind[kind] for kind in ("day", "month", "run")} == {counted}
    ledger.close()
